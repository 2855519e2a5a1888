/** The groups of cases that the benchmark knows, by the name that selects them. */

import { measureCrowds } from './crowd-report.ts';
import { measureSessions } from './idle-sessions.ts';
import { Bench, type Cast, type Job, type LinkRace, type Run, type Runs, type Settings } from './measure.ts';
import type { Memory } from './memory.ts';
import { canGiveBack } from './nodes.ts';
import { benchFile } from './programs.ts';
import { type Aim, growthRows, perPiece, type Row } from './report.ts';
import { measureShootout } from './shootout.ts';
import type { Subject } from './subjects.ts';

const MIB = 1024 * 1024;

/** The client without encryption. */
const UNSEALED = benchFile('unsealed.js');
/** Throughput beside two plain forwarders without encryption, with it, and what it may take of that without. */
const UNSEALED_AIM = 0.8;
const SEALED_AIM = 0.75;
const ENCRYPTION_AIM = 0.75;
/** Client and relay together, CPU s/GB, on the machine of RESULTS.md; and beside the floor on any. */
const COST_AIMS: Readonly<Record<string, number>> = { 'down 1': 1.45, 'down 8': 1.55, 'up 1': 1.75 };
const FLOOR_AIM = 1.3;
const PEAK_AIM_MIB = 140;
const ECHO_AIM = 1.3;
/** The slowest hundredth of the echoes beside the middle one of the same round. */
const TAIL_AIM = 3;
const OPEN_AIM = 1.9;
const OPENS_AIM = 0.7;
/** What a keystroke may wait beside one download at full speed, ms. */
const MIXED_AIM_MS = 10;
/** Brings the most full collections that there can be, on every run, and a line for each. */
const WORST_CASE = ['--min-semi-space-size=16', '--trace-gc'];
const COLLECTIONS_AIM = 1;
const GIGABYTE = 1e9;
/** Each way with one round: a gigabyte, since the uncounted run is before it. Half as much where it is to be quick. */
const COLLECTIONS_BYTES = GIGABYTE / 2;

export type Group = (settings: Settings) => Promise<Row[]>;

export const GROUPS: Readonly<Record<string, Group>> = {
  throughput: (settings) => measureThroughput(settings, SEALED_AIM, { floor: 'beside', peers: settings.peers }),
  unsealed: (settings) => measureThroughput({ ...settings, wstun: UNSEALED }, UNSEALED_AIM),
  encryption: (settings) =>
    measureThroughput({ ...settings, against: UNSEALED }, ENCRYPTION_AIM, { baselineName: 'unsealed' }),
  collections: measureCollections,
  echo: measureEcho,
  open: measureOpen,
  mixed: measureMixed,
  streams: measureStreams,
  shootout: measureShootout,
  sessions: async (settings) => [...(await measureSessions(settings)), ...(await measureCrowds(settings))],
};

async function withBench(settings: Settings, cast: Cast, measure: (bench: Bench) => Promise<Row[]>): Promise<Row[]> {
  const bench = await Bench.start(settings, cast);
  try {
    return await measure(bench);
  } finally {
    await bench.stop();
  }
}

/** `of`: the aims of what runs wstun. */
interface Figure extends Pick<Row, 'name' | 'unit' | 'better' | 'detail'> {
  readonly of?: readonly Aim[] | ((contest: LinkRace) => readonly Aim[]);
  readonly value: (run: Run) => number;
}

/** One row for each that is judged. */
function rowsOf({ contests }: Bench, runs: Runs, { of = [], value, ...figure }: Figure): Row[] {
  return contests.flatMap((contest) => {
    const values = (subject: Subject | undefined) => subject && runs.get(subject)?.map(value);
    const [measured, baseline, floor] = [contest.subject, contest.baseline, contest.floor].map(values);
    if (!measured || !baseline) return [];
    const aims = contest.node === undefined ? [] : typeof of === 'function' ? of(contest) : of;
    return [{ ...figure, ...namesOf(contest), baseline, ...(floor && { floor }), measured, aims }];
  });
}

function namesOf({ subject, node, baseline }: LinkRace): Pick<Row, 'subject' | 'suffix' | 'baselineName'> {
  return { subject: subject.name, suffix: node?.suffix ?? '', baselineName: baseline.name };
}

function upTo(bound: number, of: Aim['of'] = 'baseline'): Aim[] {
  return [{ of, bound }];
}

// ── throughput ───────────────────────────────────────────────────────────────────────────────────────────────────────

function measureThroughput(settings: Settings, aim: number, cast: Cast = {}): Promise<Row[]> {
  return withBench(settings, cast, async (bench) => {
    const speed: Row[] = [];
    const cost: Row[] = [];
    for (const mode of ['down', 'up'] as const) {
      for (const streams of [1, 8]) {
        const bytes = (settings.quick ? 192 : 512) * MIB;
        const runs = await bench.alternate(settings.rounds, { mode, streams, amount: bytes / streams });
        const name = `${mode}, ${streams} stream${streams === 1 ? '' : 's'}`;
        speed.push(...rowsOf(bench, runs, { name, ...SPEED, of: upTo(aim) }));
        cost.push(...costRows(bench, runs, name, bytes, cast.floor ? aimsOf(mode, streams) : []));
      }
    }
    return [...speed, ...cost, ...peakRows(bench)];
  });
}

/** For wstun as it comes. */
function aimsOf(mode: 'down' | 'up', streams: number): Aim[] {
  const itself = COST_AIMS[`${mode} ${streams}`];
  return [...(itself === undefined ? [] : upTo(itself, 'itself')), ...upTo(FLOOR_AIM, 'floor')];
}

const SPEED: Pick<Figure, 'unit' | 'better' | 'value'> = {
  unit: 'MB/s',
  better: 'higher',
  value: ({ result }) => result.megabytesPerSecond ?? 0,
};

/** Node 20 cannot give memory back, so what it costs there is what it cost before. */
function aimsOfCost({ node }: LinkRace, aims: readonly Aim[]): readonly Aim[] {
  return node && canGiveBack(node) ? aims : [];
}

function costRows(bench: Bench, runs: Runs, name: string, bytes: number, aims: readonly Aim[]): Row[] {
  const rows = (what: string, seconds: (run: Run) => number, figure: Partial<Figure>): Row[] =>
    rowsOf(bench, runs, {
      name: `${name}: ${what}`,
      unit: 'CPU s/GB',
      better: 'lower',
      value: (run) => seconds(run) / (bytes / GIGABYTE),
      ...figure,
    });
  const detail = true;
  return [
    ...rows('both', ({ cost }) => cost.programs.reduce((sum, seconds) => sum + seconds, 0), {
      of: (contest) => aimsOfCost(contest, aims),
    }),
    ...rows('client', ({ cost }) => cost.programs[0] ?? 0, { detail }),
    ...rows('relay', ({ cost }) => cost.programs[1] ?? 0, { detail }),
    ...rows('load', ({ cost }) => cost.load, { detail }),
  ];
}

/** Of each program, over all that the bench has done so far. */
function programRows(
  { contests }: Bench,
  names: { readonly name: string; readonly unit: string },
  value: (subject: Subject, program: number) => number,
  bound: number,
): Row[] {
  return contests.flatMap((contest) =>
    contest.subject.programs.map((program, i) => ({
      ...names,
      ...namesOf(contest),
      name: `${names.name}, ${contest.node ? program.name : ['client', 'relay'][i]}`,
      better: 'lower',
      // A named exit has nothing to stand beside.
      baseline: contest.baseline.programs.slice(i, i + 1).map(() => value(contest.baseline, i)),
      ...(contest.floor && { floor: [value(contest.floor, i)] }),
      measured: [value(contest.subject, i)],
      aims: contest.node && canGiveBack(contest.node) ? upTo(bound, 'itself') : [],
    })),
  );
}

function peakRows(bench: Bench): Row[] {
  const peak = ({ programs }: Subject, i: number): number => (programs[i]?.peakResident ?? Number.NaN) / MIB;
  return programRows(bench, { name: 'peak memory', unit: 'MiB' }, peak, PEAK_AIM_MIB);
}

/** Not as wstun comes, so it stands beside the floor alone, which runs with the same flags. */
function measureCollections(settings: Settings): Promise<Row[]> {
  return withBench(settings, { floor: 'baseline', behindRelay: true, options: { node: WORST_CASE } }, async (bench) => {
    const cost: Row[] = [];
    const amount = settings.quick ? COLLECTIONS_BYTES / 8 : COLLECTIONS_BYTES;
    for (const mode of ['down', 'up'] as const) {
      const runs = await bench.alternate(settings.rounds, { mode, streams: 1, amount });
      cost.push(...costRows(bench, runs, `${mode}, 1 stream`, amount, []).filter(({ detail }) => !detail));
    }
    const collections = ({ programs }: Subject, i: number): number => programs[i]?.fullCollections ?? Number.NaN;
    const names = { name: 'full collections', unit: '' };
    return [...cost, ...programRows(bench, names, collections, COLLECTIONS_AIM), ...peakRows(bench)];
  });
}

// ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

function measureEcho(settings: Settings): Promise<Row[]> {
  return withBench(settings, { floor: 'beside', peers: settings.peers }, async (bench) => {
    const rows: Row[] = [];
    for (const streams of [1, 16]) {
      const amount = (settings.quick ? 2000 : 4000) / streams;
      const runs = await bench.alternate(settings.rounds, { mode: 'echo', amount, streams });
      const of = streams === 1 ? 'echo' : `echo, ${streams} streams`;
      rows.push(...timeRows(bench, runs, of, streams === 1 ? { p50: upTo(ECHO_AIM) } : {}));
      if (streams > 1) continue;
      const tail = ({ result }: Run): number => (result.milliseconds?.p99 ?? 0) / (result.milliseconds?.p50 ?? 0);
      const figure = { name: 'echo p99 ÷ p50', unit: '', better: 'lower' } as const;
      rows.push(...rowsOf(bench, runs, { ...figure, value: tail, of: upTo(TAIL_AIM, 'itself') }));
    }
    return rows;
  });
}

function timeRows(bench: Bench, runs: Runs, name: string, aims: { p50?: Aim[]; p99?: Aim[] } = {}): Row[] {
  return (['p50', 'p99'] as const).flatMap((share) =>
    rowsOf(bench, runs, {
      name: `${name} ${share}`,
      unit: 'ms',
      better: 'lower',
      value: ({ result }) => result.milliseconds?.[share] ?? 0,
      of: aims[share] ?? [],
    }),
  );
}

function measureOpen(settings: Settings): Promise<Row[]> {
  return withBench(settings, { floor: 'beside', peers: settings.peers }, async (bench) => {
    const measure = (job: Job) => bench.alternate(settings.rounds, job);
    const together = await measure({ mode: 'open', streams: 16, amount: settings.quick ? 40 : 80 });
    const alone = await measure({ mode: 'open', streams: 1, amount: settings.quick ? 200 : 400 });
    const rate = ({ result }: Run): number => result.perSecond ?? 0;
    const figure = { name: 'opens, 16 at a time', unit: '/s', better: 'higher' } as const;
    return [
      ...rowsOf(bench, together, { ...figure, value: rate, of: upTo(OPENS_AIM) }),
      ...timeRows(bench, alone, 'open, one at a time', { p50: upTo(OPEN_AIM) }),
    ];
  });
}

function measureMixed(settings: Settings): Promise<Row[]> {
  return withBench(settings, { floor: 'beside', peers: settings.peers }, async (bench) => {
    const rows: Row[] = [];
    for (const streams of [1, 4]) {
      const job = { mode: 'mixed', streams, amount: settings.quick ? 1 : 2 } as const;
      const runs = await bench.alternate(Math.ceil(settings.rounds / 2), job);
      const downloads = `${streams} download${streams === 1 ? '' : 's'}`;
      rows.push(...rowsOf(bench, runs, { name: `${downloads} beside an echo`, ...SPEED }));
      const aims = streams === 1 ? { p99: upTo(MIXED_AIM_MS, 'itself') } : {};
      rows.push(...timeRows(bench, runs, `echo beside ${downloads}`, aims));
    }
    return rows;
  });
}

// ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const IDLE_STREAMS = 1000;

/** Not alternated: growth after a full collection hardly depends on the weather. */
function measureStreams(settings: Settings): Promise<Row[]> {
  return withBench(settings, { options: { probe: true } }, async (bench) => {
    const growths = new Map<Subject, Memory[]>();
    for (const subject of bench.subjects) growths.set(subject, await streamGrowth(bench, subject));
    return bench.contests.flatMap((contest) =>
      (['client', 'relay'] as const).flatMap((program, i) => {
        const [baseline, measured] = [contest.baseline, contest.subject].map((subject) => growths.get(subject)?.[i]);
        return growthRows({ name: `an idle stream, ${program}`, ...namesOf(contest) }, baseline, measured);
      }),
    );
  });
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
