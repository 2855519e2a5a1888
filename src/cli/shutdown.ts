/** Ctrl-C and SIGTERM: the first one drains, a second one aborts. */
import { constants } from 'node:os';
import type { Output } from './output.ts';

/** How long aborting may take, ms: it only hands resets to the kernel. */
const ABORT_MS = 500;

/**
 * Resolves at the first SIGINT or SIGTERM. At the second one, `abort` must reset all connections: when a process ends,
 * the kernel closes them cleanly, and half a download would look complete. Then the process ends with 128 + the number
 * of the signal.
 */
export function firstSignal(abort: () => Promise<unknown>, output: Output): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let signals = 0;
    const handle = (signal: NodeJS.Signals) => {
      signals++;
      if (signals === 1) return resolve(signal);
      const exit = () => {
        output.end({ signal });
        process.exit(128 + constants.signals[signal]);
      };
      if (signals > 2) exit();
      setTimeout(exit, ABORT_MS);
      // In the next turn of the event loop, because streams reset their sockets in events.
      const exitSoon = () => setImmediate(exit);
      abort().then(exitSoon, exitSoon);
    };
    process.on('SIGINT', handle);
    process.on('SIGTERM', handle);
  });
}
