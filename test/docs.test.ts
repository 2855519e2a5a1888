/** Pages that people look things up in, held to the code they describe. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXIT_CODE, FAULTS, type Fault } from '../src/errors.ts';
import { DEFAULT_MUX_CONFIG } from '../src/mux/config.ts';
import { DEFAULT_CONGESTION_CONFIG } from '../src/mux/congestion/congestion-config.ts';
import { METRICS } from '../src/observability/metric-table.ts';
import { alertRules, dashboard, dashboardExpressions, metricRow, metricsPage } from './support/metrics-page.ts';
import { OBSTACLES } from './support/networks/all.ts';
import { withTable } from './support/networks/networks-page.ts';

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
const faults: [string, Fault][] = Object.entries(FAULTS);

/** A table row of docs/errors.md. */
function rowOf(name: string, { code, wire, sentence, fix }: Fault): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  return `| ${code} | ${name} | ${wire ?? ''} | ${cell(sentence)} | ${cell(fix)} |`;
}

describe('docs/errors.md', () => {
  it('lists every fault as the table of src/errors.ts has it, and no other', () => {
    const rows = page.split('\n').filter((line) => line.startsWith('| WSTUN-E'));
    expect(new Set(rows)).toEqual(new Set(faults.map(([name, fault]) => rowOf(name, fault))));
    expect(rows.length).toBe(faults.length);
  });

  it('gives the exit code of every class', () => {
    for (const [name, code] of Object.entries(EXIT_CODE))
      expect(page).toMatch(new RegExp(`^\\| ${name} \\| ${code} \\|`, 'm'));
  });
});

describe('the table of faults', () => {
  it('gives each fault a code of its own', () => {
    const codes = faults.map(([, { code }]) => code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code).toMatch(/^WSTUN-E[1-9]\d\d$/);
  });

  it('gives each wire code to one fault, within 1 to 65,535', () => {
    const wires = faults.flatMap(([, { wire }]) => wire ?? []);
    expect(new Set(wires).size).toBe(wires.length);
    for (const wire of wires) expect(Number.isInteger(wire) && wire >= 1 && wire <= 65_535).toBe(true);
  });

  it('writes sentences without and advice with a full stop', () => {
    for (const [, { sentence, fix }] of faults) {
      expect(sentence).toMatch(/^[^A-Z].*[^.]$/);
      expect(fix).toMatch(/^$|[.*]$/);
    }
  });
});

describe('docs/limits.md', () => {
  const limits = readFileSync(new URL('../docs/limits.md', import.meta.url), 'utf8');

  it('has a row for every limit of the multiplexer, with its figure', () => {
    for (const [name, value] of Object.entries(DEFAULT_MUX_CONFIG)) {
      const row = limits.split('\n').find((line) => line.split(' | ')[0]?.includes(`\`${name}\``));
      expect(row, name).toBeDefined();
      const figures = typeof value === 'number' ? [value] : [value.perSecond, value.burst];
      for (const figure of figures) expect(row, name).toMatch(new RegExp(`\\b${spelling(figure)}\\b`));
    }
  });

  it('has a row for every constant of pacing, with its figure', () => {
    for (const [name, value] of Object.entries(DEFAULT_CONGESTION_CONFIG)) {
      const row = limits.split('\n').find((line) => line.split(' | ')[0]?.includes(`\`${name}\``));
      expect(row, name).toBeDefined();
      expect(row, name).toMatch(new RegExp(`\\b${spelling(value)}\\b`));
    }
  });
});

describe('docs/events.md', () => {
  const folder = new URL('../src/cli/', import.meta.url);
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const written = sources.flatMap((name) => [
    ...readFileSync(new URL(name, folder), 'utf8').matchAll(/\{\s*event: '([a-z-]+)'/g),
  ]);

  it('has a row for every event whose name is in src/cli', () => {
    const events = readFileSync(new URL('../docs/events.md', import.meta.url), 'utf8');
    const names = new Set(written.map(([, name]) => name));
    expect(names.size).toBeGreaterThan(15);
    for (const name of names) expect(events, name).toMatch(new RegExp(`^\\| .*\`${name}\``, 'm'));
  });
});

describe('docs/metrics.md', () => {
  /** In expressions: without what Prometheus adds to the names of histograms and summaries. */
  const namesIn = (text: string): string[] =>
    [...text.matchAll(/\bwstun_\w+/g)].map(([name]) =>
      Object.hasOwn(METRICS, name) ? name : name.replace(/_(?:bucket|sum|count)$/, ''),
    );

  it('lists every metric as the table of the source has it, and no other', () => {
    const rows = metricsPage.split('\n').filter((line) => line.startsWith('| `wstun_'));
    expect(new Set(rows)).toEqual(new Set(Object.entries(METRICS).map(([name, metric]) => metricRow(name, metric))));
    expect(rows.length).toBe(Object.keys(METRICS).length);
  });

  it('has alerts of metrics that exist', () => {
    expect(namesIn(alertRules()).length).toBeGreaterThan(5);
    for (const name of namesIn(alertRules())) expect(METRICS).toHaveProperty(name);
  });

  it('leads to a dashboard of metrics that exist, with the data source as a variable, and rows for each role', () => {
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(41);
    expect(dashboard.templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource' });
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual(['Relays', 'Exits', 'Clients', 'Processes']);
    const targets = dashboard.panels.flatMap(({ targets = [] }) => targets);
    for (const { datasource } of targets) expect(datasource.uid).toMatch(/^\$\{datasource\}$/);
    const names = new Set(dashboardExpressions.flatMap(namesIn));
    expect(names.size).toBeGreaterThan(30);
    for (const name of names) expect(METRICS).toHaveProperty(name);
  });
});

describe('docs/networks.md', () => {
  it('has a row for each obstacle of test/support/networks, with the words of its test, and no other', () => {
    const networks = readFileSync(new URL('../docs/networks.md', import.meta.url), 'utf8');
    expect(withTable(networks, OBSTACLES, new Map())).toBe(networks);
    expect(networks).not.toContain('| ? |');
    const names = OBSTACLES.map(({ what }) => what);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('docs/protocol.md', () => {
  const protocol = readFileSync(new URL('../docs/protocol.md', import.meta.url), 'utf8');

  it('lists every code that goes over the wire', () => {
    for (const [name, { wire }] of faults)
      if (wire !== undefined) expect(protocol).toContain(`| ${wire} | \`${name}\` |`);
  });

  it('lets every sender send what this receiver tolerates', () => {
    const { pingRate, noOpRate, rapidResetRate, refusalRate } = DEFAULT_MUX_CONFIG;
    const rows: [string, { perSecond: number; burst: number }][] = [
      ['PINGs and PONGs together', pingRate],
      ['no-op frames', noOpRate],
      ['opens that are given up before an answer or rejected', rapidResetRate],
      ['the same, beyond that', refusalRate],
    ];
    for (const [what, { perSecond, burst }] of rows) {
      const figures = `${perSecond.toLocaleString('en-US')} a second, ${burst.toLocaleString('en-US')} at once`;
      expect(protocol).toContain(`| ${what} | ${figures}`);
    }
  });
});

describe('docs/adr', () => {
  const folder = new URL('../docs/adr/', import.meta.url);
  const names = readdirSync(folder).filter((name) => name !== 'dependencies.md');
  const records = names.filter((name) => !name.endsWith('-measurements.md'));
  const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

  it('gives each record a number of its own, in its name and its title', () => {
    const numbers = records.map((name) => name.slice(0, 4));
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const name of names) {
      const [title = ''] = read(name).split('\n');
      expect(title.slice(0, 8)).toBe(`# ${name.slice(0, 4)}: `);
    }
  });

  it('has the record to which each page of measurements belongs', () => {
    const pages = names.filter((name) => name.endsWith('-measurements.md'));
    expect(records).toEqual(expect.arrayContaining(pages.map((name) => name.replace('-measurements', ''))));
  });

  it.each(records)('has status, context, decision and consequences in the first 40 lines of %s', (name) => {
    const [, ...parts] = read(name).split(/^\*\*(Status|Context|Decision|Consequences)\.\*\*/m);
    expect(parts.filter((_, index) => index % 2 === 0)).toEqual(['Status', 'Context', 'Decision', 'Consequences']);
    const [top = ''] = read(name).split(/^## /m);
    expect(top.trimEnd().split('\n').length).toBeLessThanOrEqual(40);
  });
});

describe('Markdown pages', () => {
  const root = join(import.meta.dirname, '..');
  const sources = ['vitest.config.ts', ...['src', 'test', 'bench', 'tools'].flatMap(filesOf)];
  const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...filesOf('docs'), ...filesOf('bench')].filter(
    (name) => name.endsWith('.md'),
  );

  function filesOf(folder: string): string[] {
    return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
  }

  // The benchmark writes RESULTS.md.
  it.each(pages.filter((page) => page !== 'bench/RESULTS.md'))('wrap the text of %s at 120 columns', (page) => {
    const text = readFileSync(join(root, page), 'utf8').replaceAll(/^ *```.*?^ *```$/gms, '');
    const long = text.split('\n').filter((line) => [...line].length > 120 && !/^ *\|/.test(line));
    expect(long.filter((line) => !line.startsWith('#'))).toEqual([]);
  });

  it.each(pages)('name in %s only source files that exist', (page) => {
    const named = readFileSync(join(root, page), 'utf8').matchAll(/`(?!dist\/)([\w./-]+\.(?:ts|mjs))`/g);
    const missing = [...named].filter(([, path = '']) => !sources.some((file) => `/${file}`.endsWith(`/${path}`)));
    expect(missing.map(([, path]) => path)).toEqual([]);
  });
});

describe('commands that are to be pasted', () => {
  const root = join(import.meta.dirname, '..');
  const pages = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.md') && !path.includes('node_modules') && path !== 'CHANGELOG.md',
  );

  /** The lines of fenced blocks of shell commands. */
  function shellLines(text: string): string[] {
    const blocks = text.matchAll(/^ *```(?:sh|bash|shell|console)\n(.*?)^ *```$/gms);
    return [...blocks].flatMap(([, block = '']) => block.split('\n'));
  }

  it.each(pages)('have no comment in %s: an interactive zsh would take it for arguments', (path) => {
    const commented = shellLines(readFileSync(join(root, path), 'utf8')).filter((line) => /(^|\s)#(\s|$)/.test(line));
    expect(commented).toEqual([]);
  });

  it.each(pages)('stand in blocks of %s that are marked as such', (path) => {
    const blocks = readFileSync(join(root, path), 'utf8').matchAll(/^ *```(\w*)\n(.*?)^ *```$/gms);
    const unmarked = [...blocks].filter(([, kind, block = '']) => kind === '' && /^ *(npm|npx|docker) \w/m.test(block));
    expect(unmarked).toEqual([]);
  });

  it('stand alone in the two blocks of the README that set it up', () => {
    const blocks = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```sh\n(.*?)^```$/gms)].map(
      ([, it]) => it,
    );
    expect(blocks).toEqual(expect.arrayContaining(['npm ci && npm run quickstart\n', 'npm ci && npm test\n']));
  });

  it('do not undo in the README what those above them have just printed', () => {
    const lines = shellLines(readFileSync(join(root, 'README.md'), 'utf8'));
    expect(lines.filter((line) => /keys rotate|access (remove|renew)/.test(line))).toEqual([]);
  });
});

/** As the page writes it: 262,144 is 256 KiB, 4096 is 4,096. */
function spelling(figure: number): string {
  if (figure % 1_048_576 === 0) return `${figure / 1_048_576} MiB`;
  if (figure % 1_024 === 0 && figure > 8_192) return `${figure / 1_024} KiB`;
  return figure.toLocaleString('en-US');
}
