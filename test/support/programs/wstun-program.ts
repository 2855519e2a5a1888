/** Which `wstun` the tests of a file start: `bin/wstun.js` as it is shipped. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = join(import.meta.dirname, '../../..');
const SHIPPED_PROGRAM = join(ROOT, 'bin/wstun.js');
/** The same in one file. */
export const SINGLE_FILE = join(ROOT, 'dist/wstun.mjs');
/** poison-preload.ts as one file, made by build-dist.ts. */
export const E2E_PRELOAD = join(ROOT, 'dist-e2e/poison-preload.js');

export let wstunPath = SHIPPED_PROGRAM;

/** Goes into the environment of every wstun of this test file. */
export let commonEnv: Readonly<Record<string, string>> = {};

/** From now on memory is poisoned in the wstuns of this test file (poison.ts): that is slower, and takes more memory. */
export function usePoisonedProgram(): void {
  wstunPath = SHIPPED_PROGRAM;
  // What the program itself loads, in which memory is watched: its other modules are in few files.
  const pieces = pathToFileURL(join(ROOT, 'dist/memory/pieces.js')).href;
  commonEnv = { WSTUN_POISON: pieces, NODE_OPTIONS: `--import ${pathToFileURL(E2E_PRELOAD).href}` };
}

/** From now on they start wstun as it is, as fast as it is for its users. @param path the program */
export function usePlainProgram(path = SHIPPED_PROGRAM): void {
  wstunPath = path;
  commonEnv = {};
}
