/** Time for the page, handed in for virtual time: the shape of Clock in src/clock.ts, which needs Node. */

export interface PageClock {
  /** Monotonic, ms with fractions; the origin is arbitrary. */
  now(): number;
  /** Of the calendar, whole ms since 1970; may jump either way. */
  wallTime(): number;
  /** Calls `callback` once, after `delayMs` at the earliest. */
  setTimeout(callback: () => void, delayMs: number): PageTimer;
  /** No effect on a timer that has fired, nor on undefined. */
  clearTimeout(timer: PageTimer | undefined): void;
}

/** What `PageClock.setTimeout` returns. Opaque. */
export type PageTimer = object;
