/** Code that is loaded into a wstun before its own. */
import { join } from 'node:path';
import { buildSync } from 'esbuild';

const ROOT = join(import.meta.dirname, '../../..');

/** For the environment of the process. @param file TypeScript, from the root of the project */
export function preload(file: string): { readonly NODE_OPTIONS: string } {
  const { outputFiles } = buildSync({
    entryPoints: [join(ROOT, file)],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
  });
  const code = encodeURIComponent(outputFiles[0]?.text ?? '');
  return { NODE_OPTIONS: `--import data:text/javascript,${code}` };
}
