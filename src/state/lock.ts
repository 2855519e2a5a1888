/**
 * A lock between processes: a file that only one of them can create. Owns nothing but that file.
 *
 * A holder that died is found out: at once if it ran on this host, else by the age of its file (process ids mean
 * nothing across containers that share a directory, host names do).
 */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { WstunError } from '../errors.ts';

/** Holders write one small file: milliseconds, seconds on a dying disk. */
const STALE_AFTER_MS = 15_000;
/**
 * Longer than it takes to find a dead holder out, so that waiting always ends in success unless somebody really holds
 * it.
 */
const MAX_WAIT_MS = 20_000;
const RETRY_MS = 20;

/** Tokens of this process, from before they are written until they are gone. */
const own = new Set<string>();

/**
 * Runs `work` while holding the lock at `path`.
 * @throws WstunError state-unusable after 20 s of waiting; what `work` throws; errors of the file system as they are
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const token = `${process.pid} ${hostname()} ${randomBytes(8).toString('hex')}`;
  own.add(token);
  try {
    await waitForLock(path, token);
    try {
      return await work();
    } finally {
      if ((await readToken(path)) === token) await rm(path, { force: true });
    }
  } finally {
    own.delete(token);
  }
}

async function waitForLock(path: string, token: string): Promise<void> {
  const deadline = performance.now() + MAX_WAIT_MS;
  while (!(await tryLock(path, token))) {
    if (performance.now() > deadline) throw new WstunError('state-unusable', `another wstun holds ${path}`);
    await breakIfStale(path);
    await delay(RETRY_MS);
  }
}

async function tryLock(path: string, token: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(token);
    } catch (error) {
      // On a disk that is full: what stays would keep everybody out until it is old.
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Two processes may find the same dead holder out at once, and the slower could then remove the lock of the faster. So
 * the file is first moved aside, which only one can do, and put back if it turns out to be another than the one judged.
 */
async function breakIfStale(path: string): Promise<void> {
  const token = await readToken(path);
  if (token === undefined || !(await isStale(path, token))) return;
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if ((await readToken(aside)) !== token) await link(aside, path).catch(ignoreExisting);
  await rm(aside, { force: true });
}

async function isStale(path: string, token: string): Promise<boolean> {
  const [pid = '', host = ''] = token.split(' ');
  // A token that is not yet written belongs to one who has just made the file: only age counts there.
  if (host === hostname() && !isHeldHere(token, Number(pid))) return true;
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
  return age > STALE_AFTER_MS;
}

/**
 * One of our own number that is not ours was of a process before: a container that is restarted has the same name, and
 * its first is 1.
 */
function isHeldHere(token: string, pid: number): boolean {
  return pid === process.pid ? own.has(token) : isAlive(pid);
}

/** Whether there is a process of that number here. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function ignoreExisting(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error;
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
