/** Where `wstun.toml` is, and its text: read once, with its limits and permissions checked. */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { WstunError } from '../../errors.ts';
import { fileReason } from '../../state/state-dir.ts';
import { shellQuote } from '../shell.ts';

const NAME = 'wstun.toml';
/** All options have less than a tenth of it. */
const MAX_CONFIG_BYTES = 256 * 1024;
const OTHERS_READ = 0o007;
const GROUP = 0o070;
const GROUP_WRITE_OR_RUN = 0o030;
const OTHERS_WRITE = 0o002;

export interface ConfigText {
  /** Absolute. */
  readonly path: string;
  readonly text: string;
  /** Whether somebody else than its owner can read it. */
  readonly isOpenToOthers: boolean;
}

/** Where a file is looked for that nobody named, the first one that exists is used. */
export function usualPlaces(environment: NodeJS.ProcessEnv): readonly string[] {
  const xdg = environment.XDG_CONFIG_HOME;
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.config');
  return [join(base, 'wstun', NAME), join('/etc', 'wstun', NAME)];
}

/**
 * The path of the file that is to be read; undefined: none.
 * @param given of `--config`; `none`: no file
 * @throws WstunError config-unusable
 */
export async function findConfig(
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const named = given ?? (environment.WSTUN_CONFIG || undefined);
  if (named === 'none') return undefined;
  if (named === '') throw new WstunError('config-unusable', '--config needs the path of a file, or none');
  if (named !== undefined) return resolve(named);
  for (const place of usualPlaces(environment)) if (await exists(place)) return place;
  return undefined;
}

/** Nothing is said of a place whose directory is closed to this user: a service may not see any home. */
async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** @throws WstunError config-unusable, config-exposed */
export async function readConfigFile(path: string): Promise<ConfigText> {
  // Not to wait where the path is a pipe that nobody writes to.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new WstunError('config-unusable', `${path}: ${fileReason(error)}`);
  });
  try {
    const { mode, uid, size } = await file.stat();
    const kind = mode & constants.S_IFMT;
    if (kind === constants.S_IFDIR) throw unusable(path, 'it is a directory where a file should be');
    if (kind !== constants.S_IFREG) throw unusable(path, 'it is not a file');
    if (size > MAX_CONFIG_BYTES) throw unusable(path, `it is larger than ${MAX_CONFIG_BYTES / 1024} KiB`);
    const hasModes = process.platform !== 'win32';
    if (hasModes && (mode & OTHERS_WRITE) !== 0)
      throw new WstunError(
        'config-exposed',
        `everyone can write to ${path}, and so decide where this machine's data goes`,
        {
          fix: `Run: chmod o-w ${shellQuote(path)}`,
        },
      );
    return { path, text: decode(await file.readFile(), path), isOpenToOthers: hasModes && isOpen(mode, uid) };
  } finally {
    await file.close();
  }
}

/** A file of root may be open to the group of a service, which reads it and cannot change it. */
function isOpen(mode: number, uid: number): boolean {
  if ((mode & OTHERS_READ) !== 0) return true;
  return (mode & (uid === 0 ? GROUP_WRITE_OR_RUN : GROUP)) !== 0;
}

function decode(bytes: Buffer, path: string): string {
  if (bytes.length > MAX_CONFIG_BYTES) throw unusable(path, `it is larger than ${MAX_CONFIG_BYTES / 1024} KiB`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unusable(path, `line ${lineOfBadByte(bytes)}: it is not UTF-8`, 'Save it as UTF-8, without other encodings.');
  }
}

/** The first line with bytes that are no UTF-8. */
function lineOfBadByte(bytes: Buffer): number {
  const text = bytes.toString('utf8');
  const isWhole = (line: string) => !line.includes('\ufffd');
  const at = text.split('\n').findIndex((line) => !isWhole(line));
  return at + 1;
}

function unusable(path: string, reason: string, fix?: string): WstunError {
  return new WstunError('config-unusable', `${path}: ${reason}`, fix === undefined ? {} : { fix });
}
