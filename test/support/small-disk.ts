/** A disk of 256 KB, in memory, that can be filled. Only root may mount one. */
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runWell } from './programs/programs.ts';
import { atEnd } from './scope.ts';
import { tempDir } from './temp-dir.ts';

const BLOCK = Buffer.alloc(1024);

export interface SmallDisk {
  readonly dir: string;
  /** Until not one byte can be written. */
  fill(): Promise<void>;
  free(): Promise<void>;
}

export async function smallDisk(): Promise<SmallDisk> {
  const dir = await tempDir();
  await runWell('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', dir]);
  // While a program still writes there, it stays until that has ended.
  atEnd(async () => void (await runWell('umount', ['--lazy', dir])));
  const ballast = join(dir, 'ballast');
  return { dir, fill: () => fillWith(ballast), free: () => rm(ballast, { force: true }) };
}

async function fillWith(ballast: string): Promise<void> {
  for (;;) {
    try {
      await appendFile(ballast, BLOCK);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') return;
      throw cause;
    }
  }
}
