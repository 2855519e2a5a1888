/**
 * Loaded into a measured process with `--import`: answers the runner's `memory` with what is in use after a full collection.
 * Without one, a growth of memory would mostly be garbage.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Memory } from './programs.ts';

process.on('message', () => void answer());
// The channel alone must not keep the process alive.
process.channel?.unref();

async function answer(): Promise<void> {
  // Buffers are freed a turn after the collection that found them dead.
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await delay(20);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ resident: rss, used: heapUsed + external } satisfies Memory);
}
