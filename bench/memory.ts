/**
 * What a process really holds: its memory after full collections. Without these, a growth of memory would mostly be
 * garbage.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** After full collections, bytes. */
export interface Memory {
  readonly resident: number;
  /** JavaScript's heap in use, and buffers, which lie outside it. */
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
  // Not `external`: for a moment now and then it has 1.5 MB more, of what is no buffer and none of ours.
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { resident: rss, used: heapUsed + arrayBuffers };
}
