/** One process of a browser, and the promise that it does not outlive this one. Knows nothing of pages. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Clock, Timer } from '../../clock.ts';
import type { Logger } from '../../observability/logger.ts';
import { END_LIMIT_MS, MAX_LINE_CHARS, VERSION_LIMIT_MS } from './browser-limits.ts';
import type { FoundBrowser } from './find-browser.ts';
import { killGroup } from './process-group.ts';

/**
 * Chromium ends when its debugging pipe closes. Others have a shell beside them that waits for the end of its standard
 * input, which this process holds, and kills them then.
 */
const GUARD = `exec 3<&0 </dev/null
"$@" 3<&- &
browser=$!
{ read -r end <&3; kill -TERM $browser; sleep 2; kill -KILL $browser; } 2>/dev/null &
guard=$!
wait $browser
status=$?
kill -KILL $guard 2>/dev/null
exit $status`;

export interface BrowserProcessOptions {
  readonly browser: FoundBrowser;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Once. @param how for a log and a person: `exit code 1`, `SIGKILL`, `EACCES` */
  readonly onEnd: (how: string) => void;
}

export class BrowserProcess {
  private readonly child: ChildProcess;
  private readonly clock: Clock;
  private killTimer: Timer | undefined;
  private hasEnded = false;

  constructor({ browser, args, env, logger, clock, onEnd }: BrowserProcessOptions) {
    this.clock = clock;
    const isGuarded = browser.family !== 'chromium' && process.platform !== 'win32';
    const [program, ...all] = isGuarded
      ? ['/bin/sh', '-c', GUARD, 'sh', browser.program, ...args]
      : [browser.program, ...args];
    this.child = spawn(program, all, {
      // The last two are Chromium's debugging pipe, on which nothing is said.
      stdio: [isGuarded ? 'pipe' : 'ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
      env,
      // Ctrl-C in the terminal is for the client, which first lets connections finish.
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    for (const stream of this.child.stdio) stream?.on('error', () => {});
    const end = (how: string) => {
      if (this.hasEnded) return;
      this.hasEnded = true;
      this.clock.clearTimeout(this.killTimer);
      // Its children, and the guard.
      this.kill();
      onEnd(how);
    };
    this.child.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'unknown reason'));
    this.child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    this.logOutput(logger);
    // Neither keeps this process running.
    this.child.unref();
  }

  /** Asks it to end, and kills it if it does not. */
  stop(): void {
    if (this.hasEnded) return;
    for (const stream of [this.child.stdio[0], this.child.stdio[3], this.child.stdio[4]]) stream?.destroy();
    this.killTimer ??= this.clock.setTimeout(() => this.kill(), END_LIMIT_MS).unref();
  }

  /** At once, with all its children. */
  kill(): void {
    killGroup(this.child);
  }

  private logOutput(logger: Logger): void {
    const { stderr } = this.child;
    if (stderr === null) return;
    createInterface({ input: stderr }).on('line', (line) => {
      if (line.trim() !== '') logger.debug({ line: line.slice(0, MAX_LINE_CHARS) }, 'the browser printed');
    });
    if ('unref' in stderr && typeof stderr.unref === 'function') stderr.unref();
  }
}

/** What `--version` prints; undefined: it is not known. Never rejects. */
export async function versionOf(
  { program, family }: FoundBrowser,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  if (family !== 'chromium') return undefined;
  // On Windows it would open a window, but its files are in a folder of that name.
  if (process.platform === 'win32') return folderVersion(program);
  return await new Promise((resolve) => {
    execFile(program, ['--version'], { timeout: VERSION_LIMIT_MS, killSignal: 'SIGKILL', env }, (error, stdout) =>
      resolve(error === null ? stdout.trim() : undefined),
    );
  });
}

function folderVersion(program: string): string | undefined {
  try {
    const edge = /edge/i.test(program) ? 'Edge ' : '';
    const version = readdirSync(dirname(program)).find((name) => /^\d+(\.\d+){3}$/.test(name));
    return version && `${edge}${version}`;
  } catch {
    return undefined;
  }
}
