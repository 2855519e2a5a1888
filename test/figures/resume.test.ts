/** What it costs that connections survive aborted links: how long each resume takes, and how much memory. */
import { describe, expect, it } from 'vitest';
import {
  BYTES_PER_SECOND,
  CHAOS_MS,
  disturbEvery,
  exchangeThroughout,
  expectNothingLost,
  SEED,
  startBlindChaos,
  startChaos,
} from '../support/net/chaos-stack.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';

/** Of client and relay each, throughout: with several links that come and go, too. */
const MEMORY_LIMIT_MIB = 180;

function awayTimes({ events }: WstunProcess): number[] {
  return events.filter(({ event }) => event === 'resumed').map(({ awayMs }) => Number(awayMs));
}

describe(`32 connections that exchange 2 MB each way (seed ${SEED})`, () => {
  it('32 connections live on while their WebSocket is reset every 2 s: each resume within a second, in little memory', {
    timeout: CHAOS_MS + 240_000,
  }, async () => {
    const chaos = await startChaos({ bytesPerSecond: BYTES_PER_SECOND });
    const { client, relay, proxy } = chaos;
    const stop = disturbEvery(2_000, chaos, () => proxy.resetAll());
    await exchangeThroughout(client);
    await stop();
    expectNothingLost(client);
    const away = awayTimes(client.process);
    expect(away.length).toBeGreaterThan(CHAOS_MS / 4_000);
    expect(Math.max(...away)).toBeLessThan(1_000);
    for (const { process } of [client, relay]) expect(process.memory().peak).toBeLessThan(MEMORY_LIMIT_MIB);
  });

  it.each(['client', 'exit'] as const)(
    '32 connections of a named exit live on while the leg of the %s is reset every 2 s, in little memory',
    { timeout: CHAOS_MS + 240_000 },
    async (leg) => {
      const chaos = await startBlindChaos();
      const { client, exit, relay, proxy, exitProxy } = chaos;
      const stop = disturbEvery(2_000, chaos, () => (leg === 'client' ? proxy : exitProxy).resetAll());
      await exchangeThroughout(client);
      await stop();
      expectNothingLost(client);
      expect(awayTimes(client.process).length).toBeGreaterThan(1);
      for (const { process } of [client, relay, exit]) expect(process.memory().peak).toBeLessThan(MEMORY_LIMIT_MIB);
    },
  );
});
