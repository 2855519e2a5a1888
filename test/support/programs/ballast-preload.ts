/** Runs inside a wstun: takes memory at SIGUSR2, and gives it back at the next. */
import { settledMemory } from '../../../bench/memory.ts';

/** One block of this size comes from the kernel, and goes back to it as soon as it is collected. */
const BYTES = 256 * 1024 * 1024;

let ballast: Buffer | undefined;

process.on('SIGUSR2', () => {
  // Written to, or the kernel would not count it.
  ballast = ballast === undefined ? Buffer.alloc(BYTES, 1) : undefined;
  if (ballast === undefined) void settledMemory();
});
