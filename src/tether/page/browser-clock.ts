/** The browser's clock and timers: the only file of the page that calls them. */
import type { PageClock, PageTimer } from './page-clock.ts';

class BrowserTimer implements PageTimer {
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }
}

export const browserClock: PageClock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimeout: (callback, delayMs) => new BrowserTimer(setTimeout(callback, delayMs)),
  clearTimeout: (timer) => {
    if (timer instanceof BrowserTimer) clearTimeout(timer.id);
  },
};
