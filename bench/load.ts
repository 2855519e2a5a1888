/**
 * The load generator, a process of its own: as cheap as Node allows, since on a small machine its time is taken from
 * what it measures. All sockets read into one large buffer, every byte is checked in place, and nothing is copied.
 *
 *     node load.js                                      one job a line of stdin as JSON, one result a line of stdout
 *     node load.js MODE VIA TARGET AMOUNT STREAMS       one job: prints its result, and exits 1 if it failed
 *
 * VIA: the port of a SOCKS5 proxy on 127.0.0.1, or 0 for straight to the target. MODE and AMOUNT:
 *
 *     down, up   throughput, AMOUNT bytes a stream, every one checked; ends with half-closes
 *     echo       AMOUNT round trips of 64 bytes on each open stream, one at a time
 *     open       AMOUNT times on each of STREAMS: connect, one byte there and back, close
 *     mixed      STREAMS downloads for AMOUNT seconds, and echoes beside them on one more stream
 *     idle       opens the streams, one byte there and back on each, and holds them until `release`
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeHeader, pour, type StreamKind } from './bulk.ts';
import { matchesPattern, patternAt } from './pattern.ts';
import { quantile } from './statistics.ts';

export interface LoadJob {
  readonly mode: 'down' | 'up' | 'echo' | 'open' | 'mixed' | 'idle' | 'release';
  readonly via: number;
  readonly target: number;
  readonly amount: number;
  readonly streams: number;
  /** No stream is without a byte for longer, ms; default STALL_LIMIT_MS. */
  readonly stallMs?: number;
}

export interface LoadResult {
  readonly seconds: number;
  readonly megabytesPerSecond?: number;
  readonly perSecond?: number;
  /** Of the round trips, or of the opens. */
  readonly milliseconds?: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number };
}

/**
 * All sockets share it: libuv asks for memory, reads and delivers without anything in between.
 * A larger one gains nothing on loopback.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(512 * 1024);
const ECHO_BYTES = 64;
/** Echoes before the first that counts. */
const WARM_UP = 50;
/** Between echoes beside downloads, ms: a person's keys, not a load of its own. */
const KEY_INTERVAL_MS = 5;
/** Where a job says nothing else. */
const STALL_LIMIT_MS = 20_000;

type Receive = (chunk: Buffer) => void;

interface Connection {
  readonly socket: Socket;
  /** What is read from now on goes there. */
  receive(take: Receive): void;
  /** The peer's clean end. */
  readonly ended: Promise<void>;
}

/** Through the proxy to the target; the stream's header is sent. */
async function dial(job: LoadJob, kind: StreamKind, tag: number, length: number): Promise<Connection> {
  let take: Receive = () => {};
  const socket = connect({
    host: '127.0.0.1',
    port: job.via === 0 ? job.target : job.via,
    allowHalfOpen: true,
    noDelay: true,
    onread: {
      buffer: READ_BUFFER,
      callback: (bytes, buffer) => {
        take(buffer instanceof Buffer ? buffer.subarray(0, bytes) : Buffer.from(buffer).subarray(0, bytes));
        return true;
      },
    },
  });
  socket.setTimeout(job.mode === 'idle' ? 0 : (job.stallMs ?? STALL_LIMIT_MS), () =>
    socket.destroy(new Error('stalled')),
  );
  const ended = new Promise<void>((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without a clean end')));
  });
  // Whoever waits for the end sees the failure; nobody else must.
  ended.catch(() => {});
  const receive = (next: Receive): void => {
    take = next;
  };
  const connection = { socket, receive, ended };
  if (job.via !== 0) await greet(connection, job.target);
  socket.write(encodeHeader(kind, tag, length));
  return connection;
}

/** SOCKS5 without authentication, CONNECT to 127.0.0.1 (RFC 1928 §3, §4, §6). */
async function greet(connection: Connection, target: number): Promise<void> {
  const { socket } = connection;
  const choice = exactly(connection, 2);
  socket.write(Buffer.of(5, 1, 0));
  if ((await choice)[1] !== 0) throw new Error('SOCKS greeting refused');
  const reply = exactly(connection, 10);
  socket.write(Buffer.of(5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 0xff));
  const code = (await reply)[1];
  if (code !== 0) throw new Error(`SOCKS reply ${code}`);
}

/** The next bytes, copied; more than that is a fault, because all that is asked for here is answered one at a time. */
function exactly({ receive, ended }: Connection, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  return new Promise((resolve, reject) => {
    receive((chunk) => {
      if (filled + chunk.length > length) return reject(new Error('more bytes than were asked for'));
      filled += chunk.copy(bytes, filled);
      if (filled === length) resolve(bytes);
    });
    ended.then(() => reject(new Error('ended early')), reject);
  });
}

async function download(job: LoadJob, tag: number): Promise<void> {
  const connection = await dial(job, 'D', tag, job.amount);
  const { socket, ended } = connection;
  let received = 0;
  connection.receive((chunk) => {
    if (!matchesPattern(chunk, received, tag)) socket.destroy(new Error('bytes differ'));
    received += chunk.length;
  });
  await ended;
  if (received !== job.amount) throw new Error(`${received} of ${job.amount} bytes came`);
  socket.end();
}

async function upload(job: LoadJob, tag: number): Promise<void> {
  const connection = await dial(job, 'U', tag, job.amount);
  const count = exactly(connection, 8);
  pour(connection.socket, tag, job.amount);
  const received = (await count).readBigUInt64LE();
  if (received !== BigInt(job.amount))
    throw new Error(`the target got ${received} of ${job.amount} bytes, or wrong ones`);
  await connection.ended;
}

const keystroke = patternAt(0, 0, ECHO_BYTES);

/** One round trip, ms. */
async function echoOnce(connection: Connection): Promise<number> {
  const began = performance.now();
  const back = exactly(connection, ECHO_BYTES);
  connection.socket.write(keystroke);
  if (!keystroke.equals(await back)) throw new Error('echo differs');
  return performance.now() - began;
}

/** Driven by the reads themselves: a promise for each round trip would cost more than the round trip. */
async function echoes(job: LoadJob, times: number[]): Promise<void> {
  const connection = await dial(job, 'E', 0, 0);
  const { socket, ended } = connection;
  let rounds = -WARM_UP;
  let filled = 0;
  let began = performance.now();
  connection.receive((chunk) => {
    if (!keystroke.subarray(filled, filled + chunk.length).equals(chunk)) socket.destroy(new Error('echo differs'));
    filled += chunk.length;
    if (filled < ECHO_BYTES) return;
    const now = performance.now();
    if (rounds >= 0) times.push(now - began);
    rounds += 1;
    filled = 0;
    began = now;
    if (rounds < job.amount) socket.write(keystroke);
    else socket.end();
  });
  socket.write(keystroke);
  await ended;
  if (rounds < job.amount) throw new Error('echo ended early');
}

async function opens(job: LoadJob, times: number[]): Promise<void> {
  for (let i = 0; i < job.amount; i++) {
    const began = performance.now();
    const connection = await dial(job, 'E', 0, 0);
    const back = exactly(connection, 1);
    connection.socket.write('x');
    await back;
    connection.socket.end();
    await connection.ended;
    times.push(performance.now() - began);
  }
}

const ENDLESS = 2 ** 50;

async function mixed(job: LoadJob): Promise<LoadResult> {
  let moved = 0;
  const downloads = await Promise.all(Array.from({ length: job.streams }, (_, i) => dial(job, 'D', i, ENDLESS)));
  for (const connection of downloads) {
    connection.receive((chunk) => {
      moved += chunk.length;
    });
  }
  const keys = await dial(job, 'E', 0, 0);
  // The bulk is to reach its speed first.
  await delay(250 * job.amount);
  const times: number[] = [];
  const before = moved;
  const began = performance.now();
  while (performance.now() - began < 750 * job.amount) {
    times.push(await echoOnce(keys));
    await delay(KEY_INTERVAL_MS);
  }
  const seconds = (performance.now() - began) / 1000;
  const bytes = moved - before;
  for (const { socket } of [...downloads, keys]) socket.resetAndDestroy();
  return { seconds, megabytesPerSecond: bytes / seconds / 1e6, ...summary(times, seconds) };
}

const held: Connection[] = [];

async function hold(job: LoadJob): Promise<void> {
  const connection = await dial(job, 'E', 0, 0);
  const back = exactly(connection, 1);
  connection.socket.write('x');
  await back;
  held.push(connection);
}

function summary(times: number[], seconds: number): Pick<LoadResult, 'perSecond' | 'milliseconds'> {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => quantile(sorted, share);
  return {
    perSecond: times.length / seconds,
    milliseconds: { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) },
  };
}

async function run(job: LoadJob): Promise<LoadResult> {
  if (job.mode === 'mixed') return mixed(job);
  const times: number[] = [];
  const began = performance.now();
  if (job.mode === 'release') for (const { socket } of held.splice(0)) socket.destroy();
  else await Promise.all(Array.from({ length: job.streams }, (_, i) => runOne(job, (i * 37 + 1) & 0xff, times)));
  const seconds = (performance.now() - began) / 1000;
  const isBulk = job.mode === 'down' || job.mode === 'up';
  if (isBulk) return { seconds, megabytesPerSecond: (job.amount * job.streams) / seconds / 1e6 };
  return times.length > 0 ? { seconds, ...summary(times, seconds) } : { seconds };
}

function runOne(job: LoadJob, tag: number, times: number[]): Promise<void> {
  switch (job.mode) {
    case 'down':
      return download(job, tag);
    case 'up':
      return upload(job, tag);
    case 'echo':
      return echoes(job, times);
    case 'open':
      return opens(job, times);
    case 'idle':
      return hold(job);
    default:
      throw new Error(`no such mode: ${job.mode}`);
  }
}

async function answer(job: LoadJob): Promise<boolean> {
  try {
    process.stdout.write(`${JSON.stringify(await run(job))}\n`);
    return true;
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ failed: String(error) })}\n`);
    return false;
  }
}

const [mode, via, target, amount, streams] = process.argv.slice(2);
if (mode === undefined) {
  for await (const line of createInterface({ input: process.stdin })) await answer(JSON.parse(line) as LoadJob);
} else {
  const job = { mode, via: Number(via), target: Number(target), amount: Number(amount), streams: Number(streams) };
  process.exitCode = (await answer(job as LoadJob)) ? 0 : 1;
}
