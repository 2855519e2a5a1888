/**
 * Waits for something outside this process that a person should hear of when they take long. A process has one
 * terminal, so one listener: the command line's. In a library nobody listens.
 */
import type { Clock } from '../clock.ts';

/** The start of Node comes before, and nobody is to look at nothing for more than 3 s. */
export const LONG_MS = 2_000;

let listener: (what: string) => void = () => {};

/** From now on. `what` stands behind "waiting for": `process 7, which holds /x/.lock`. */
export function onLongWait(tell: (what: string) => void): void {
  listener = tell;
}

/** For a wait that looks again and again itself, once it has lasted `LONG_MS`; or that would block all timers. */
export function tellLongWait(what: string): void {
  listener(what);
}

/** The outcome of `work`, whose wait is told once if it is not over after 2 s. @param what undefined: it is not told */
export async function toldIfLong<T>(what: () => string | undefined, work: Promise<T>, clock: Clock): Promise<T> {
  const timer = clock.setTimeout(() => {
    const text = what();
    if (text !== undefined) listener(text);
  }, LONG_MS);
  try {
    return await work;
  } finally {
    clock.clearTimeout(timer);
  }
}
