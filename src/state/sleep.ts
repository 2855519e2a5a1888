/** A pause that an AbortSignal ends early. */
import type { Clock } from '../clock.ts';

/** Resolves after `ms`, or as soon as the signal fires. The process may end meanwhile. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.setTimeout(end, ms);
    timer.unref();
    signal?.addEventListener('abort', end);
  });
}
