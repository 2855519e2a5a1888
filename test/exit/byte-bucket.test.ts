import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteBucket } from '../../src/exit/byte-bucket.ts';

const SEED = 20_260_101;
const rates = fc.integer({ min: 1_000, max: 1_000_000_000 });
const asks = fc.array(
  fc.record({ want: fc.integer({ min: 1, max: 262_144 }), afterMs: fc.integer({ min: 0, max: 400 }) }),
  {
    maxLength: 200,
  },
);

it('ByteBucket never lets more bytes pass than the rate and one burst', () => {
  fc.assert(
    fc.property(rates, asks, (rate, list) => {
      const bucket = new ByteBucket(0);
      let now = 0;
      let passed = 0;
      for (const { want, afterMs } of list) {
        now += afterMs;
        const taken = bucket.take(want, rate, now);
        expect(taken).toBeGreaterThanOrEqual(0);
        expect(taken).toBeLessThanOrEqual(Math.min(want, 16_384));
        passed += taken;
        expect(passed).toBeLessThanOrEqual(Math.max(4_096, rate * 0.05) + (rate * now) / 1000 + 1);
      }
    }),
    { seed: SEED },
  );
});

it('ByteBucket gives bytes after the wait that it returns, and none before', () => {
  fc.assert(
    fc.property(rates, asks, (rate, list) => {
      const bucket = new ByteBucket(0);
      let now = 0;
      for (const { want } of list) {
        const waitMs = bucket.waitMs(want, rate, now);
        if (waitMs > 0) expect(bucket.take(want, rate, now + waitMs / 2)).toBe(0);
        now += waitMs + 1e-3;
        expect(bucket.take(want, rate, now)).toBeGreaterThan(0);
      }
    }),
    { seed: SEED },
  );
});

it('ByteBucket reaches the rate under constant demand, and follows a new rate at once', () => {
  const bucket = new ByteBucket(0);
  const passedIn = (from: number, rate: number): number => {
    let passed = 0;
    for (let now = from; now < from + 10_000; now += 2) {
      for (let more = true; more; ) {
        const taken = bucket.take(262_144, rate, now);
        passed += taken;
        more = taken > 0;
      }
    }
    return passed;
  };
  const slow = passedIn(0, 1_000_000);
  expect(slow / 10_000_000).toBeCloseTo(1, 1);
  const quick = passedIn(10_000, 8_000_000);
  expect(quick / 80_000_000).toBeCloseTo(1, 1);
});

it('ByteBucket does not refill when the clock is set back', () => {
  const bucket = new ByteBucket(1_000);
  while (bucket.take(16_384, 1_000_000, 1_000) > 0);
  expect(bucket.take(16_384, 1_000_000, 0)).toBe(0);
  expect(bucket.take(16_384, 1_000_000, 1_001)).toBe(0);
});
