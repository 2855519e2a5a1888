import { describe, expect, it } from 'vitest';
import { Backoff, RefusalPatience } from '../../src/tunnel/backoff.ts';
import { prng } from '../support/prng.ts';

describe('backoff', () => {
  it('spreads attempt k over min(2^k − 1, 30) seconds: the first comes at once', () => {
    const backoff = new Backoff();
    const longest = Array.from({ length: 8 }, () => backoff.next(1));
    expect(longest).toEqual([0, 1000, 3000, 7000, 15_000, 30_000, 30_000, 30_000]);
  });

  it('waits between half of the span and all of it, the same share from the first attempt of an outage to the last', () => {
    const backoff = new Backoff();
    const shortest = [0, 1, 0.3, 0.7, 0.5, 0.1].map((random) => backoff.next(random));
    expect(shortest).toEqual([0, 500, 1500, 3500, 7500, 15_000]);
    backoff.reset();
    const middle = [0.5, 0, 1].map((random) => backoff.next(random));
    expect(middle[1]).toBeCloseTo(1000 * Math.SQRT1_2);
    expect(middle[2]).toBeCloseTo(3000 * Math.SQRT1_2);
  });

  it('begins anew after a reset, and never overflows', () => {
    const backoff = new Backoff();
    for (let i = 0; i < 5000; i++) backoff.next(1);
    expect(backoff.next(1)).toBe(30_000);
    backoff.reset();
    expect([backoff.next(1), backoff.next(1)]).toEqual([0, 1000]);
  });
});

/** How many clients come back in each second from the relay's return on, having lost it together `outageS` seconds before. */
function reconnects(clients: number, outageS: number, seed: number): number[] {
  const random = prng(seed);
  const counts: number[] = [];
  for (let i = 0; i < clients; i++) {
    const backoff = new Backoff();
    let at = 0;
    do at += backoff.next(random.below(1_000_000) / 1_000_000) / 1000;
    while (at < outageS);
    const second = Math.floor(at - outageS);
    while (counts.length <= second) counts.push(0);
    counts[second] = (counts[second] ?? 0) + 1;
  }
  return counts;
}

/** The fullest second after the first, in multiples of the mean over all seconds until the last client is back. */
function fullest(counts: readonly number[]): number {
  const clients = counts.reduce((sum, count) => sum + count, 0);
  return Math.max(0, ...counts.slice(1)) / (clients / counts.length);
}

const SEED = 1;
/** So many that chance adds little to what is to be expected of 1,000. */
const MANY = 50_000;

/** Of outages: seconds, close together where attempts are, and around the worst. */
const OUTAGES = [
  1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 20, 23, 25, 28, 29, 30, 35, 45, 53, 60, 120, 600,
];

describe('clients that lose a relay together', () => {
  it.each([0, 0.25, 0.5])('for %d s are all back within the first second', (outage) => {
    expect(reconnects(1000, outage, SEED)).toEqual([1000]);
  });

  it.each(OUTAGES)('for %d s: no later second is expected to see over 1.85 × the mean', (outage) => {
    expect(fullest(reconnects(MANY, outage, SEED))).toBeLessThan(1.85);
  });

  it('for any time, 1,000 of them: no later second sees over 2 × the mean, but for chance in one of twenty runs', () => {
    const all = OUTAGES.flatMap((outage) =>
      Array.from({ length: 50 }, (_, seed) => fullest(reconnects(1000, outage, seed))),
    );
    expect(all.filter((multiple) => multiple <= 2).length / all.length).toBeGreaterThan(0.95);
    expect(Math.max(...all)).toBeLessThan(2.5);
  });

  it('for any time: no later second sees more than 650 of 1,000', () => {
    for (const outage of OUTAGES)
      for (let seed = 0; seed < 10; seed++)
        expect(Math.max(0, ...reconnects(1000, outage, seed).slice(1))).toBeLessThanOrEqual(650);
  });

  it('for 20 s or longer: no later second sees more than 100 of 1,000', () => {
    for (const outage of OUTAGES.filter((seconds) => seconds >= 20))
      for (let seed = 0; seed < 10; seed++)
        expect(Math.max(0, ...reconnects(1000, outage, seed).slice(1))).toBeLessThanOrEqual(100);
  });
});

describe('patience with refusals', () => {
  it('makes three more attempts, which take 5.5 to 11 s', () => {
    for (const [random, waits] of [
      [0, [500, 1500, 3500]],
      [1, [1000, 3000, 7000]],
    ] as const) {
      const patience = new RefusalPatience();
      expect(waits.map(() => patience.next(random))).toEqual(waits);
      expect(patience.next(random)).toBeUndefined();
    }
  });

  it('counts only those in a row', () => {
    const patience = new RefusalPatience();
    for (let i = 0; i < 100; i++) {
      expect(patience.next(0)).toBe(500);
      patience.reset();
    }
  });
});
