import { expect, it } from 'vitest';
import { Pace } from '../../src/relay/notice-rate.ts';

it('gives a burst at once, then turns at its rate, and says how long the next takes', () => {
  const pace = new Pace({ perSecond: 4, burst: 3 }, 1_000);
  expect([1, 2, 3, 4].map(() => pace.take(1_000))).toEqual([true, true, true, false]);
  expect(pace.waitMs(1_000)).toBe(250);
  expect([pace.take(1_249), pace.take(1_250), pace.take(1_251)]).toEqual([false, true, false]);
  expect([pace.isFull(1_999), pace.isFull(2_001)]).toEqual([false, true]);
});

it('owes what was spent without a turn, and waits for all of it', () => {
  const pace = new Pace({ perSecond: 10, burst: 2 }, 0);
  expect([1, 2, 3, 4].map(() => pace.spend(0))).toEqual([0, 0, 1, 2]);
  expect(pace.waitMs(0)).toBe(300);
  expect(pace.take(299)).toBe(false);
  expect(pace.take(300)).toBe(true);
});
