/** tun2proxy, between the tun device and the proxy: found, started, listened to, ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';

const NAMES = ['tun2proxy-bin', 'tun2proxy'];
/** Where cargo and a person put programs; sudo leaves the latter out of PATH on some systems. */
const MORE_FOLDERS = ['/usr/local/bin', '/usr/local/sbin'];
const END_MS = 3_000;

export interface TunProgram {
  readonly pid: number;
  /** Resolves with why it has ended; whoever has called `end` knows. */
  readonly ended: Promise<string>;
  /** Resolves when it has ended. */
  end(): Promise<void>;
}

/** @throws WstunError vpn-program-missing */
export function findTunProgram(env: NodeJS.ProcessEnv): string {
  const folders = [...(env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/')), ...MORE_FOLDERS];
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram);
  if (found === undefined) throw new WstunError('vpn-program-missing', 'tun2proxy');
  return found;
}

/** Resolves when it runs. @throws WstunError vpn-ended */
export async function startTunProgram(path: string, args: readonly string[], logger: Logger): Promise<TunProgram> {
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let last = '';
  for (const stream of [child.stdout, child.stderr])
    createInterface(stream).on('line', (line) => {
      if (/\b(?:ERROR|error)\b/.test(line)) last = line;
      logger.debug({ line }, 'tun2proxy');
    });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve([code ?? signal, last].filter((part) => part !== '').join(': ')));
  });
  const started = await Promise.race([
    ended,
    new Promise<undefined>((resolve) => child.once('spawn', () => resolve(undefined))),
  ]);
  if (started !== undefined || child.pid === undefined) throw new WstunError('vpn-ended', `${path}: ${started}`);
  return { pid: child.pid, ended, end: () => end(child, ended) };
}

async function end(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await ended;
  clearTimeout(limit);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
