import { describe, expect, it } from 'vitest';
import { Backoff, RefusalPatience } from '../../src/tunnel/backoff.ts';

describe('backoff', () => {
  it('spreads attempt k over min(2^k − 1, 30) seconds', () => {
    const backoff = new Backoff();
    const longest = Array.from({ length: 7 }, () => backoff.next(1));
    expect(longest).toEqual([1000, 3000, 7000, 15_000, 30_000, 30_000, 30_000]);
  });

  it('jitters over the whole span', () => {
    const backoff = new Backoff();
    expect(backoff.next(0)).toBe(0);
    expect(backoff.next(0.5)).toBe(1500);
  });

  it('begins anew after a reset, and never overflows', () => {
    const backoff = new Backoff();
    for (let i = 0; i < 5000; i++) backoff.next(1);
    expect(backoff.next(1)).toBe(30_000);
    backoff.reset();
    expect(backoff.next(1)).toBe(1000);
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
