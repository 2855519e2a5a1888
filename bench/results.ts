/** A whole run as it goes into the JSON file, and as the page that RESULTS.md is. */
import { execFile } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { Settings } from './measure.ts';
import type { MuxSpeed } from './mux.ts';
import { findPeers, versionOf } from './peers.ts';
import { formatAim, judge, kindOf, type SummedRow, short, sumUp, times } from './report.ts';
import { pairwiseRatio } from './statistics.ts';

/** Somebody else computes. */
const BUSY_LOAD = 1;

export interface Measured {
  readonly group: string;
  readonly rows: readonly SummedRow[];
}

/** What must be known beside the figures. */
interface RunDescription {
  readonly date: string;
  readonly commit: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly kernel: string; readonly load: number };
  /** Runs the benchmark itself, the load and the forwarders. */
  readonly node: string;
  readonly nodes: readonly Readonly<Record<string, string>>[];
  readonly peers: readonly { readonly name: string; readonly version: string }[];
  readonly settings: { readonly rounds: number; readonly quick: boolean; readonly straight: boolean };
}

export interface Results extends RunDescription {
  readonly notes: readonly string[];
  readonly groups: readonly Measured[];
  readonly mux: readonly MuxSpeed[];
}

export async function describeRun({
  nodes,
  peers,
  rounds,
  quick,
  straight,
  wstun,
  note,
}: Settings): Promise<RunDescription> {
  const found = peers ? findPeers({ note }) : [];
  return {
    date: new Date().toISOString(),
    commit: await readCommit(dirname(wstun)),
    machine: { cpu: cpus()[0]?.model ?? '', cores: cpus().length, kernel: release(), load: loadavg()[0] ?? 0 },
    node: process.versions.node,
    nodes: nodes.map(({ versions }) => versions),
    peers: await Promise.all(found.map(async (peer) => ({ name: peer.name, version: await versionOf(peer) }))),
    settings: { rounds, quick, straight },
  };
}

/** Empty outside a clone. */
async function readCommit(directory: string): Promise<string> {
  const git = promisify(execFile)('git', ['describe', '--always', '--dirty'], { cwd: directory });
  return await git.then(({ stdout }) => stdout.trim()).catch(() => '');
}

export function formatResults(results: Results): string {
  const groups = results.groups.map((measured) => ({ ...measured, rows: measured.rows.map(sumUp) }));
  const parts = [describe(results), formatAims(groups), ...groups.map(formatGroup)];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function describe({ date, commit, machine, node, nodes, peers, settings, notes }: Results): string {
  const releases = nodes.map(({ node = '', v8, openssl }) => `${node} (V8 ${v8}, OpenSSL ${openssl})`);
  const points = [
    `${date.slice(0, 10)}, wstun at commit ${commit}, medians of ${settings.rounds} round${settings.rounds === 1 ? '' : 's'}${settings.quick ? ', --quick' : ''}`,
    `${machine.cores} cores of ${machine.cpu}, Linux ${machine.kernel}, loopback; load average before: ${machine.load.toFixed(2)}${machine.load > BUSY_LOAD ? ' (**the machine was in use**: only large differences of ratios mean anything)' : ''}`,
    `wstun and floor on Node ${releases.join(', ')}; load and forwarders on ${node}`,
    ...(peers.length > 0 ? [`peers: ${peers.map(({ name, version }) => `${name}: ${version}`).join('; ')}`] : []),
    ...notes,
  ];
  return `# What wstun costs, compared with others

Written by the benchmark (\`--results\`), not by hand. [README.md](README.md) says what each figure means and how to measure
again.

${points.map((point) => `- ${point}`).join('\n')}

In brackets: the ratio to the first line of the table, or to the floor on the same Node. It is the median of each round's
own ratio.`;
}

// ── aims ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A line for each aim, a column for each Node; bold is what was missed. */
function formatAims(groups: readonly Measured[]): string {
  const columns = new Set<string>();
  const lines = new Map<string, Map<string, string>>();
  for (const { group, rows } of groups)
    for (const row of rows)
      for (const aim of row.aims) {
        const { value, met } = judge(aim, row);
        // Beside "wstun" and the Node: by which way.
        const way = kindOf(row.subject, row).slice('wstun'.length);
        const asked = `${formatAim(aim, row)}${aim.of === 'itself' ? ` ${row.unit}` : ''}`;
        const label = `${group}${way}: ${row.name} ${asked}`;
        const column = `wstun${row.suffix}`;
        columns.add(column);
        const line = lines.get(label) ?? new Map<string, string>();
        lines.set(label, line.set(column, met ? short(value) : `**${short(value)}**`));
      }
  if (lines.size === 0) return '';
  const body = [...lines].map(([label, cells]) => [
    label.trim(),
    ...[...columns].map((column) => cells.get(column) ?? ''),
  ]);
  return `## Aims\n\nBold: aim missed.\n\n${formatMarkdown(['', ...columns], body)}`;
}

// ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A table for each unit: a line for each subject, a column for each case. */
function formatGroup({ group, rows }: Measured): string {
  const shown = rows.filter(({ detail }) => !detail);
  const units = [...new Set(shown.map(({ unit }) => unit))];
  const tables = units.map((unit) =>
    formatUnit(
      unit,
      shown.filter((row) => row.unit === unit),
    ),
  );
  return `## ${group}\n\n${tables.join('\n\n')}`;
}

function formatUnit(unit: string, rows: readonly SummedRow[]): string {
  const names = [...new Set(rows.map(({ name }) => name))];
  const lines = new Map<string, Map<string, string>>();
  const put = (subject: string, name: string, cell: string): void => {
    lines.set(subject, (lines.get(subject) ?? new Map<string, string>()).set(name, cell));
  };
  for (const { name, baselineName, medians } of rows) put(baselineName, name, short(medians.baseline));
  for (const { name, suffix, medians, baseline, floor } of rows)
    if (floor) put(`floor${suffix}`, name, `${short(medians.floor)}${beside(pairwiseRatio(floor, baseline))}`);
  for (const { name, subject, medians, ratios } of rows) {
    const isCost = unit === 'CPU s/GB' && ratios.floor !== undefined;
    put(subject, name, short(medians.measured) + (isCost ? beside(ratios.floor, ' × floor') : beside(ratios.baseline)));
  }
  const body = [...lines].map(([subject, cells]) => [subject, ...names.map((name) => cells.get(name) ?? '')]);
  return formatMarkdown([unit, ...names], body);
}

/** In brackets; empty where there is no ratio. */
function beside(ratio: number | undefined, of = ''): string {
  const text = times(ratio);
  return text === '' ? '' : ` (${text}${of})`;
}

function formatMarkdown(head: readonly string[], lines: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
