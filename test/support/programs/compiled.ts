import { execFile } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { tempDir } from '../temp-dir.ts';

const ROOT = join(import.meta.dirname, '../../..');

/**
 * Compiles files of src, and what they import, for programs that a test starts as processes of their own (half a
 * second). The URL of the result.
 */
export async function compileSources(files: readonly string[]): Promise<string> {
  const dir = await tempDir();
  const config = {
    extends: join(ROOT, 'tsconfig.build.json'),
    compilerOptions: {
      rootDir: join(ROOT, 'src'),
      outDir: join(dir, 'js'),
      typeRoots: [join(ROOT, 'node_modules/@types')],
    },
    include: [],
    files: files.map((file) => join(ROOT, 'src', file)),
  };
  await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config));
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  await promisify(execFile)(join(ROOT, 'node_modules/.bin/tsc'), ['-p', dir, '--noCheck']);
  return pathToFileURL(join(dir, 'js')).href;
}
