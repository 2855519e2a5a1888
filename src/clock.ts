/** Time and chance, handed in, so that tests run in virtual time: Node's clocks for `tunnel`, `relay` and `tether`. */
import { performance } from 'node:perf_hooks';

/** What `Clock.setTimeout` returns. Opaque. */
export interface Timer {
  /** Lets the process end although the timer is pending. Returns the timer. */
  unref(): Timer;
}

export interface Clock {
  /** Monotonic, ms with fractions; the origin is arbitrary. */
  now(): number;
  /** Of the calendar, whole ms since 1970; may jump either way. */
  wallTime(): number;
  /** Calls `callback(argument)` once, after `delayMs` at the earliest. The argument saves a closure for each timer. */
  setTimeout<T>(callback: (argument: T) => void, delayMs: number, argument: T): Timer;
  setTimeout(callback: () => void, delayMs: number): Timer;
  /** Without effect on a timer that has fired, and on undefined. */
  clearTimeout(timer: Timer | undefined): void;
  /** Uniform, at least 0 and less than 1. Not for secrets. */
  random(): number;
}

/** The process's own. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimeout: <T>(callback: (argument: T) => void, delayMs: number, argument?: T): Timer =>
    // Node 24 and newer print a warning about a negative delay.
    setTimeout(callback, Math.max(1, delayMs), argument as T),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
  random: () => Math.random(),
};

/** What the calendar shows where the clock shows `at`, ms since 1970. */
export function wallTimeAt(clock: Clock, at: number): number {
  return Math.round(clock.wallTime() - (clock.now() - at));
}
