/** Memory that a wstun has in use, asked of it from outside by the benchmark's probe. */
import { preload } from './preload.ts';
import type { WstunProcess } from './wstun-process.ts';

/** For the environment of a wstun that `usedBytes` can be asked of. */
export const probeEnv = () => preload('bench/probe.ts');

/** Heap and buffers that a process has in use after full collections. */
export async function usedBytes(process: WstunProcess): Promise<number> {
  process.signal('SIGUSR2');
  return Number((await process.event('memory')).used);
}
