import { describe, expect, it } from 'vitest';
import { Backoff, ExponentialDelays } from '../../../src/tunnel/reconnect/backoff.ts';
import { prng } from '../../support/prng.ts';

describe('Backoff', () => {
  it('Backoff spreads attempt k over min(2^k − 1, 30) seconds, so that the first comes at once', () => {
    const backoff = new Backoff();
    const longest = Array.from({ length: 8 }, () => backoff.next(1));
    expect(longest).toEqual([0, 1000, 3000, 7000, 15_000, 30_000, 30_000, 30_000]);
  });

  it('Backoff waits the same share of each span of an outage, between half and all of it', () => {
    const backoff = new Backoff();
    const shortest = [0, 1, 0.3, 0.7, 0.5, 0.1].map((random) => backoff.next(random));
    expect(shortest).toEqual([0, 500, 1500, 3500, 7500, 15_000]);
    backoff.reset();
    const middle = [0.5, 0, 1].map((random) => backoff.next(random));
    expect(middle[1]).toBeCloseTo(1000 * Math.SQRT1_2);
    expect(middle[2]).toBeCloseTo(3000 * Math.SQRT1_2);
  });

  it('Backoff begins anew after a reset, and never overflows', () => {
    const backoff = new Backoff();
    for (let i = 0; i < 5000; i++) backoff.next(1);
    expect(backoff.next(1)).toBe(30_000);
    backoff.reset();
    expect([backoff.next(1), backoff.next(1)]).toEqual([0, 1000]);
  });
});

/**
 * How many clients come back in each second from the relay's return on, having lost it together `outageS` seconds
 * before.
 */
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
  it.each([0, 0.25, 0.5])('clients that lose a relay for %d s are all back within the first second', (outage) => {
    expect(reconnects(1000, outage, SEED)).toEqual([1000]);
  });

  it.each(OUTAGES)(
    'clients that lose a relay for %d s come back so that no later second sees over 1.85 × the mean',
    (outage) => {
      expect(fullest(reconnects(MANY, outage, SEED))).toBeLessThan(1.85);
    },
  );

  it('1,000 clients that lose a relay for any time come back so that no later second sees over 2 × the mean, in 19 of 20 runs', () => {
    const all = OUTAGES.flatMap((outage) =>
      Array.from({ length: 50 }, (_, seed) => fullest(reconnects(1000, outage, seed))),
    );
    expect(all.filter((multiple) => multiple <= 2).length / all.length).toBeGreaterThan(0.95);
    expect(Math.max(...all)).toBeLessThan(2.5);
  });

  it('1,000 clients that lose a relay for any time come back so that no later second sees more than 650', () => {
    for (const outage of OUTAGES)
      for (let seed = 0; seed < 10; seed++)
        expect(Math.max(0, ...reconnects(1000, outage, seed).slice(1))).toBeLessThanOrEqual(650);
  });

  it('1,000 clients that lose a relay for 20 s or longer come back so that no later second sees more than 100', () => {
    for (const outage of OUTAGES.filter((seconds) => seconds >= 20))
      for (let seed = 0; seed < 10; seed++)
        expect(Math.max(0, ...reconnects(1000, outage, seed).slice(1))).toBeLessThanOrEqual(100);
  });
});

describe('Backoff in special cases', () => {
  it('Backoff has longer spans where the caller passes them', () => {
    const backoff = new Backoff();
    expect(Array.from({ length: 8 }, () => backoff.next(1, 60))).toEqual([
      0, 1000, 3000, 7000, 15_000, 31_000, 60_000, 60_000,
    ]);
  });

  it('Backoff forgives three lost sessions in a row, so that an exit that always ends them is not asked without a pause', () => {
    const backoff = new Backoff();
    const waits = Array.from({ length: 8 }, () => {
      backoff.handleLost(0);
      return backoff.next(1);
    });
    expect(waits).toEqual([0, 0, 0, 1000, 3000, 7000, 15_000, 30_000]);
  });
});

const ABSENT = { firstS: 0.5, longestS: 15 };

/** When a client of an absent exit asks, seconds, from the exit's loss on. */
function asks(untilS: number, random: () => number): number[] {
  const pauses = new ExponentialDelays();
  const times: number[] = [];
  for (let at = 0; at < untilS; at += pauses.next(ABSENT, random()) / 1000) times.push(at);
  return times;
}

describe('clients of an absent exit', () => {
  const random = prng(SEED);
  const chance = () => random.below(1_000_000) / 1_000_000;

  it('clients of an absent exit ask after 0.5, 1, 2, 4, 8 and then every 15 s, each between half and one and a half of it', () => {
    for (const share of [0, 0.5, 1]) {
      const pauses = new ExponentialDelays();
      const waits = Array.from({ length: 6 }, () => pauses.next(ABSENT, share));
      expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 15_000].map((wait) => wait * (0.5 + share)));
    }
  });

  it('a thousand clients of an absent exit ask a relay less than 100 times a second after half a minute', () => {
    const counts = new Array<number>(600).fill(0);
    for (let i = 0; i < 1000; i++)
      for (const at of asks(600, chance)) counts[Math.floor(at)] = (counts[Math.floor(at)] ?? 0) + 1;
    expect(Math.max(...counts.slice(30))).toBeLessThan(100);
  });

  it('clients of an absent exit are back within 23 s of its return, most of them within 15 s', () => {
    const waits = Array.from({ length: 1000 }, () => (asks(400, chance).find((at) => at >= 300) ?? 400) - 300);
    expect(Math.max(...waits)).toBeLessThan(23);
    expect(waits.filter((wait) => wait < 15).length).toBeGreaterThan(850);
  });
});
