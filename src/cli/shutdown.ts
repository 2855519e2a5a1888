/** Ctrl-C and SIGTERM: the first drains, a second one cuts. */
import { constants } from 'node:os';

/** How long connections may live on after the first signal, ms; under the 90 s after which systemd kills. */
export const DRAIN_MS = 30_000;

/** How long cutting may take, ms: it only has to hand resets to the kernel. */
const CUT_MS = 500;

/**
 * Resolves at the first SIGINT or SIGTERM. At the second, `cut` has to reset all connections: the kernel would end
 * those of a process that is gone cleanly, and half a download would pass for a whole one. Then the process ends with
 * 128 + the signal's number.
 */
export function firstSignal(cut: () => Promise<unknown>): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let signals = 0;
    const handle = (signal: NodeJS.Signals) => {
      signals++;
      if (signals === 1) return resolve(signal);
      const exit = () => process.exit(128 + constants.signals[signal]);
      if (signals > 2) exit();
      setTimeout(exit, CUT_MS);
      // In the next turn of the event loop: streams tell their sockets of a cut in events.
      const exitSoon = () => setImmediate(exit);
      cut().then(exitSoon, exitSoon);
    };
    process.on('SIGINT', handle);
    process.on('SIGTERM', handle);
  });
}
