import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './scope.ts';

/** A new directory that goes away when the test does, or the file's tests if it was made in `beforeAll`. */
export async function tempDir(atItsEnd = atEnd): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'wstun-test-'));
  // Again, where a process that ends meanwhile has written its last file.
  atItsEnd(() => rm(path, { recursive: true, force: true, maxRetries: 10 }));
  return path;
}
