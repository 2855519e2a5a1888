/** `npm run bench`: see README.md beside this file for what is measured and how to read it. */
import { readFile, writeFile } from 'node:fs/promises';
import { GROUPS } from './cases.ts';
import { HANDSHAKES_AIM, measureHandshakes } from './handshakes.ts';
import type { Settings } from './measure.ts';
import { type MuxSpeed, measureMux } from './mux.ts';
import { type Options, readOptions } from './options.ts';
import { profile } from './profile.ts';
import { formatRows, sumUp } from './report.ts';
import { describeRun, formatResults, type Measured, type Results } from './results.ts';

const KNOWN = [...Object.keys(GROUPS), 'handshakes', 'mux'];

function say(text: string): void {
  process.stdout.write(`${text}\n`);
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

async function runGroup(group: string, settings: Settings): Promise<Measured> {
  const measured = (await GROUPS[group]?.(settings)) ?? [];
  // An aim is not for what stands beside another build.
  const rows = settings.against === undefined ? measured : measured.map((row) => ({ ...row, aims: [] }));
  say(formatRows(rows));
  return { group, rows: rows.map(sumUp) };
}

async function measure({ groups, settings: chosen }: Options): Promise<Results> {
  const notes = new Set<string>();
  const settings: Settings = {
    ...chosen,
    note: (text) => {
      if (!notes.has(text)) say(`  ! ${text}`);
      notes.add(text);
    },
  };
  const run = await describeRun(settings);
  const measured: Measured[] = [];
  let mux: MuxSpeed[] = [];
  for (const name of groups) {
    const began = performance.now();
    say(`── ${name}`);
    if (name === 'handshakes') runHandshakes(settings.quick);
    else if (name === 'mux') mux = runMux(settings.quick);
    else measured.push(await runGroup(name, settings));
    say(`   (${((performance.now() - began) / 1000).toFixed(0)} s)\n`);
  }
  return { ...run, notes: [...notes], groups: measured, mux };
}

async function main(): Promise<void> {
  const options = await readOptions(KNOWN);
  if (options.usage !== undefined) return say(options.usage);
  if (options.profile !== undefined) return runProfile({ ...options.settings, note: say }, options.profile);
  const { from, json, results: file } = options;
  const results = from === undefined ? await measure(options) : (JSON.parse(await readFile(from, 'utf8')) as Results);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(results, null, 1)}\n`);
  if (file !== undefined) await writeFile(file, formatResults(results));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  // Not only the exit code: what had started by then would keep the process alive.
  process.exit(1);
}
