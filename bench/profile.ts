/** Where the time goes: one throughput case under V8's sampling profiler, by part of the program and by function. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench, type Job, type Settings } from './measure.ts';
import type { Program } from './programs.ts';
import { formatTable } from './report.ts';

/** The parts of Chrome's .cpuprofile format that are used here. Times in µs. */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

const TOP = 15;
const READS = 'libuv and kernel: reads';
/** Long enough that starting and compiling are a few percent of it. */
const PROFILED_BYTES = 3 * 2 ** 30;

/** A program's part by the file of the function; the first that matches. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/node_modules\/ws\//, 'ws'],
  [/\/(mux|protocol)\//, 'mux and codec'],
  [/\/tunnel\/join/, 'join (splice)'],
  [/\/tunnel\//, 'tunnel'],
  [/\/transport\//, 'link'],
  [/\/(crypto|state)\/|node_modules\/tweetnacl\//, 'crypto'],
  [/\/(proxy|exit|relay)\//, 'proxy, exit, relay'],
  [/^node:/, 'node: net, stream, events'],
];

/** Runs the case through wstun and returns the text to print. */
export async function profile(settings: Settings, mode: 'down' | 'up', streams: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wstun-profile-'));
  try {
    const options = { node: ['--cpu-prof', `--cpu-prof-dir=${folder}`] };
    const bench = await Bench.start({ ...settings, nodes: settings.nodes.slice(0, 1) }, { options });
    const [contest] = bench.contests;
    if (contest === undefined) throw new Error('nothing to profile');
    const { subject } = contest;
    const { programs } = subject;
    const began = programs.map(threadTimes);
    const job: Job = { mode, streams, amount: PROFILED_BYTES / streams };
    const { result } = await bench.run(subject, job).catch(async (error: unknown) => {
      await bench.stop();
      throw error;
    });
    const spent = programs.map((program, i) => since(began[i], threadTimes(program)));
    await bench.stop();
    const gib = PROFILED_BYTES / 2 ** 30;
    const texts = [`${mode}, ${streams} stream(s), ${gib} GiB at ${result.megabytesPerSecond?.toFixed(0)} MB/s`];
    for (const [i, { name, pid }] of programs.entries()) {
      const file = (await readdir(folder)).find((entry) => entry.split('.').includes(String(pid)));
      if (file === undefined) throw new Error(`${name} left no profile`);
      const cpuProfile = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile;
      texts.push(`── ${name}\n${describe(cpuProfile, spent[i] ?? NOTHING)}`);
    }
    return texts.join('\n\n');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** CPU time, s. */
interface ThreadTimes {
  readonly main: number;
  readonly others: number;
}

const NOTHING: ThreadTimes = { main: 0, others: 0 };

function threadTimes(program: Program): ThreadTimes {
  const main = program.mainThreadSeconds;
  return { main, others: program.cpuSeconds - main };
}

function since(before: ThreadTimes = NOTHING, after: ThreadTimes): ThreadTimes {
  return { main: after.main - before.main, others: after.others - before.others };
}

/**
 * Shares are of all the CPU time of the run. V8 takes the poll phase of libuv, in which all reads of sockets happen,
 * for idle; so what the kernel counts of the main thread beyond the samples is put down to reads.
 */
function describe(cpuProfile: CpuProfile, spent: ThreadTimes): string {
  const byFunction = new Map<string, { part: string; time: number }>();
  const byPart = new Map<string, number>();
  const frames = new Map(cpuProfile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  let sampled = 0;
  const count = (part: string, name: string, time: number): void => {
    sampled += time;
    byPart.set(part, (byPart.get(part) ?? 0) + time);
    byFunction.set(name, { part, time: (byFunction.get(name)?.time ?? 0) + time });
  };
  cpuProfile.samples.forEach((id, i) => {
    const frame = frames.get(id);
    const seconds = (cpuProfile.timeDeltas[i] ?? 0) / 1e6;
    if (frame && frame.functionName !== '(idle)') count(partOf(frame), nameOf(frame), seconds);
  });
  count(READS, '(reads, between the samples)', Math.max(0, spent.main - sampled));
  count('other threads (collector)', '(other threads)', spent.others);
  const share = (time: number): string => `${((100 * time) / sampled).toFixed(1)} %`;
  const parts = [...byPart].sort((a, b) => b[1] - a[1]).map(([part, time]) => [part, time.toFixed(2), share(time)]);
  const functions = [...byFunction]
    .sort((a, b) => b[1].time - a[1].time)
    .slice(0, TOP)
    .map(([name, { part, time }]) => [name, part, share(time)]);
  return `${formatTable(['part', 's', 'self'], parts)}\n\n${formatTable(['function', 'part', 'self'], functions)}`;
}

function partOf({ functionName, url }: CallFrame): string {
  if (functionName === '(garbage collector)') return 'garbage collection';
  // (program): native code that no function called; the rest are calls from JavaScript.
  if (url === '') return functionName === '(program)' ? READS : 'native calls: writes, copies';
  return PARTS.find(([pattern]) => pattern.test(url))?.[1] ?? 'other';
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
}
