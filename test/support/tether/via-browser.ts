/** A relay and a client whose links a real browser carries, which the client has started itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WstunProcess } from '../programs/wstun-process.ts';
import { invite, type RunningRelay, spawnClient, startRelay } from '../programs/wstun-stack.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { proxyPort } from './tethered.ts';

/** A cold start of Chromium on a busy machine, and a session. */
export const START_LIMIT_MS = 20_000;

export interface Spawned {
  readonly client: WstunProcess;
  /** Where the client makes the folder of its browser. */
  readonly temp: string;
}

export interface ViaBrowserOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A client that starts the Chromium of this machine. */
export async function spawnViaBrowser(secret: string, options: ViaBrowserOptions = {}): Promise<Spawned> {
  const temp = await tempDir();
  const { args = ['--via-browser=/usr/bin/chromium'], env = {} } = options;
  const client = spawnClient(secret, { args, env: { TMPDIR: temp, ...env } });
  // Registered later than the client's end, so called before it.
  atEnd(() => {
    for (const { pid } of browsersIn(temp)) killIfThere(pid);
  });
  return { client, temp };
}

export async function startViaBrowser(
  options: ViaBrowserOptions = {},
): Promise<Spawned & { readonly relay: RunningRelay; readonly port: number }> {
  const relay = await startRelay();
  const spawned = await spawnViaBrowser(await invite(relay, 'laptop', { allow: ['*'] }), options);
  return { relay, ...spawned, port: await proxyPort(spawned.client, START_LIMIT_MS) };
}

interface BrowserProcess {
  readonly pid: number;
  readonly args: readonly string[];
}

/** All processes of browsers whose profile is in that folder: those whose arguments name it. */
export function browsersIn(folder: string): readonly BrowserProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), args: argumentsOf(name) }))
    .filter(({ args }) => args.some((arg) => arg.includes(folder)));
}

/** The one that has started the others: a child that is about to become another program looks the same for a moment. */
export function mainBrowserIn(folder: string): BrowserProcess | undefined {
  const all = browsersIn(folder);
  const pids = new Set(all.map(({ pid }) => pid));
  return all.find(({ pid, args }) => !args.some((arg) => arg.startsWith('--type=')) && !pids.has(parentOf(pid)));
}

/** Behind the name, which may hold anything: the state and the parent (proc(5), `stat`). */
function parentOf(pid: number): number {
  const [, parent] = readIfThere(`/proc/${pid}/stat`).split(')').at(-1)?.trim().split(' ') ?? [];
  return Number(parent);
}

/** Of every process, as anyone sees them with `ps`. */
export function allArguments(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => argumentsOf(name).join(' '))
    .join('\n');
}

/** All that files below a folder hold, as text of one byte a character. */
export function contentsOf(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => readIfThere(join(parentPath, name))).join('\n');
}

function argumentsOf(pid: string): readonly string[] {
  return readIfThere(`/proc/${pid}/cmdline`).split('\0');
}

/** Processes and their files come and go. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
