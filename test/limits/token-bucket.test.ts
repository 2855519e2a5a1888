import { expect, it } from 'vitest';
import { TokenBucket } from '../../src/limits/token-bucket.ts';

it('TokenBucket gives a burst at once, then tokens at its rate, and says how long the next one takes', () => {
  const bucket = new TokenBucket({ perSecond: 4, burst: 3 }, 1_000);
  expect([1, 2, 3, 4].map(() => bucket.acquire(1_000))).toEqual([true, true, true, false]);
  expect(bucket.waitMs(1_000)).toBe(250);
  expect([bucket.acquire(1_249), bucket.acquire(1_250), bucket.acquire(1_251)]).toEqual([false, true, false]);
  expect([bucket.isFull(1_999), bucket.isFull(2_001)]).toEqual([false, true]);
});

it('TokenBucket owes tokens that were spent without being there, and waits for all of them', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 2 }, 0);
  expect([1, 2, 3, 4].map(() => bucket.spend(0))).toEqual([0, 0, 1, 2]);
  expect(bucket.waitMs(0)).toBe(300);
  expect(bucket.acquire(299)).toBe(false);
  expect(bucket.acquire(300)).toBe(true);
});

it('TokenBucket keeps tokens that were added beyond the burst, and a released token counts only up to the burst', () => {
  const bucket = new TokenBucket({ perSecond: 1, burst: 2 }, 0);
  bucket.release();
  expect([1, 2, 3].map(() => bucket.acquire(0))).toEqual([true, true, false]);
  bucket.add(5);
  expect([1, 2, 3, 4, 5, 6].map(() => bucket.acquire(10))).toEqual([true, true, true, true, true, false]);
});
