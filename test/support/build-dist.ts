/** vitest's global set-up for the end-to-end tests: they run `bin/wstun.js`, so what it loads must be as new as src. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export function setup(): void {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const newest = Math.max(...sources.map((entry) => changed(join(entry.parentPath, entry.name))));
  if (changed(join(ROOT, 'dist/cli/main.js')) > newest) return;
  // Types are checked by `npm run check` and `npm run build`.
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck']);
  execFileSync(process.execPath, [join(ROOT, 'tools/build-page.mjs')]);
}

function changed(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
