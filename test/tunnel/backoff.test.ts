import { describe, expect, it } from 'vitest';
import { Backoff } from '../../src/tunnel/backoff.ts';

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
