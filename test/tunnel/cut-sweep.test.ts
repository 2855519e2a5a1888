/**
 * The link cut after exactly N bytes, for every N, in either direction: whatever was half sent, nothing is lost or
 * repeated. A longer sweep, to 256 KiB: WSTUN_SWEEP=long npx vitest run test/tunnel/cut-sweep.test.ts
 *
 * @module-tag waits
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Target } from '../../src/tunnel/stream/stream.ts';
import type { Direction } from '../support/net/chaos-proxy.ts';
import { exchange } from '../support/payload.ts';
import { startEchoTunnel } from '../support/proxy/echo-tunnel.ts';
import { hurryAttempts } from '../support/proxy/hurried-attempts.ts';
import { until } from '../support/until.ts';

const STREAMS = 3;
const STREAM_BYTES = 64 * 1024;
const SEED = 4;
/**
 * Of one test, with one session. The limit of a test is there to find what hangs, so a busy machine must stay far below
 * it: a cut takes 12 ms on an idle one, 500 ms on one with eight others at work.
 */
const CUTS_OF_A_TEST = 32;
const LIMIT_MS = 180_000;

const TARGET: Target = { kind: 'name', name: 'example.org', port: 7 };

function cuts(): number[] {
  const every = (from: number, to: number, step: number): number[] =>
    Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
  if (process.env.WSTUN_SWEEP !== 'long') return [...every(1, 512, 1), ...every(997, 64 * 1024, 4_985)];
  return [...every(1, 4096, 1), ...every(4096 + 997, 256 * 1024, 997)];
}

// No waits between attempts.
beforeEach(() => {
  hurryAttempts(0);
});
afterEach(() => {
  vi.restoreAllMocks();
});

interface Sweep {
  readonly direction: Direction;
  readonly from: number;
  readonly to: number;
  readonly counts: readonly number[];
}

function sweeps(direction: Direction): Sweep[] {
  const all = cuts();
  return Array.from({ length: Math.ceil(all.length / CUTS_OF_A_TEST) }, (_, i) => {
    const counts = all.slice(i * CUTS_OF_A_TEST, (i + 1) * CUTS_OF_A_TEST);
    return { direction, counts, from: counts[0] ?? 0, to: counts.at(-1) ?? 0 };
  });
}

describe(`three streams of 64 KiB each way (seed ${SEED})`, () => {
  it.each([...sweeps('up'), ...sweeps('down')])(
    'three streams arrive whole when the link is aborted after $from to $to bytes $direction',
    { timeout: LIMIT_MS },
    async ({ direction, counts }) => {
      const { proxy, client, exit, log } = await startEchoTunnel(SEED);
      const never = new AbortController().signal;
      for (const bytes of counts) {
        // The present link goes, and the next, which resumes, is cut after so many bytes: in its upgrade, handshake or
        // records.
        await until(() => log.at(-1) === 'connected' || log.at(-1) === 'resumed', 10_000);
        const streams = await Promise.all(Array.from({ length: STREAMS }, () => client.open(TARGET, never)));
        proxy.cutAfter(bytes, direction);
        const exchanges = streams.map((stream, i) => exchange(stream, STREAM_BYTES, bytes + i));
        proxy.resetAll();
        for (const { sent, received } of await Promise.all(exchanges))
          expect([bytes, received]).toEqual([bytes, { bytes: STREAM_BYTES, hash: sent }]);
        for (const stream of streams) stream.destroy();
      }
      expect(log.filter((entry) => /session|ended/.test(entry))).toEqual([]);
      // The longest counts of a long sweep are more than all that goes over a link.
      const reached = counts.filter((count) => count < STREAMS * STREAM_BYTES).length;
      expect(proxy.cuts).toBeGreaterThanOrEqual(reached / 2);
      expect(exit.count).toBe(1);
    },
  );
});
