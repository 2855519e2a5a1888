/** A stack whose links are in trouble for as long as 32 connections exchange what they have: real processes, seeded. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { exchange } from '../payload.ts';
import {
  invite,
  type RunningClient,
  type RunningExit,
  type RunningRelay,
  startClient,
  startExit,
  startRelay,
} from '../programs/wstun-stack.ts';
import { connectThrough } from '../proxy/through-proxy.ts';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';
import { type ChaosProxy, type ChaosShape, startChaosProxy } from './chaos-proxy.ts';
import { echo, tcpServer } from './tcp.ts';

export const SEED = 11;
/** A minute on a long run: WSTUN_LONG=1 npx vitest run resume.test.ts */
export const CHAOS_MS = process.env.WSTUN_LONG === undefined ? 12_000 : 60_000;
const STREAMS = 32;
const STREAM_BYTES = 2_000_000;
/** Of the one link, each way: the transfers are to last as long as the chaos. */
export const BYTES_PER_SECOND = (STREAMS * STREAM_BYTES) / (CHAOS_MS / 1_000);

interface Chaos {
  readonly relay: RunningRelay;
  readonly client: RunningClient;
  /** Between client and relay. */
  readonly proxy: ChaosProxy;
}

export async function startChaos(shape: Partial<ChaosShape> = {}): Promise<Chaos> {
  const relay = await startRelay();
  const proxy = await startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: SEED, ...shape });
  const url = `ws://127.0.0.1:${proxy.port}`;
  const client = await startClient(await invite(relay, 'tester', { allow: ['*'], url }));
  return { relay, client, proxy };
}

interface BlindChaos extends Chaos {
  readonly exit: RunningExit;
  /** Between exit and relay. */
  readonly exitProxy: ChaosProxy;
}

export async function startBlindChaos(): Promise<BlindChaos> {
  const relay = await startRelay({ args: ['--no-exit'] });
  const target = { host: '127.0.0.1', port: relay.port };
  const limit = { bytesPerSecond: BYTES_PER_SECOND };
  const [proxy, exitProxy] = [
    await startChaosProxy({ target, seed: SEED, ...limit }),
    await startChaosProxy({ target, seed: SEED + 1, ...limit }),
  ];
  const registration = await invite(relay, 'home', {
    role: 'exit',
    url: `ws://127.0.0.1:${exitProxy.port}`,
  });
  const exit = await startExit({ invite: registration });
  const url = `ws://127.0.0.1:${proxy.port}`;
  const client = await startClient(await invite(exit, 'tester', { allow: ['*'], url }));
  return { relay, exit, client, proxy, exitProxy };
}

/** 32 connections exchange 2 MB each way, all at once; the proxies let it last for about CHAOS_MS. */
export async function exchangeThroughout(client: RunningClient): Promise<void> {
  const target = await tcpServer(echo);
  const since = performance.now();
  const exchangeOne = async (_: unknown, lane: number): Promise<void> => {
    const socket = await connectThrough('SOCKS5', client.port, target);
    const { sent, received } = await exchange(socket, STREAM_BYTES, lane);
    expect(received).toEqual({ bytes: STREAM_BYTES, hash: sent });
  };
  await Promise.all(Array.from({ length: STREAMS }, exchangeOne));
  expect(performance.now() - since).toBeGreaterThan(CHAOS_MS / 2);
}

/** So much must have come before links are disturbed again: a slow machine takes longer than the chaos for it. */
const BETWEEN_BYTES = 1024 * 1024;

/** Disturbs again and again, at least `ms` apart and only while links carry, until the returned function is called. */
export function disturbEvery(ms: number, { proxy }: Chaos, disturb: () => unknown): () => Promise<void> {
  let ended = false;
  const loop = async (): Promise<void> => {
    while (!ended) {
      const before = proxy.bytes.down;
      await delay(ms);
      await until(() => ended || proxy.bytes.down - before > BETWEEN_BYTES, 60_000);
      if (!ended) await disturb();
    }
  };
  const running = loop();
  const stop = async (): Promise<void> => {
    ended = true;
    await running;
  };
  atEnd(stop);
  return stop;
}

export function expectNothingLost(client: RunningClient): void {
  expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
}
