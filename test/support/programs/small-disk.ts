/** A file system of a few MiB, mounted at a directory until the test is over, that can be filled. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from '../scope.ts';

const FILLER = 'filler';
const PIECES = [64 * 1024, 4 * 1024];

export interface SmallDisk {
  /** Nothing more can be written to it. */
  fill(): Promise<void>;
  /** What filled it is gone. */
  empty(): Promise<void>;
}

/** Root may, where the kernel lets it. */
export const canMount = tryMount();
if (!canMount) process.stderr.write('\n!!! nothing can be mounted here: the tests of full disks are SKIPPED\n\n');

/** @param path of a directory that is made */
export async function mountSmallDisk(path: string, mib: number): Promise<SmallDisk> {
  await mkdir(path, { mode: 0o700 });
  if (!mount(path, mib)) throw new Error(`nothing can be mounted at ${path}`);
  atEnd(() => unmount(path));
  return { fill: () => fill(path), empty: () => rm(join(path, FILLER), { force: true }) };
}

async function fill(path: string): Promise<void> {
  const file = await open(join(path, FILLER), 'a');
  try {
    for (const bytes of PIECES) while (await isWritten(file.write(Buffer.alloc(bytes, 1))));
  } finally {
    await file.close();
  }
}

async function isWritten(writing: Promise<unknown>): Promise<boolean> {
  try {
    await writing;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return false;
  }
}

function mount(path: string, mib: number): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=0700`, 'tmpfs', path]).status === 0;
}

/** Whatever still runs there. */
function unmount(path: string): void {
  spawnSync('umount', ['--lazy', path]);
}

function tryMount(): boolean {
  const parent = mkdtempSync(join(tmpdir(), 'wstun-test-'));
  const path = join(parent, 'disk');
  mkdirSync(path);
  const isMounted = mount(path, 1);
  if (isMounted) unmount(path);
  rmdirSync(path);
  rmdirSync(parent);
  return isMounted;
}
