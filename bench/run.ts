/** `npm run bench`: see README.md beside this file for what is measured and how to read it. */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { GROUPS } from './cases.ts';
import { HANDSHAKES_AIM, measureHandshakes } from './handshakes.ts';
import type { Settings } from './measure.ts';
import { type MuxSpeed, measureMux } from './mux.ts';
import { profile } from './profile.ts';
import { formatRows, type Row, sumUp } from './report.ts';

const KNOWN = [...Object.keys(GROUPS), 'handshakes', 'mux'];

const USAGE = `npm run bench -- [GROUP]… [--rounds N] [--quick] [--json FILE] [--profile MODE:STREAMS]
                 [--straight] [--wstun FILE] [--against FILE]

  GROUP              ${KNOWN.join(', ')}; default: all
  --rounds N         pairs of runs for each case (default 7; 3 with --quick)
  --quick            under a minute, less exact
  --json FILE        writes every round's numbers
  --profile down:1   profiles that throughput case instead
  --straight         the load goes to the forwarders without SOCKS5
  --wstun FILE       measures that bin/wstun.js instead of this repository's
  --against FILE     compares with that bin/wstun.js instead of with the forwarders
`;

const WSTUN = fileURLToPath(new URL('../../bin/wstun.js', import.meta.url));

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      straight: { type: 'boolean', default: false },
      wstun: { type: 'string', default: WSTUN },
      against: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a number from 1');
  for (const name of positionals)
    if (!KNOWN.includes(name)) throw new Error(`no group ${name}; there are ${KNOWN.join(', ')}`);
  const { quick, straight, wstun, against } = values;
  const settings: Settings = { rounds, quick, straight, wstun, against };
  return { settings, values, chosen: positionals.length > 0 ? positionals : KNOWN };
}

async function runProfile(settings: Settings, text: string): Promise<void> {
  const [mode, streams] = text.split(':');
  if (mode !== 'down' && mode !== 'up') throw new Error('--profile takes down:STREAMS or up:STREAMS');
  say(await profile(settings, mode, Number(streams ?? 1)));
}

function runMux(quick: boolean): MuxSpeed[] {
  return [1, 8].map((streams) => {
    // Compiled by the first; the second counts.
    measureMux(streams, 1e9);
    const speed = measureMux(streams, quick ? 4e9 : 1e10);
    const perRecord = speed.microsecondsPerRecord.toFixed(1);
    say(
      `  ${streams} stream(s): ${speed.megabytesPerSecond.toFixed(0)} MB/s, ${perRecord} µs a record, both ends together`,
    );
    return speed;
  });
}

function runHandshakes(quick: boolean): void {
  for (const suite of ['ChaChaPoly', 'AESGCM'] as const) {
    measureHandshakes(suite, 500);
    const perSecond = measureHandshakes(suite, quick ? 2_000 : 10_000);
    const verdict = perSecond >= HANDSHAKES_AIM ? 'ok' : 'MISSED';
    say(`  ${suite}: ${perSecond.toFixed(0)} a second on one core at the exit (aim ${HANDSHAKES_AIM}: ${verdict})`);
  }
}

async function main(): Promise<void> {
  const { settings, values, chosen } = readOptions();
  if (values.help) return say(USAGE);
  if (values.profile !== undefined) return runProfile(settings, values.profile);
  const rows: Row[] = [];
  let mux: MuxSpeed[] = [];
  const baselineName = settings.against === undefined ? 'forwarders' : 'against';
  for (const name of chosen) {
    const began = performance.now();
    const group = GROUPS[name];
    say(`── ${name}`);
    if (group) {
      const measured = await group(settings);
      // An aim is one for the ratio to the forwarders.
      const aimed = settings.against === undefined ? measured : measured.map(({ aim: _, ...row }) => row);
      rows.push(...aimed);
      say(formatRows(aimed, name === 'encryption' ? 'unsealed' : baselineName));
    } else if (name === 'handshakes') runHandshakes(settings.quick);
    else mux = runMux(settings.quick);
    say(`   (${((performance.now() - began) / 1000).toFixed(0)} s)\n`);
  }
  if (values.json !== undefined) await writeFile(values.json, toJson(settings, rows, mux));
}

function toJson(settings: Settings, rows: readonly Row[], mux: readonly MuxSpeed[]): string {
  const [cpu] = cpus();
  const machine = { node: process.version, cpu: cpu?.model, cores: cpus().length };
  const { rounds, quick, straight } = settings;
  return `${JSON.stringify({ date: new Date().toISOString(), machine, settings: { rounds, quick, straight }, rows: rows.map(sumUp), mux }, null, 1)}\n`;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  // Not only the exit code: what had started by then would keep the process alive.
  process.exit(1);
}
