/**
 * vitest's global set-up for the tests that start wstun. `bin/wstun.js` and `dist/wstun.mjs` must be as new as src, and
 * so must the module that poisons memory in them (`E2E_PRELOAD`).
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { E2E_PRELOAD } from '../programs/wstun-program.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DIST = join(ROOT, 'dist');

export function setup(): void {
  const sources = ['src', 'tools'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()),
  );
  // The last thing that the build makes.
  if (changed(join(DIST, 'wstun.mjs')) <= newest(sources.map((entry) => join(entry.parentPath, entry.name)))) {
    // Types are checked by `npm run check` and `npm run build`.
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck']);
    for (const tool of ['build-page', 'build-info', 'build-bundle'])
      execFileSync(process.execPath, [join(ROOT, 'tools', `${tool}.mjs`)]);
  }
  const parts = ['test/support/memory/poison.ts', 'test/support/programs/poison-preload.ts'];
  if (changed(E2E_PRELOAD) > newest(parts.map((part) => join(ROOT, part)))) return;
  buildSync({
    entryPoints: [join(import.meta.dirname, '../programs/poison-preload.ts')],
    ...{ bundle: true, platform: 'node', format: 'esm', logLevel: 'error', outfile: E2E_PRELOAD },
  });
}

function newest(paths: readonly string[]): number {
  return Math.max(...paths.map(changed));
}

function changed(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
