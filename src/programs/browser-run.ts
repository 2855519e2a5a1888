/** One browser that a person uses: started, waited for, and ended when it must be. Its profile is somebody else's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { killGroup } from '../tether/browser/process-group.ts';

/** A browser that ends so soon with an error has not opened a window. */
const START_MS = 3_000;
/** From the request to end to the kill: it saves its profile. */
const END_LIMIT_MS = 5_000;
/** From its end to that of its output. */
const OUTPUT_LIMIT_MS = 1_000;
/** Of what it prints, in a log line or an error. */
const MAX_LINE_CHARS = 300;

export interface BrowserRunOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class BrowserRun {
  /** Resolves when it has ended. Rejects with browser-broken if it did so at once, and with an error. */
  readonly ended: Promise<void>;
  private readonly child: ChildProcess;
  private readonly clock: Clock;
  private lastLine = '';
  private isAskedToEnd = false;

  constructor({ program, args, env, logger, clock = systemClock }: BrowserRunOptions) {
    this.clock = clock;
    const startedAt = clock.now();
    // A group of its own: Ctrl-C in the terminal is for wstun, which lets it save its profile.
    const detached = process.platform !== 'win32';
    this.child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env, detached, windowsHide: true });
    this.readOutput(logger);
    this.ended = new Promise((resolve, reject) => {
      let limit: Timer | undefined;
      const end = (how: string | undefined) => {
        clock.clearTimeout(limit);
        const isEarly = clock.now() - startedAt < START_MS && !this.isAskedToEnd;
        if (how === undefined || !isEarly) return resolve();
        reject(new WstunError('browser-broken', this.lastLine === '' ? how : `${how}: ${this.lastLine}`));
      };
      this.child.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'unknown reason'));
      this.child.once('exit', (code, signal) => {
        const how = code === 0 ? undefined : (signal ?? `exit code ${code}`);
        // Helpers of it that still run, and hold what it printed.
        this.kill();
        this.child.once('close', () => end(how));
        limit = clock.setTimeout(() => end(how), OUTPUT_LIMIT_MS);
      });
    });
  }

  /** Asks it to end, and kills it if it has not after five seconds. */
  end(): void {
    this.isAskedToEnd = true;
    this.child.kill('SIGTERM');
    const timer = this.clock.setTimeout(() => this.kill(), END_LIMIT_MS);
    const stop = () => this.clock.clearTimeout(timer);
    this.ended.then(stop, stop);
  }

  /** At once, with all processes that it has started. */
  kill(): void {
    killGroup(this.child);
  }

  private readOutput(logger: Logger): void {
    const { stderr } = this.child;
    if (stderr === null) return;
    stderr.on('error', () => {});
    createInterface({ input: stderr }).on('line', (text) => {
      const line = text.trim().slice(0, MAX_LINE_CHARS);
      if (line === '') return;
      this.lastLine = line;
      logger.debug({ line }, 'the browser printed');
    });
  }
}
