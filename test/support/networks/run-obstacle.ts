/**
 * Runs wstun through one obstacle as its user would: what it says and how soon, whether it connects, whether a page and
 * a file come through whole, and whether a password is anywhere but where it belongs.
 */
import { expect } from 'vitest';
import { occurrences } from '../net/recording-proxy.ts';
import { tcpServer } from '../net/tcp.ts';
import { run, runWell } from '../programs/programs.ts';
import { WstunProcess } from '../programs/wstun-process.ts';
import type { ClientOptions } from '../programs/wstun-stack.ts';
import { connectThrough } from '../proxy/through-proxy.ts';
import { until } from '../until.ts';
import type { Course, Name, Obstacle } from './obstacle.ts';
import { FILE_BYTES, hashOfFile, type ObstacleNetwork, PAGE } from './obstacle-network.ts';

/** `NETWORKS=1` measures for docs/networks.md: nothing else should run meanwhile. */
export const isMeasuring = process.env.NETWORKS !== undefined;
/** Nobody waits for longer without a word. */
const SAYS_WITHIN_MS = 3_000;
/** A machine with other tests beside this one is slower, also to start a program. */
const BUSY_MS = isMeasuring ? 500 : 6_000;
const CONNECTS_WITHIN_MS = 20_000;
const LOADS_WITHIN_MS = 150_000;
const MIN_SECRET_BYTES = 8;

export interface Measured {
  /** From the start of the program to the sentence. */
  readonly saidMs?: number | undefined;
  /** From the start of the program, or from when the way was clear, to `ready`. */
  readonly connectedMs: number;
  readonly bytesPerSecond: number;
  /** Without wstun, through the same obstacle. */
  readonly plainBytesPerSecond?: number | undefined;
  readonly isSlow: boolean;
}

export async function runObstacle(obstacle: Obstacle, network: ObstacleNetwork): Promise<Measured> {
  const course = await obstacle.start(network);
  try {
    return await takeCourse(obstacle, course, network);
  } finally {
    await course.end?.();
  }
}

async function takeCourse(obstacle: Obstacle, course: Course, network: ObstacleNetwork): Promise<Measured> {
  const clients: WstunProcess[] = [];
  const start = (options: ClientOptions & { readonly invite?: string }, json = false): Run => {
    const run = startRun(options.invite ?? course.invite, options, json);
    clients.push(run.process);
    return run;
  };
  const first = course.first && start(course.first);
  let saidMs = first && (await expectSentence(first, obstacle, course));
  const clearSince = performance.now();
  await course.clearTheWay?.();
  if (course.clearTheWay === undefined) await first?.process.kill();
  // What it says is known, so that this one may say the same to programs.
  const client =
    first !== undefined && course.clearTheWay !== undefined ? first : start(course.client, first !== undefined);
  const saysSoon = first === undefined && course.saysWithinMs === undefined && obstacle.says !== '';
  const [through, said] = await Promise.all([
    connected(client),
    saysSoon ? expectSentence(client, obstacle, course) : undefined,
  ]);
  saidMs ??= said;
  const connectedMs = through.at - (client === first ? clearSince : client.since);
  if (obstacle.says === '') await expectSentence(client, obstacle, course);
  const bytesPerSecond = await expectFile(through, network, course.bytes);
  await expectPage(through, network);
  if (first === undefined && course.saysWithinMs !== undefined) {
    if (course.isBusy) await startTrickle(Number(through.port));
    saidMs = await expectSentence(client, obstacle, course);
  }
  for (const process of clients) await process.kill();
  expectNoSecret(course, [...clients, network.plain.process, network.secure.process]);
  const plainBytesPerSecond = isMeasuring && course.plain ? await plainSpeed(course.plain, course.bytes) : undefined;
  return { saidMs, connectedMs, bytesPerSecond, plainBytesPerSecond, isSlow: course.isSlow ?? false };
}

interface Run {
  readonly process: WstunProcess;
  readonly since: number;
}

/** With all that it may say to a person, or to programs. */
function startRun(invite: string, { args = [], env = {}, within = [] }: ClientOptions, json: boolean): Run {
  const since = performance.now();
  const all = ['client', '-v', '--listen', '127.0.0.1:0', ...(json ? ['--json'] : []), ...args];
  return { process: new WstunProcess(all, { env: { ...env, WSTUN_INVITE: invite }, within }), since };
}

const READY = /proxy on 127\.0\.0\.1:(\d+)|"event":"ready".*?"listen":"127\.0\.0\.1:(\d+)"/;

async function connected({ process }: Run): Promise<Through> {
  const found = () => READY.exec(process.stdout + process.stderr);
  await until(() => found() !== null || !process.isRunning, CONNECTS_WITHIN_MS).catch(() => {});
  const [, human, json] = found() ?? [];
  const port = human ?? json;
  if (port === undefined) throw new Error(`not connected: ${process.describe()}`);
  return { port, within: process.within, at: performance.now() };
}

/** What a person sees of it, with the names of the page; each once. */
function sentencesOf({ process }: Run, names: readonly Name[]): readonly string[] {
  const said = /^(?:\S+Z )?wstun: /;
  const lines = process.stderr.split('\n').filter((line) => said.test(line) && !line.includes('wstun: connecting to '));
  const shown = lines.map((line) => {
    const sentence = line.replace(said, '').replace(/ Next attempt in [\d.]+ s\.$/, '');
    return names.reduce((text, [found, shown]) => text.replaceAll(found, shown), sentence);
  });
  return [...new Set(shown)];
}

/** @returns ms after the start */
async function expectSentence(run: Run, { says }: Obstacle, course: Course): Promise<number | undefined> {
  const sentences = () => sentencesOf(run, course.names ?? []);
  if (says === '') {
    expect(sentences(), run.process.describe()).toEqual([]);
    return undefined;
  }
  const limitMs = (course.saysWithinMs ?? SAYS_WITHIN_MS) + BUSY_MS;
  await until(() => sentences().includes(says) || !run.process.isRunning, limitMs).catch(() => {});
  if (!sentences().includes(says)) expect(sentences(), run.process.describe()).toEqual([says]);
  return performance.now() - run.since;
}

/** A byte each 200 ms, until the client ends. */
async function startTrickle(port: number): Promise<void> {
  const target = await tcpServer((socket) => {
    const timer = setInterval(() => socket.write('x'), 200);
    socket.once('close', () => clearInterval(timer));
  });
  (await connectThrough('SOCKS5', port, target)).resume();
}

interface Through {
  readonly port: string;
  /** When it was ready. */
  readonly at: number;
  readonly within: readonly string[];
}

async function expectPage({ port, within }: Through, { web }: ObstacleNetwork): Promise<void> {
  const proxy = ['-x', `socks5h://127.0.0.1:${port}`];
  const page = await runWell('curl', ['-qsS', ...proxy, `http://127.0.0.1:${web.port}/`], { within });
  expect(page).toBe(PAGE);
}

/** @returns bytes a second */
async function expectFile({ port, within }: Through, { web }: ObstacleNetwork, bytes = FILE_BYTES): Promise<number> {
  const from = `-x socks5h://127.0.0.1:${port} http://127.0.0.1:${web.port}/file`;
  const { hash, seconds } = await fetched(from, bytes, within);
  expect(hash).toBe(hashOfFile(bytes));
  return bytes / seconds;
}

async function plainSpeed({ url, within }: NonNullable<Course['plain']>, bytes = FILE_BYTES): Promise<number> {
  return bytes / (await fetched(url, bytes, within)).seconds;
}

async function fetched(from: string, bytes: number, within: readonly string[]) {
  const curl = `curl -qsS --fail -w '%{stderr}%{time_total}' -r 0-${bytes - 1} ${from} | sha256sum`;
  const { code, stdout, stderr } = await run('bash', ['-o', 'pipefail', '-c', curl], {
    within,
    limitMs: LOADS_WITHIN_MS,
  });
  if (code !== 0) throw new Error(`${from}: ${code} ${stderr}`);
  return { hash: stdout.slice(0, 64), seconds: Number(stderr) };
}

/** In any form: as it is, as hex or as base64. */
function expectNoSecret({ secrets, beyond }: Course, processes: readonly WstunProcess[]): void {
  if (secrets === undefined) return;
  const texts = processes.flatMap(({ stdout, stderr }) => [Buffer.from(stdout), Buffer.from(stderr)]);
  const all = secrets().map((text) => Buffer.from(text));
  expect(all.length).toBeGreaterThan(0);
  for (const secret of all) {
    expect(secret.length).toBeGreaterThanOrEqual(MIN_SECRET_BYTES);
    expect(occurrences(secret, [...texts, ...(beyond?.() ?? [])]), `a secret of ${secret.length} bytes`).toBe(0);
  }
}
