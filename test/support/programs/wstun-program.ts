/** Which `wstun` the tests of a file start. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = join(import.meta.dirname, '../../..');
const SHIPPED = join(ROOT, 'bin/wstun.js');

/** Made by build-dist.ts: the same program in few files, which starts in half the time. */
export const E2E_DIR = join(ROOT, 'dist-e2e');
export const E2E_PROGRAM = join(E2E_DIR, 'bin/wstun.js');
/** poison-preload.ts as one file. */
export const E2E_PRELOAD = join(E2E_DIR, 'poison-preload.js');

export let wstunPath = SHIPPED;

/** Goes into the environment of every wstun of this test file. */
export let commonEnv: Readonly<Record<string, string>> = {};

/**
 * From now on the tests of this file start the program of few files, and memory is poisoned in it (poison.ts): that is
 * slower, and takes more memory.
 */
export function useE2eProgram(): void {
  use(E2E_PROGRAM);
}

/** From now on the tests of this file start `bin/wstun.js` as it is shipped, also with poisoned memory. */
export function useShippedProgram(): void {
  use(SHIPPED);
}

/** From now on they start `bin/wstun.js` as it is, as fast as it is for its users. */
export function usePlainProgram(): void {
  wstunPath = SHIPPED;
  commonEnv = {};
}

function use(path: string): void {
  wstunPath = path;
  const pieces = pathToFileURL(join(path, '../../dist/memory/pieces.js')).href;
  commonEnv = { WSTUN_POISON: pieces, NODE_OPTIONS: `--import ${pathToFileURL(E2E_PRELOAD).href}` };
}
