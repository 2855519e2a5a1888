import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { WstunProcess } from './wstun-process.ts';

/** Bytes of heap in use after a full collection: what is really kept. */
export function keptHeapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

/** Buffers are freed a turn after the collection that found them dead. */
const PROBE = `
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', async () => {
  for (let i = 0; i < 3; i++) {
    collect();
    await delay(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  process.stdout.write(JSON.stringify({ event: 'memory', used: heapUsed + external }) + '\\n');
});`;

/** For the environment of a wstun that `usedBytes` can be asked of. */
export const WITH_PROBE = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(PROBE)}` };

/** Heap and buffers that a process has in use after full collections. */
export async function usedBytes(process: WstunProcess): Promise<number> {
  process.signal('SIGUSR2');
  return Number((await process.event('memory')).used);
}
