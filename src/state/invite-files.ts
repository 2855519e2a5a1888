/** Files with invites for other people: 0600, and never in place of another file. */
import { lstat, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WstunError } from '../errors.ts';
import { codeOf } from './lock.ts';
import { fileReason, OTHERS } from './state-dir.ts';

export interface InviteFile {
  readonly path: string;
  /** A secret. */
  readonly invite: string;
}

/** `NAME.invite` there. */
export function inviteFileIn(directory: string, name: string): string {
  return join(directory, `${name}.invite`);
}

/** That it can have these files, and has none of them yet. @throws WstunError file-exists, out-unusable */
export async function checkInviteFolder(directory: string, paths: readonly string[]): Promise<void> {
  await guarded(directory, async () => {
    const stats = await stat(directory).catch(ignoreMissing);
    if (stats === undefined) return;
    if (!stats.isDirectory()) throw new WstunError('out-unusable', `${directory} is not a directory`);
    if (process.platform !== 'win32' && (stats.mode & OTHERS) !== 0)
      throw new WstunError('out-unusable', `other users have access to ${directory}; run: chmod 700 ${directory}`);
  });
  for (const path of paths)
    await guarded(path, async () => {
      if ((await lstat(path).catch(ignoreMissing)) !== undefined) throw fileExists(path);
    });
}

/** 0700, if it is missing. @throws WstunError out-unusable */
export async function makeInviteFolder(directory: string): Promise<void> {
  await guarded(directory, async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  });
}

/**
 * Writes all of them or none; on the disk when this resolves. Returns a function that removes them again.
 * @throws WstunError file-exists, out-unusable
 */
export async function writeInviteFiles(files: readonly InviteFile[]): Promise<() => Promise<void>> {
  const written: string[] = [];
  const undo = async () => {
    for (const path of written) await rm(path, { force: true }).catch(() => {});
  };
  try {
    for (const { path, invite } of files) {
      await guarded(path, () => writeNew(path, invite, () => written.push(path)));
    }
  } catch (error) {
    await undo();
    throw error;
  }
  return undo;
}

async function writeNew(path: string, invite: string, onMade: () => void): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  onMade();
  try {
    await file.chmod(0o600);
    await file.writeFile(`${invite}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

function fileExists(path: string): WstunError {
  return new WstunError('file-exists', path, { fix: 'Choose another name, or move the file away.' });
}

async function guarded(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof WstunError || codeOf(error) === '') throw error;
    if (codeOf(error) === 'EEXIST') throw fileExists(path);
    const where = codeOf(error) === 'ENOENT' ? dirname(path) : path;
    throw new WstunError('out-unusable', `${where}: ${fileReason(error)}`, {
      fix: 'Choose another place with: --out.',
      cause: error,
    });
  }
}
