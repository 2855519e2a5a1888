/** A file system of a few MiB, mounted at a directory until the test is over, that can be filled. Needs root. */
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { atEnd } from '../scope.ts';
import { runWell } from './programs.ts';

const FILLER = 'filler';
const PIECES = [64 * 1024, 4 * 1024];

export interface SmallDisk {
  /** Nothing more can be written to it. */
  fill(): Promise<void>;
  /** What filled it is gone. */
  empty(): Promise<void>;
}

/** @param path of a directory that is made */
export async function mountSmallDisk(path: string, mib: number): Promise<SmallDisk> {
  await mkdir(path, { mode: 0o700 });
  await runWell('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=0700`, 'tmpfs', path]);
  // Lazily: a program that has not ended yet may still write there.
  atEnd(async () => void (await runWell('umount', ['--lazy', path])));
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
