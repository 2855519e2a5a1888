/**
 * Sessions of many clients, a process of its own: one request a line of stdin as JSON, one answer a line of stdout.
 *
 *     begin      sessions of these invites, so many of each: answers when all are up
 *     echo       64 bytes there and back on a stream of each session, every INTERVAL ms for some seconds
 *     mark       counts what happens from now on
 *     cut        aborts all links, as a network that fails
 *     returned   answers when all sessions are up, or when the limit has passed
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { settledWithin } from '../src/async/abortable.ts';
import { systemClock } from '../src/clock.ts';
import { encodeHeader } from './bulk.ts';
import { LeanCrowd } from './lean-crowd.ts';
import type { LeanSession } from './lean-session.ts';
import type { Quantiles } from './statistics.ts';

export type ClientsRequest =
  | {
      readonly do: 'begin';
      readonly invites: readonly string[];
      readonly perInvite: number;
      readonly source: string;
      readonly atOnce: number;
    }
  | { readonly do: 'echo'; readonly target: number; readonly seconds: number; readonly intervalMs: number }
  | { readonly do: 'mark' }
  | { readonly do: 'cut' }
  | { readonly do: 'returned'; readonly limitMs: number };

export interface EchoAnswer {
  readonly milliseconds: readonly number[];
  /** Sent and not answered within a second after the end. */
  readonly missing: number;
  /** How late this process itself was, ms. */
  readonly ownDelay: Quantiles;
}

export interface ReturnedAnswer {
  readonly up: number;
  readonly of: number;
  readonly milliseconds: readonly number[];
  /** ms since 1970 */
  readonly lastAt: number;
  readonly attempts: Readonly<Record<string, number>>;
  readonly losses: Readonly<Record<string, number>>;
}

const ECHO = Buffer.alloc(64, 'e');
/** For the last answers, ms. */
const LAST_ANSWERS_MS = 1_000;

/** Of an active session. */
interface Echo {
  sentAt: number;
  /** Of the answer. */
  left: number;
}

const echoes = new Map<LeanSession, Echo>();
let times: number[] = [];

function handleData(session: LeanSession, bytes: number): void {
  const echo = echoes.get(session);
  if (echo === undefined) return;
  echo.left -= bytes;
  if (echo.left === 0) times.push(performance.now() - echo.sentAt);
}

const crowd = new LeanCrowd(handleData);

function sendEcho(session: LeanSession, target: number): void {
  if (!session.isUp) return;
  const echo = echoes.get(session);
  // The one before is still under way: it counts as long as it takes.
  if (echo !== undefined && echo.left > 0 && session.isStreaming) return;
  echoes.set(session, { sentAt: performance.now(), left: ECHO.length });
  if (session.isStreaming) session.write(ECHO);
  else session.open(target, Buffer.concat([encodeHeader('E', 0, 0), ECHO]));
}

async function echo(target: number, seconds: number, intervalMs: number): Promise<EchoAnswer> {
  const { sessions } = crowd;
  const until = async (end: number): Promise<void> => {
    const began = performance.now();
    for (let next = 0; performance.now() < end; await delay(1)) {
      const due = Math.floor(((performance.now() - began) / intervalMs) * sessions.length);
      for (; next < due; next++) {
        const session = sessions[next % sessions.length];
        if (session !== undefined) sendEcho(session, target);
      }
    }
  };
  // The first ones open the streams.
  await until(performance.now() + 2 * intervalMs);
  times = [];
  const loop = monitorEventLoopDelay({ resolution: 2 });
  loop.enable();
  await until(performance.now() + seconds * 1000);
  loop.disable();
  await delay(LAST_ANSWERS_MS);
  const missing = [...echoes.values()].filter(({ left }) => left > 0).length;
  const at = (percent: number): number => loop.percentile(percent) / 1e6;
  const ownDelay = { count: loop.count, p50: at(50), p95: at(95), p99: at(99), max: loop.max / 1e6 };
  return { milliseconds: times, missing, ownDelay };
}

async function returned(limitMs: number): Promise<ReturnedAnswer> {
  const all = crowd.sessions.length;
  await settledWithin(systemClock, limitMs, crowd.untilUp(all));
  const { milliseconds, lastAt, attempts, losses } = crowd.returns;
  const counts = { attempts: Object.fromEntries(attempts), losses: Object.fromEntries(losses) };
  return { up: crowd.up, of: all, milliseconds, lastAt, ...counts };
}

async function answer(request: ClientsRequest): Promise<unknown> {
  switch (request.do) {
    case 'begin':
      await crowd.begin(request.invites, request.perInvite, request.source, request.atOnce);
      return { up: crowd.up, attempts: Object.fromEntries(crowd.returns.attempts) };
    case 'echo':
      return await echo(request.target, request.seconds, request.intervalMs);
    case 'mark':
      crowd.mark();
      return {};
    case 'cut':
      crowd.cutAll();
      return {};
    case 'returned':
      return await returned(request.limitMs);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as ClientsRequest))}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ failed: String(error) })}\n`);
  }
}
