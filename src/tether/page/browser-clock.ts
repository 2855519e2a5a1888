/** The browser's clock and timers: the only file of the page that calls them. */
import type { PageClock } from './page-clock.ts';

export const browserClock: PageClock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimeout: (callback, delayMs) => ({ id: setTimeout(callback, delayMs) }),
  clearTimeout: (timer) => clearTimeout((timer as { readonly id: number } | undefined)?.id),
};
