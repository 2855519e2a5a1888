/**
 * vitest's global set-up for the tests that start wstun. `bin/wstun.js` must be as new as src, and so must the program
 * that the end-to-end tests start (`E2E_PROGRAM`).
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { E2E_DIR, E2E_PRELOAD, E2E_PROGRAM } from '../programs/wstun-program.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DIST = join(ROOT, 'dist');

export function setup(): void {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  if (changed(join(DIST, 'cli/main.js')) <= newest(sources.map((entry) => join(entry.parentPath, entry.name)))) {
    // Types are checked by `npm run check` and `npm run build`.
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck']);
    execFileSync(process.execPath, [join(ROOT, 'tools/build-page.mjs')]);
  }
  const parts = [
    'dist/cli/main.js',
    'dist/tether/page.html',
    'test/support/memory/poison.ts',
    'test/support/vitest/build-dist.ts',
  ];
  if (changed(E2E_PROGRAM) <= newest(parts.map((part) => join(ROOT, part)))) bundle();
}

/**
 * The same program in few files. Node loads it in half the processor time (0.13 s instead of 0.26 s for a relay), and
 * the end-to-end tests start it a thousand times.
 */
function bundle(): void {
  rmSync(E2E_DIR, { recursive: true, force: true });
  const common = { bundle: true, platform: 'node', format: 'esm', logLevel: 'error' } as const;
  buildSync({
    ...common,
    entryPoints: [join(import.meta.dirname, '../programs/poison-preload.ts')],
    outfile: E2E_PRELOAD,
  });
  buildSync({
    ...common,
    // `watchMemory` must be that of the program, so the module of it stays one that can be imported.
    entryPoints: { 'dist/cli/main': join(DIST, 'cli/main.js'), 'dist/memory/pieces': join(DIST, 'memory/pieces.js') },
    splitting: true,
    // CommonJS that is imported when it is needed: a chunk would have its default export only.
    external: ['@peculiar/x509'],
    outdir: E2E_DIR,
    chunkNames: 'dist/cli/[name]-[hash]',
    // For the packages that are CommonJS.
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
  });
  mkdirSync(join(E2E_DIR, 'bin'));
  for (const [from, to] of [
    ['package.json', 'package.json'],
    // Chunks look for it where dist/tether/laptop would.
    ['dist/tether/page.html', 'dist/page.html'],
    // Last: without it the next run bundles again.
    ['bin/wstun.js', 'bin/wstun.js'],
  ] as const)
    copyFileSync(join(ROOT, from), join(E2E_DIR, to));
}

function newest(paths: readonly string[]): number {
  return Math.max(...paths.map(changed));
}

function changed(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
