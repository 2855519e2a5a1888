/**
 * The `wstun` program as real processes: start, wait for its events, look at its memory and descriptors, and end it.
 * Whatever a test does with it, at its end the process is dead, and what it printed is searched for secrets and for
 * defects.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';
import { type Outcome, run, type SpawnOptions, spawnBound } from './programs.ts';
import { commonEnv, wstunPath } from './wstun-program.ts';

const EVENT_LIMIT_MS = 10_000;
const MIB = 1024 * 1024;

/** What runs wstun. */
let node = process.execPath;

/** From now on another release of Node runs wstun in the tests of this file. @param path its program */
export function runOnNode(path: string): void {
  node = path;
}

export interface WstunEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Runs a command to its end. */
export async function wstun(args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<Outcome> {
  const outcome = await run(node, [wstunPath, ...args], options);
  refuseDefects(outcome.stderr);
  return outcome;
}

export class WstunProcess {
  /** All lines of JSON on stdout so far. */
  readonly events: WstunEvent[] = [];
  /** Resolves with the exit code, or the name of the signal that ended it. */
  readonly exited: Promise<number | string>;
  /** In front of a command that is to run where it does. */
  readonly within: readonly string[];
  private readonly child: ChildProcess;
  private readonly args: readonly string[];
  private out = '';
  private err = '';
  private exit: number | string | undefined;
  private seen = 0;

  /** `through`: a program that runs wstun, instead of wstun itself. */
  constructor(args: readonly string[], { through, ...options }: SpawnOptions & { through?: string } = {}) {
    this.args = args;
    this.within = options.within ?? [];
    const [program, first] = through === undefined ? [node, [wstunPath]] : [through, []];
    this.child = spawnBound(program, [...first, ...args], { ...options, env: { ...commonEnv, ...options.env } });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.receive(text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.exited = once(this.child, 'close').then(([code, signal]) => {
      this.exit = (code ?? signal) as number | string;
      return this.exit;
    });
    atEnd(async () => {
      await this.kill();
      refuseDefects(this.err);
      refuseSecrets(this.err);
    });
  }

  get isRunning(): boolean {
    return this.exit === undefined;
  }

  get stderr(): string {
    return this.err;
  }

  get stdout(): string {
    return this.out;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The next event of that name since the last that was waited for. */
  async event(name: string, limitMs = EVENT_LIMIT_MS): Promise<WstunEvent> {
    const find = () => this.events.findIndex(({ event }, at) => at >= this.seen && event === name);
    await until(() => find() >= 0 || this.exit !== undefined, limitMs).catch(() => {});
    const found = this.events[find()];
    if (found === undefined) throw new Error(`no event "${name}" from ${this.describe()}`);
    this.seen = find() + 1;
    return found;
  }

  /** Of /proc/PID/status, in MiB: resident now, and the most since the start or since `resetPeak`. */
  memory(): { readonly resident: number; readonly peak: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    const kibOf = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
    return { resident: (kibOf('VmRSS') * 1024) / MIB, peak: (kibOf('VmHWM') * 1024) / MIB };
  }

  /** What a person types. */
  type(text: string): void {
    this.child.stdin?.write(text);
  }

  openDescriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Of its descriptors the sockets alone: files come and go. */
  openSockets(): number {
    const directory = `/proc/${this.pid}/fd`;
    return readdirSync(directory).filter((fd) => targetOf(join(directory, fd)).startsWith('socket:')).length;
  }

  /** On its stdin. */
  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** SIGKILL: it cannot say goodbye to anyone. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** For messages of failed tests. */
  describe(): string {
    const state = this.exit === undefined ? 'runs' : `ended with ${this.exit}`;
    return `wstun ${this.args.join(' ')} (${state})\n--- stdout\n${this.out}--- stderr\n${this.err}`;
  }

  private receive(text: string): void {
    this.out += text;
    const lines = this.out.slice(0, this.out.lastIndexOf('\n') + 1).split('\n');
    const events = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as WstunEvent);
    this.events.push(...events.slice(this.events.length));
  }
}

/** Empty where it is closed by now. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** The lines on its stderr in which that is. */
export function linesWith({ stderr }: { readonly stderr: string }, text: string): readonly string[] {
  return stderr.split('\n').filter((line) => line.includes(text));
}

/** No line of a stack trace, no error-level log but of a fault that its owner can mend, no fault of wstun's own. */
function refuseDefects(stderr: string): void {
  const found =
    /^\s+at .*:\d+:\d+\)?$|"level":"(?:error|fatal)"(?!.*"code":"WSTUN-E[1-8])|^\S+Z error: (?!.*code=WSTUN-E[1-8])|WSTUN-E900|[Uu]nhandled|[Dd]eprecat/m.exec(
      stderr,
    );
  if (found) throw new Error(`wstun printed "${found[0]}":\n${stderr}`);
}

/**
 * Keys, tickets and invites are all base64url, the shortest a 32-byte key of 43 characters; nothing else logged is that
 * long.
 */
export function refuseSecrets(text: string): void {
  const found = /wstun(?:sk)?1_[A-Za-z0-9_-]{8,}|[A-Za-z0-9_-]{40,}/.exec(text);
  if (found) throw new Error(`wstun printed what looks like a secret (${found[0].slice(0, 12)}…):\n${text}`);
}
