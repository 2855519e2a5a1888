/**
 * Where control sockets are: one for each running process in `control` below its state directory or, where that path is
 * too long for a socket, in a directory of this user for temporary files. On Windows they are named pipes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { WstunError } from '../errors.ts';
import { codeOf, isAlive } from '../state/lock.ts';
import { fileReason, OTHERS, openExistingStateDir, openStateDir } from '../state/state-dir.ts';

/** sockaddr_un has room for 107 bytes on Linux, for 103 on macOS and BSD. */
const MAX_PATH_BYTES = 103;
/** More files than processes: what others leave there must not take long. */
const MAX_LISTED = 256;
/** Between bind and listen a socket refuses, too, ms. */
const YOUNG_MS = 2_000;

const NAME = /^(client|relay|exit)-(\d{1,10})-[0-9a-f]{8}(\.sock)?$/;
const PIPES = '\\\\.\\pipe\\';

export type ControlRole = 'client' | 'relay' | 'exit';

export interface ControlPlace {
  readonly path: string;
  readonly role: ControlRole;
  readonly pid: number;
}

/** Makes the directory, and a name in it that nobody has. @throws WstunError state-unusable */
export async function newControlPath(state: string, role: ControlRole, env = process.env): Promise<string> {
  const name = `${role}-${process.pid}-${randomBytes(4).toString('hex')}`;
  if (process.platform === 'win32') return `${PIPES}${pipePrefix(state)}${name}`;
  const own = join(resolve(state), 'control');
  if (fits(join(own, `${name}.sock`))) {
    await openStateDir(own);
    return join(own, `${name}.sock`);
  }
  const [short = ''] = shortDirs(own, env);
  await mkdir(short, { mode: 0o700 }).catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw new WstunError('state-unusable', `${short}: ${fileReason(error)}`);
  });
  await checkOwn(short);
  return join(short, `${name}.sock`);
}

/** Those of a state directory, of dead processes, too. @throws WstunError state-unusable if others have access */
export async function listControls(state: string, env = process.env): Promise<readonly ControlPlace[]> {
  if (process.platform === 'win32') return await listPipes(state);
  const own = join(resolve(state), 'control');
  // Both: what starts at boot has no $XDG_RUNTIME_DIR.
  const dirs = [own, ...(fits(join(own, 'client-1234567890-12345678.sock')) ? [] : shortDirs(own, env))];
  const lists = await Promise.all(dirs.map((dir) => listDir(dir, dir === own)));
  return lists.flat();
}

/** Nobody listens there: it is removed, unless its process has only just made it. */
export async function removeStale({ path, pid }: ControlPlace): Promise<void> {
  if (process.platform === 'win32') return;
  const made = await lstat(path).catch(() => undefined);
  if (made === undefined || !made.isSocket()) return;
  if (isAlive(pid) && Date.now() - made.mtimeMs < YOUNG_MS) return;
  await rm(path, { force: true }).catch(() => {});
}

async function listDir(dir: string, isState: boolean): Promise<readonly ControlPlace[]> {
  try {
    if ((await lstat(dir)).isDirectory() && isState) await openExistingStateDir(dir);
    else await checkOwn(dir);
    return placesIn(await readdir(dir), (name) => join(dir, name));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(codeOf(error))) return [];
    throw error;
  }
}

async function listPipes(state: string): Promise<readonly ControlPlace[]> {
  const prefix = pipePrefix(state);
  const names = (await readdir(PIPES).catch(() => [])).filter((name) => name.startsWith(prefix));
  return placesIn(
    names.map((name) => name.slice(prefix.length)),
    (name) => `${PIPES}${prefix}${name}`,
  );
}

function placesIn(names: readonly string[], pathOf: (name: string) => string): ControlPlace[] {
  const places = names.flatMap((name) => {
    const [, role, pid] = NAME.exec(name) ?? [];
    return role === undefined ? [] : [{ path: pathOf(name), role: role as ControlRole, pid: Number(pid) }];
  });
  return places.sort((a, b) => a.pid - b.pid).slice(0, MAX_LISTED);
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_PATH_BYTES;
}

function hashOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 16);
}

function pipePrefix(state: string): string {
  return `wstun-${hashOf(resolve(state).toLowerCase())}-`;
}

function shortDirs(own: string, env: NodeJS.ProcessEnv): readonly string[] {
  const { XDG_RUNTIME_DIR: runtime } = env;
  const name = `wstun-${process.getuid?.() ?? 0}-${hashOf(own)}`;
  const bases = [...(runtime !== undefined && isAbsolute(runtime) ? [runtime] : []), tmpdir()];
  const dirs = bases.map((base) => join(base, name));
  const fitting = dirs.filter((dir) => fits(join(dir, 'client-1234567890-12345678.sock')));
  return fitting.length > 0 ? fitting : [join('/tmp', name)];
}

/** In a directory that others can write to, anyone can make one of that name. @throws WstunError state-unusable */
async function checkOwn(dir: string): Promise<void> {
  const { uid, mode, ...stats } = await lstat(dir).then((found) => ({
    uid: found.uid,
    mode: found.mode,
    isDirectory: found.isDirectory(),
  }));
  if (stats.isDirectory && uid === process.getuid?.() && (mode & OTHERS) === 0) return;
  throw new WstunError('state-unusable', `${dir} is not a directory that only this user has access to`, {
    fix: 'Remove it. wstun makes it again.',
  });
}
