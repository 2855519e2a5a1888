/** Node 22.1 and newer can keep what they have compiled: the program then starts in two thirds of the time. */
import { lstatSync, mkdirSync } from 'node:fs';
import module from 'node:module';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** For the bits of a mode that let others write. */
const OTHERS_WRITE = 0o022;

/** In a directory of this user, never in one that others can write to. Never fails: it is only about time. */
export function useCompileCache() {
  try {
    if (module.enableCompileCache === undefined) return;
    const { XDG_CACHE_HOME: given } = process.env;
    const base = given !== undefined && isAbsolute(given) ? given : join(homedir(), '.cache');
    const path = join(base, 'wstun');
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const { mode, uid } = lstatSync(path);
    const isOwn = process.getuid === undefined || uid === process.getuid();
    if (isOwn && (mode & OTHERS_WRITE) === 0) module.enableCompileCache(path);
  } catch {
    // A file system that is read-only, a user without a home.
  }
}
