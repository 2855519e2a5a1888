/** Memory that a wstun has in use, asked of it from outside by the benchmark's probe. */
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import type { WstunProcess } from './wstun-process.ts';

const PROBE = join(import.meta.dirname, '../../bench/probe.ts');

/** For the environment of a wstun that `usedBytes` can be asked of. */
export function probeEnv(): { readonly NODE_OPTIONS: string } {
  const { outputFiles } = buildSync({
    entryPoints: [PROBE],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
  });
  const code = encodeURIComponent(outputFiles[0]?.text ?? '');
  return { NODE_OPTIONS: `--import data:text/javascript,${code}` };
}

/** Heap and buffers that a process has in use after full collections. */
export async function usedBytes(process: WstunProcess): Promise<number> {
  process.signal('SIGUSR2');
  return Number((await process.event('memory')).used);
}
