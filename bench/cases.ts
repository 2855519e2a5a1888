/** The groups of cases that the benchmark knows, by the name that selects them. */

import { measureSessions } from './idle-sessions.ts';
import { Bench, type Job, type Run, type Settings } from './measure.ts';
import type { Memory } from './memory.ts';
import { benchFile } from './programs.ts';
import { growthRows, perPiece, type Row } from './report.ts';
import type { Subject } from './subjects.ts';

const MIB = 1024 * 1024;

/** The client without encryption. */
const UNSEALED = benchFile('unsealed.js');
/** Throughput beside two plain forwarders without encryption, with it, and what it may take of that without. */
const UNSEALED_AIM = 0.8;
const SEALED_AIM = 0.6;
const ENCRYPTION_AIM = 0.75;

export type Group = (settings: Settings) => Promise<Row[]>;

export const GROUPS: Readonly<Record<string, Group>> = {
  throughput: (settings) => measureThroughput(settings, SEALED_AIM),
  unsealed: (settings) => measureThroughput({ ...settings, wstun: UNSEALED }, UNSEALED_AIM),
  encryption: (settings) => measureThroughput({ ...settings, against: UNSEALED }, ENCRYPTION_AIM),
  echo: measureEcho,
  open: measureOpen,
  mixed: measureMixed,
  streams: measureStreams,
  sessions: measureSessions,
};

async function withBench(settings: Settings, measure: (bench: Bench) => Promise<Row[]>): Promise<Row[]> {
  const bench = await Bench.start(settings);
  try {
    return await measure(bench);
  } finally {
    await bench.stop();
  }
}

function rowOf(
  row: Omit<Row, 'baseline' | 'wstun'>,
  runs: { baseline: readonly Run[]; wstun: readonly Run[] },
  value: (run: Run) => number,
): Row {
  return { ...row, baseline: runs.baseline.map(value), wstun: runs.wstun.map(value) };
}

// ── throughput ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

function measureThroughput(settings: Settings, aim: number): Promise<Row[]> {
  return withBench(settings, async (bench) => {
    const speed: Row[] = [];
    const cost: Row[] = [];
    for (const mode of ['down', 'up'] as const) {
      for (const streams of [1, 8]) {
        const bytes = (settings.quick ? 192 : 512) * MIB;
        const runs = await bench.alternate(settings.rounds, { mode, streams, amount: bytes / streams });
        const name = `${mode}, ${streams} stream${streams === 1 ? '' : 's'}`;
        speed.push(throughputRow(name, runs, aim));
        cost.push(...costRows(name, runs, bytes));
      }
    }
    return [...speed, ...cost, ...peakRows(bench)];
  });
}

function throughputRow(name: string, runs: { baseline: Run[]; wstun: Run[] }, aim: number): Row {
  return rowOf({ name, unit: 'MB/s', better: 'higher', aim }, runs, (run) => run.result.megabytesPerSecond ?? 0);
}

function costRows(name: string, runs: { baseline: Run[]; wstun: Run[] }, bytes: number): Row[] {
  const gigabytes = bytes / 1e9;
  const row = (what: string, seconds: (run: Run) => number): Row =>
    rowOf({ name: `${name}: ${what}`, unit: 'CPU s/GB', better: 'lower' }, runs, (run) => seconds(run) / gigabytes);
  return [
    row('both', ({ cost }) => cost.near + cost.far),
    row('client', ({ cost }) => cost.near),
    row('relay', ({ cost }) => cost.far),
    row('load', ({ cost }) => cost.load),
  ];
}

/** Over all that the bench has done so far. */
function peakRows({ baseline, wstun }: Bench): Row[] {
  return (['client', 'relay'] as const).map((name, i) => ({
    name: `peak memory, ${name}`,
    unit: 'MiB',
    better: 'lower',
    baseline: [(baseline.programs[i]?.peakResident ?? 0) / MIB],
    wstun: [(wstun.programs[i]?.peakResident ?? 0) / MIB],
  }));
}

// ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function measureEcho(settings: Settings): Promise<Row[]> {
  return withBench(settings, async (bench) => {
    const rows: Row[] = [];
    for (const streams of [1, 16]) {
      const amount = (settings.quick ? 2000 : 4000) / streams;
      const runs = await bench.alternate(settings.rounds, { mode: 'echo', amount, streams });
      const of = streams === 1 ? 'echo' : `echo, ${streams} streams`;
      rows.push(...timeRows(of, runs, streams === 1 ? 1.5 : undefined));
    }
    return rows;
  });
}

function timeRows(name: string, runs: { baseline: Run[]; wstun: Run[] }, aim?: number): Row[] {
  const p50 = { name: `${name} p50`, unit: 'ms', better: 'lower' as const, ...(aim === undefined ? {} : { aim }) };
  return [
    rowOf(p50, runs, ({ result }) => result.milliseconds?.p50 ?? 0),
    rowOf({ name: `${name} p99`, unit: 'ms', better: 'lower' }, runs, ({ result }) => result.milliseconds?.p99 ?? 0),
  ];
}

function measureOpen(settings: Settings): Promise<Row[]> {
  return withBench(settings, async (bench) => {
    const measure = (job: Job) => bench.alternate(settings.rounds, job);
    const together = await measure({ mode: 'open', streams: 16, amount: settings.quick ? 40 : 80 });
    const alone = await measure({ mode: 'open', streams: 1, amount: settings.quick ? 200 : 400 });
    return [
      rowOf(
        { name: 'opens, 16 at a time', unit: '/s', better: 'higher' },
        together,
        ({ result }) => result.perSecond ?? 0,
      ),
      ...timeRows('open, one at a time', alone),
    ];
  });
}

function measureMixed(settings: Settings): Promise<Row[]> {
  return withBench(settings, async (bench) => {
    const job = { mode: 'mixed', streams: 4, amount: settings.quick ? 1 : 2 } as const;
    const runs = await bench.alternate(Math.ceil(settings.rounds / 2), job);
    const bulk = { name: '4 downloads beside an echo', unit: 'MB/s', better: 'higher' } as const;
    return [
      rowOf(bulk, runs, ({ result }) => result.megabytesPerSecond ?? 0),
      ...timeRows('echo beside 4 downloads', runs),
    ];
  });
}

// ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const IDLE_STREAMS = 1000;

/** Not alternated: growth after a full collection hardly depends on the weather. */
async function measureStreams(settings: Settings): Promise<Row[]> {
  const bench = await Bench.start(settings, { probe: true });
  try {
    const baseline = await streamGrowth(bench, bench.baseline);
    const wstun = await streamGrowth(bench, bench.wstun);
    return (['client', 'relay'] as const).flatMap((name, i) =>
      growthRows(`an idle stream, ${name}`, baseline[i], wstun[i]),
    );
  } finally {
    await bench.stop();
  }
}

async function streamGrowth(bench: Bench, subject: Subject): Promise<Memory[]> {
  // The first streams also cost what is compiled and pooled once.
  for (let i = 0; i < 2; i++) await holdAndRelease(bench, subject, IDLE_STREAMS / 4);
  const before = await memoryOf(subject);
  await bench.run(subject, { mode: 'idle', streams: IDLE_STREAMS, amount: 0 });
  const after = await memoryOf(subject);
  await bench.run(subject, { mode: 'release', streams: 0, amount: 0 });
  return after.map((memory, i) => perPiece(before[i], memory, IDLE_STREAMS));
}

async function holdAndRelease(bench: Bench, subject: Subject, streams: number): Promise<void> {
  await bench.run(subject, { mode: 'idle', streams, amount: 0 });
  await bench.run(subject, { mode: 'release', streams: 0, amount: 0 });
}

function memoryOf(subject: Subject): Promise<Memory[]> {
  return Promise.all(subject.programs.map((program) => program.settledMemory()));
}
