/** What a process really holds: its memory after full collections. Without these, a growth of memory would mostly be garbage. */
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** After full collections, bytes. */
export interface Memory {
  readonly resident: number;
  /** JavaScript's heap in use and what lies outside it (buffers). */
  readonly used: number;
}

/** Buffers are freed a turn after the collection that found them dead. */
const COLLECTIONS = 3;
const PAUSE_MS = 20;

/** Of this process. */
export async function settledMemory(): Promise<Memory> {
  // Works in a process that was started without the flag.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < COLLECTIONS; i++) {
    collect();
    await delay(PAUSE_MS);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, used: heapUsed + external };
}
