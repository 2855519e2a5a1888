/** What a relay or a named exit keeps. Mode 0700, its files 0600; a write is complete or has no effect. */
import { randomBytes } from 'node:crypto';
import { chmod, chown, type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { signatureOf } from './file-watch.ts';
import { codeOf, withLock } from './lock.ts';

const DIR_MODE = 0o700;
const FILE_MODE = 0o600;
/** The bits of a mode that let others in. */
export const OTHERS = 0o077;
const LOCK_NAME = '.lock';
/** Ten thousand access entries with a rule each have 2 MB. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** What a file-system error means to a person. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory where a file should be',
  ELOOP: 'too many symbolic links',
  EMFILE: 'this process cannot open more files',
  ENFILE: 'this machine cannot open more files',
  ENAMETOOLONG: 'the path is too long',
};

/** Makes the directory if it is missing. @throws WstunError state-unusable */
export async function openStateDir(path: string, clock: Clock = systemClock): Promise<StateDir> {
  const absolute = resolve(path);
  return await guarded(absolute, async () => {
    await makeDir(absolute);
    return await checkDir(absolute, clock);
  });
}

/** For commands that only look: a mistyped path must not become a new state. @throws WstunError state-unusable */
export async function openExistingStateDir(path: string, clock: Clock = systemClock): Promise<StateDir> {
  const absolute = resolve(path);
  return await guarded(absolute, async () => await checkDir(absolute, clock));
}

async function checkDir(path: string, clock: Clock): Promise<StateDir> {
  const stats = await stat(path);
  if (!stats.isDirectory()) throw new WstunError('state-unusable', `${path} is not a directory`);
  rejectOthers(path, stats.mode, 'chmod 700');
  return new StateDir(path, stats.uid, clock);
}

export class StateDir {
  /** Only the functions above make one. */
  constructor(
    readonly path: string,
    private readonly owner: number,
    private readonly clock: Clock,
  ) {}

  /** Whether this process runs as its owner. Windows has no such owners. */
  get isOwn(): boolean {
    return process.geteuid === undefined || process.geteuid() === this.owner;
  }

  pathOf(name: string): string {
    return join(this.path, name);
  }

  /** Undefined if there is none. A `secret` one must not be open to others. @throws WstunError state-unusable */
  async read(name: string, options: { secret: boolean }): Promise<string | undefined> {
    return await this.readFrom(name, async (file, path) => {
      const { mode, size } = await file.stat();
      if (options.secret) rejectOthers(path, mode, 'chmod 600');
      if (size > MAX_FILE_BYTES) throw new WstunError('state-unusable', `${path} is larger than 4 MiB`);
      return await file.readFile('utf8');
    });
  }

  /** The whole file or nothing, also when the power fails. @throws WstunError state-unusable */
  async write(name: string, text: string): Promise<void> {
    const temporary = this.pathOf(`.${name}.${randomBytes(6).toString('hex')}.tmp`);
    await this.at(name, async (path) => {
      try {
        await this.writeNew(temporary, text);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await syncDir(this.path);
    });
  }

  /** A directory in this one, made if it is missing. @throws WstunError state-unusable */
  async subdirectory(name: string): Promise<StateDir> {
    return await this.at(name, async (path) => {
      await makeDir(path, false);
      if (process.geteuid?.() === 0 && this.owner !== 0) await chown(path, this.owner, (await stat(this.path)).gid);
      return await checkDir(path, this.clock);
    });
  }

  /** The names of the files in it. @throws WstunError state-unusable */
  async names(): Promise<string[]> {
    return await guarded(this.path, () => readdir(this.path));
  }

  /** 0 for a file that does not exist. @throws WstunError state-unusable */
  async size(name: string): Promise<number> {
    return await this.at(name, async (path) => (await stat(path).catch(ignoreMissing))?.size ?? 0);
  }

  /** Some bytes of a file, fewer where it ends; none if there is no such file. @throws WstunError state-unusable */
  async readBytes(name: string, from: number, length: number): Promise<Buffer> {
    const found = await this.readFrom(name, async (file) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, from);
      return buffer.subarray(0, bytesRead);
    });
    return found ?? Buffer.alloc(0);
  }

  /** After what other processes append; a crash may cut it. @throws WstunError state-unusable */
  async append(name: string, bytes: Uint8Array): Promise<void> {
    await this.at(name, async (path) => {
      const file = await open(path, 'a', FILE_MODE);
      await thenClose(file, async () => {
        await this.own(file);
        await file.appendFile(bytes);
      });
    });
  }

  /** @throws WstunError state-unusable */
  async empty(name: string): Promise<void> {
    await this.at(name, async (path) => (await open(path, 'w', FILE_MODE)).close());
  }

  /** Has no effect if the file does not exist. @throws WstunError state-unusable */
  async remove(name: string): Promise<void> {
    await this.at(name, (path) => rm(path, { force: true }));
  }

  /** While no other process runs its own under this directory's lock. @throws WstunError state-unusable */
  async locked<T>(work: () => Promise<T>): Promise<T> {
    return await this.at(LOCK_NAME, (path) => withLock(path, work, this.clock));
  }

  /** Changes whenever the file does: written, replaced, removed. @throws WstunError state-unusable */
  async signature(name: string): Promise<string> {
    return await this.at(name, async (path) => (await signatureOf(path).catch(ignoreMissing)) ?? 'missing');
  }

  /** Of the directory itself: a copy of it has another one. Not all file systems know when something was made. */
  async origin(): Promise<string> {
    return await guarded(this.path, async () => {
      const { ino, birthtimeNs } = await stat(this.path, { bigint: true });
      return `${ino}:${birthtimeNs}`;
    });
  }

  private async at<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    const path = this.pathOf(name);
    return await guarded(path, () => work(path));
  }

  /** Undefined if there is no such file. */
  private async readFrom<T>(name: string, work: (file: FileHandle, path: string) => Promise<T>) {
    return await this.at(name, async (path) => {
      const file = await open(path, 'r').catch(ignoreMissing);
      return file && (await thenClose(file, () => work(file, path)));
    });
  }

  /** `sudo wstun access add` in the directory of a service: the service must still be able to read its file. */
  private async own(file: FileHandle): Promise<void> {
    if (process.geteuid?.() === 0 && this.owner !== 0) await file.chown(this.owner, (await stat(this.path)).gid);
  }

  private async writeNew(path: string, text: string): Promise<void> {
    const file = await open(path, 'wx', FILE_MODE);
    await thenClose(file, async () => {
      await file.chmod(FILE_MODE);
      await this.own(file);
      await file.writeFile(text);
      await file.sync();
    });
  }
}

/** And those above it. Not `recursive: true`: it never returns where a file system rejects it with ENOENT (/proc). */
async function makeDir(path: string, parents = true): Promise<void> {
  try {
    await mkdir(path, DIR_MODE);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (codeOf(error) !== 'ENOENT' || !parents || dirname(path) === path) throw error;
    await makeDir(dirname(path));
    await makeDir(path, false);
    return;
  }
  // The umask may have removed rights of the owner too.
  await chmod(path, DIR_MODE);
}

/** Rejects access of others to what holds keys. Windows has no such mode bits. */
function rejectOthers(path: string, mode: number, command: string): void {
  if (process.platform === 'win32' || (mode & OTHERS) === 0) return;
  throw new WstunError(
    'state-unusable',
    `other users have access to ${path}, where wstun stores keys; if only wstun uses it, run: ${command} ${path}`,
  );
}

async function thenClose<T>(file: FileHandle, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await file.close();
  }
}

/** A rename survives a power failure only when its directory is on the disk. Some file systems cannot sync one. */
async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } catch (error) {
    if (!['EINVAL', 'EPERM', 'EBADF', 'ENOTSUP'].includes(codeOf(error))) throw error;
  } finally {
    await dir.close();
  }
}

function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

/** What an error of the file system means to a person. */
export function fileReason(error: unknown): string {
  return REASONS[codeOf(error)] ?? (codeOf(error) || String(error));
}

/** Errors of the file system become faults that name the path; faults go through. */
async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WstunError || codeOf(error) === '') throw error;
    throw new WstunError('state-unusable', `${path}: ${fileReason(error)}`, { cause: error });
  }
}
