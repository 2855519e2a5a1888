/**
 * The processes under measurement: how they are started, what the kernel counts of them, how they end. Linux only
 * (/proc).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Memory } from './memory.ts';

/** Compiled files of the benchmark lie beside this one. */
export function benchFile(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 10_000;
/** Three full collections of a heap of hundreds of megabytes, on a busy machine. */
const MEMORY_LIMIT_MS = 30_000;
/** USER_HZ: 100 on every Linux that Node runs on (proc(5)). */
const TICKS_PER_SECOND = 100;

export interface ProgramOptions {
  /** The Node that runs it; the one that runs the benchmark where none is given. */
  readonly program?: string;
  /** Flags for node itself. */
  readonly node?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Loads the probe, so that `settledMemory` can be asked. */
  readonly probe?: boolean;
}

/** A line of V8's --trace-gc begins so: its process and isolate. */
const TRACE = /^\[\d+:0x[0-9a-f]+\]/;

export class Program {
  readonly name: string;
  /** Full collections so far, where it runs with --trace-gc. */
  fullCollections = 0;
  private readonly child: ChildProcess;
  private readonly lines: Interface;
  private readonly waiting: ((line: string | Error) => void)[] = [];
  private readonly unread: string[] = [];
  private errors = '';

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.child = child;
    if (child.stdout === null) throw new Error('no stdout');
    this.lines = createInterface({ input: child.stdout });
    this.lines.on('line', (line) => this.take(line));
    child.stderr?.on('data', (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-4000);
    });
    child.once('exit', (code, signal) => {
      const error = new Error(`${name} ended (${code ?? signal}): ${this.errors}`);
      for (const fail of this.waiting.splice(0)) fail(error);
    });
  }

  static start(name: string, script: string, args: readonly string[], options: ProgramOptions = {}): Program {
    const probe = options.probe ? ['--import', new URL('probe.js', import.meta.url).href] : [];
    const command = [options.program ?? process.execPath, ...(options.node ?? []), ...probe, script, ...args];
    return Program.run(name, command, options);
  }

  /** Anything that can be run, Node or not. @param descriptors that it gets as 3 and so on */
  static run(
    name: string,
    [program = '', ...args]: readonly string[],
    { env, descriptors = [] }: Pick<ProgramOptions, 'env'> & { readonly descriptors?: readonly number[] } = {},
  ): Program {
    // Even a benchmark that is killed takes it along: prctl(2), PR_SET_PDEATHSIG. The process stays the same, its id
    // with it.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe', ...descriptors],
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    return new Program(name, child);
  }

  private take(line: string): void {
    if (TRACE.test(line)) {
      if (line.includes('Mark-Compact')) this.fullCollections += 1;
      return;
    }
    const next = this.waiting.shift();
    if (next) next(line);
    else this.unread.push(line);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The next line of its stdout, within `limitMs`. */
  line(limitMs: number): Promise<string> {
    const ready = this.unread.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name} says nothing: ${this.errors}`)), limitMs);
      this.waiting.push((line) => {
        clearTimeout(timer);
        if (line instanceof Error) reject(line);
        else resolve(line);
      });
    });
  }

  /** The fields of its line {"event":"ready",…}. */
  ready<T>(limitMs = START_LIMIT_MS): Promise<T> {
    return this.event<T>('ready', limitMs);
  }

  /** Throws away what it has printed before. */
  private async event<T>(name: string, limitMs: number): Promise<T> {
    for (;;) {
      const said = JSON.parse(await this.line(limitMs)) as T & { readonly event?: string };
      if (said.event === name) return said;
    }
  }

  /** One request a line, one answer a line. */
  async ask<T>(request: object, limitMs: number): Promise<T> {
    this.child.stdin?.write(`${JSON.stringify(request)}\n`);
    const answer = JSON.parse(await this.line(limitMs)) as T & { failed?: string };
    if (answer.failed !== undefined) throw new Error(`${this.name}: ${answer.failed}`);
    return answer;
  }

  /** User and system time of all its threads so far, and of the processes that it has started, s. */
  get cpuSeconds(): number {
    return sum(familyOf(this.pid).map((pid) => cpuSecondsIn(`/proc/${pid}/stat`)));
  }

  /** The same of the thread that runs JavaScript; the others are mostly helpers of the garbage collector. */
  get mainThreadSeconds(): number {
    return cpuSecondsIn(`/proc/${this.pid}/task/${this.pid}/stat`);
  }

  /** The most that it ever had resident, and each process that it has started, bytes (VmHWM). */
  get peakResident(): number {
    return sum(familyOf(this.pid).map(peakResidentOf));
  }

  /** Files and sockets that it has open. */
  get openFiles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Needs `probe`. */
  async settledMemory(): Promise<Memory> {
    this.child.kill('SIGUSR2');
    return await this.event<Memory>('memory', MEMORY_LIMIT_MS);
  }

  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  /** Without a word to anybody. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  private async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    const limit = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    this.child.kill(signal);
    await exited;
    clearTimeout(limit);
    this.lines.close();
  }
}

/** A process and those that it has started, which a server of ssh does for each connection. */
export function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(familyOf)];
}

/** Processes that its main thread has started. */
export function childrenOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return children.split(' ').filter(Boolean).map(Number);
}

/** Resident memory of a process, bytes; what it shares with others counts in equal parts (proc(5), Pss). */
export function proportionalSetOf(pid: number): number {
  const [, kibibytes] = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')) ?? [];
  return Number(kibibytes) * 1024;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function peakResidentOf(pid: number): number {
  const [, kibibytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kibibytes) * 1024;
}

/** proc(5): utime and stime of /proc/PID/stat. */
function cpuSecondsIn(file: string): number {
  const stat = readFileSync(file, 'latin1');
  // The command's name may hold spaces; behind its bracket, utime and stime are the 12th and 13th fields.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Nothing may outlive the benchmark, however it ends. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
