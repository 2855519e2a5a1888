import { expect, it } from 'vitest';
import { ClockWatch } from '../../src/relay/clock-watch.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

/** A clock on which work takes time. */
class BusyClock extends VirtualClock {
  private workedMs = 0;

  work(ms: number): void {
    this.workedMs += ms;
  }

  override now(): number {
    return super.now() + this.workedMs;
  }
}

/** A search that takes so many steps, each a tenth of a millisecond of virtual time. */
function searchOf(steps: number, clock: BusyClock) {
  let left = steps;
  const log: number[] = [];
  return {
    log,
    get hasClocksToFind() {
      return left > 0;
    },
    findClocks() {
      left -= 1;
      log.push(clock.now());
      clock.work(0.1);
      return left === 0 ? [{ peer: 'alice', offset: -600 }] : [];
    },
  };
}

it('the search for wrong clocks takes at most a tenth of the time, and reports the peer that it found', async () => {
  const clock = new BusyClock();
  const found: [string, number][] = [];
  const search = searchOf(100, clock);
  const watch = new ClockWatch(search, (peer, offset) => found.push([peer, offset]), clock);
  watch.wake();
  watch.wake();
  expect(search.log).toEqual([]);
  await clock.advanceUntil(() => !search.hasClocksToFind, 1_000);
  expect(found).toEqual([['alice', -600]]);
  // 10 ms of work.
  expect(clock.now()).toBeGreaterThan(90);
  expect(clock.timers).toBe(0);
});

it('the search for wrong clocks has no timer while there is nothing to find, nor after close()', () => {
  const clock = new BusyClock();
  const idle = new ClockWatch({ hasClocksToFind: false, findClocks: () => [] }, () => {}, clock);
  idle.wake();
  expect(clock.timers).toBe(0);
  const watch = new ClockWatch(searchOf(10, clock), () => {}, clock);
  watch.wake();
  expect(clock.timers).toBe(1);
  watch.close();
  expect(clock.timers).toBe(0);
});
