import { afterEach, expect, it, vi } from 'vitest';
import { ClockWatch } from '../../src/relay/clock-watch.ts';

afterEach(() => vi.useRealTimers());

/** A search that takes so many steps, each a tenth of a millisecond of virtual time. */
function searchOf(steps: number) {
  let left = steps;
  const log: number[] = [];
  return {
    log,
    get hasClocksToFind() {
      return left > 0;
    },
    findClocks() {
      left -= 1;
      log.push(performance.now());
      busy(0.1);
      return left === 0 ? [{ peer: 'alice', offset: -600 }] : [];
    },
  };
}

/** The processor is at work. */
function busy(ms: number): void {
  clock += ms;
}

let clock = 0;

it('the search takes a tenth of the time at most, and says whom it found', () => {
  vi.useFakeTimers();
  clock = 0;
  const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
  const found: [string, number][] = [];
  const search = searchOf(100);
  const watch = new ClockWatch(search, (peer, offset) => found.push([peer, offset]));
  watch.wake();
  watch.wake();
  expect(search.log).toEqual([]);
  for (let i = 0; i < 1_000 && search.hasClocksToFind; i++) {
    clock += 1;
    vi.advanceTimersByTime(1);
  }
  expect(found).toEqual([['alice', -600]]);
  // 10 ms of work.
  expect(clock).toBeGreaterThan(90);
  expect(vi.getTimerCount()).toBe(0);
  now.mockRestore();
});

it('nothing runs while there is nothing to find, nor after the end', () => {
  vi.useFakeTimers();
  const idle = new ClockWatch({ hasClocksToFind: false, findClocks: () => [] }, () => {});
  idle.wake();
  expect(vi.getTimerCount()).toBe(0);
  const watch = new ClockWatch(searchOf(10), () => {});
  watch.wake();
  expect(vi.getTimerCount()).toBe(1);
  watch.close();
  expect(vi.getTimerCount()).toBe(0);
});
