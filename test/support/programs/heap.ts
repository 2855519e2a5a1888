/** Memory that a wstun has in use, asked of it from outside by the benchmark's probe. */
import { preload } from './preload.ts';
import type { WstunProcess } from './wstun-process.ts';

/** For the environment of a wstun that `usedBytes` can be asked of. */
export const probeEnv = () => preload('bench/probe.ts');

/** A buffer of 1.5 MB that is dead is now and then not freed yet: it is no memory that anything holds. */
const LOOKS = 8;

/** Heap and buffers that a process has in use after full collections: the least of several looks. */
export async function usedBytes(process: WstunProcess): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < LOOKS; i++) {
    process.signal('SIGUSR2');
    least = Math.min(least, Number((await process.event('memory')).used));
  }
  return least;
}
