/** What it costs that connections survive aborted links: how long each resume takes, and how much memory. */
import { describe, expect, it } from 'vitest';
import {
  BYTES_PER_SECOND,
  CHAOS_MS,
  exchangeThroughout,
  expectNothingLost,
  SEED,
  startBlindChaos,
  startChaos,
} from '../support/net/chaos-stack.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { atEnd } from '../support/scope.ts';

/** Of client and relay each, throughout: with several links that come and go, too. */
const MEMORY_LIMIT_MIB = 180;

/** Repeats it until the returned function is called. */
function every(ms: number, act: () => unknown): () => void {
  const timer = setInterval(act, ms);
  const stop = (): void => clearInterval(timer);
  atEnd(stop);
  return stop;
}

function awayTimes({ events }: WstunProcess): number[] {
  return events.filter(({ event }) => event === 'resumed').map(({ awayMs }) => Number(awayMs));
}

describe(`32 connections that exchange 2 MB each way (seed ${SEED})`, () => {
  it('32 connections live on while their WebSocket is reset every 2 s: each resume within a second, in little memory', {
    timeout: CHAOS_MS + 60_000,
  }, async () => {
    const { client, relay, proxy } = await startChaos({ bytesPerSecond: BYTES_PER_SECOND });
    const stop = every(2_000, () => proxy.resetAll());
    await exchangeThroughout(client);
    stop();
    expectNothingLost(client);
    const away = awayTimes(client.process);
    expect(away.length).toBeGreaterThan(CHAOS_MS / 4_000);
    expect(Math.max(...away)).toBeLessThan(1_000);
    for (const { process } of [client, relay]) expect(process.memory().peak).toBeLessThan(MEMORY_LIMIT_MIB);
  });

  it.each(['client', 'exit'] as const)(
    '32 connections of a named exit live on while the leg of the %s is reset every 2 s, in little memory',
    { timeout: CHAOS_MS + 60_000 },
    async (leg) => {
      const { client, exit, relay, proxy, exitProxy } = await startBlindChaos();
      const stop = every(2_000, () => (leg === 'client' ? proxy : exitProxy).resetAll());
      await exchangeThroughout(client);
      stop();
      expectNothingLost(client);
      expect(awayTimes(client.process).length).toBeGreaterThan(1);
      for (const { process } of [client, relay, exit]) expect(process.memory().peak).toBeLessThan(MEMORY_LIMIT_MIB);
    },
  );
});
