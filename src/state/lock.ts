/**
 * A lock between processes: a file that only one of them can create. A dead holder's lock is removed: at once if it ran
 * on this host, else by the age of the file. Process ids mean nothing across containers that share a directory; host
 * names do.
 */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { LONG_MS, tellLongWait } from '../async/long-wait.ts';
import type { Clock } from '../clock.ts';
import { WstunError } from '../errors.ts';

/** Holders write one small file: milliseconds, seconds on a dying disk. */
const STALE_AFTER_MS = 15_000;
/** Longer than it takes to detect a dead holder: waiting fails only if a live process holds the lock. */
const MAX_WAIT_MS = 20_000;
const RETRY_MS = 20;

/** Tokens of this process, from before they are written until they are removed. */
const own = new Set<string>();

/** @throws WstunError state-unusable after 20 s of waiting; errors of `work` and of the file system as they are */
export async function withLock<T>(path: string, work: () => Promise<T>, clock: Clock): Promise<T> {
  const token = `${process.pid} ${hostname()} ${randomBytes(8).toString('hex')}`;
  own.add(token);
  try {
    await waitForLock(path, token, clock);
    try {
      return await work();
    } finally {
      if ((await readToken(path)) === token) await rm(path, { force: true });
    }
  } finally {
    own.delete(token);
  }
}

async function waitForLock(path: string, token: string, clock: Clock): Promise<void> {
  const began = clock.now();
  let isTold = false;
  while (!(await tryLock(path, token))) {
    const waitedMs = clock.now() - began;
    if (waitedMs > MAX_WAIT_MS)
      throw new WstunError('state-unusable', `${nameOf(await readToken(path))} holds ${path}`, {
        fix: 'Try again when it is done. If it does not go on, end it.',
      });
    if (!isTold && waitedMs > LONG_MS) tellLongWait(`${nameOf(await readToken(path))}, which holds ${path}`);
    isTold ||= waitedMs > LONG_MS;
    await removeIfStale(path, clock);
    await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS));
  }
}

async function tryLock(path: string, token: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(token);
    } catch (error) {
      // On a full disk: an empty file would block all processes until it is old.
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

/** As far as the token says. A process of another host has no meaning here. */
function nameOf(token = ''): string {
  const [pid = '', host = ''] = token.split(' ');
  return host === hostname() ? `process ${pid}` : 'another wstun';
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
 * Two processes may detect the same dead holder at once, and the slower could then remove the lock of the faster. So
 * the file is first moved aside, which only one can do, and put back if it is not the one that was checked.
 */
async function removeIfStale(path: string, clock: Clock): Promise<void> {
  const token = await readToken(path);
  if (token === undefined || !(await isStale(path, token, clock))) return;
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

async function isStale(path: string, token: string, clock: Clock): Promise<boolean> {
  const [pid = '', host = ''] = token.split(' ');
  // A file without a token has just been created: only its age counts.
  if (host === hostname() && !isHeldHere(token, Number(pid))) return true;
  const age = await stat(path).then(
    ({ mtimeMs }) => clock.wallTime() - mtimeMs,
    () => 0,
  );
  return age > STALE_AFTER_MS;
}

/** This process's id with a token of another is an earlier process's: a restarted container's first id is 1 again. */
function isHeldHere(token: string, pid: number): boolean {
  return pid === process.pid ? own.has(token) : isAlive(pid);
}

/** Whether there is a process with that id here. */
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
