/**
 * Real programs as child processes: none of them survives the test that started it, even if the test runner is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PATIENCE } from '../patience.ts';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  /** Beside PATH, HOME and LANG: nothing else of the environment is passed on, least of all proxies. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Of this process: 3, 4, … in the child. */
  readonly descriptors?: readonly number[];
  /** In front of the command: a namespace to run it in. */
  readonly within?: readonly string[];
}

/** What wstun keeps is to be neither in the home of whoever runs the tests, nor known to the next one. */
function ownHomes(env: SpawnOptions['env']): { readonly XDG_STATE_HOME?: string; readonly XDG_CACHE_HOME?: string } {
  if (env?.HOME !== undefined) return {};
  const home = (kind: string) => join(tmpdir(), `wstun-test-${kind}-${process.pid}`);
  return { XDG_STATE_HOME: home('state'), XDG_CACHE_HOME: home('cache') };
}

/** A child that the kernel kills when this process dies (prctl(2), PR_SET_PDEATHSIG), in whichever way. */
export function spawnBound(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const { PATH = '', HOME = '/' } = process.env;
  const command = [...(options.within ?? []), program, ...args];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    stdio: ['pipe', 'pipe', 'pipe', ...(options.descriptors ?? [])],
    env: { PATH: `${PATH}:/usr/sbin:/sbin`, HOME, LANG: 'C.UTF-8', ...ownHomes(options.env), ...options.env },
    cwd: options.cwd,
  });
  // A program that ends before it has read all its input is for its exit code to judge.
  child.stdin?.on('error', () => {});
  return child;
}

/** Runs a program to its end; killed, with exit code null, if that takes longer than PATIENCE times `limitMs`. */
export async function run(
  program: string,
  args: readonly string[],
  options: SpawnOptions & { readonly input?: string | Uint8Array; readonly limitMs?: number } = {},
): Promise<Outcome> {
  const child = spawnBound(program, args, options);
  const limit = setTimeout(() => child.kill('SIGKILL'), (options.limitMs ?? 15_000) * PATIENCE);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('latin1').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.stdin?.end(options.input ?? '');
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(limit);
  return { code, signal, ...output };
}

/** As `run`, for a program that must succeed. Its stdout. */
export async function runWell(...args: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  if (code === 0) return stdout;
  throw new Error(`${args[0]} ${args[1].join(' ')}\nended with ${code}\n${stderr}${stdout}`);
}

export interface RunningServer {
  /** Before the test is over. */
  end(): Promise<void>;
}

/**
 * Starts a server that runs until the test is over, and waits until it accepts connections. `end`: the signal by which
 * it takes along the processes that it has started.
 */
export async function startServer(
  program: string,
  args: readonly string[],
  port: number,
  { end = 'SIGKILL', ...options }: SpawnOptions & { readonly end?: NodeJS.Signals } = {},
): Promise<RunningServer> {
  const child = spawnBound(program, args, options);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const closed = once(child, 'close');
  const stop = async (): Promise<void> => {
    child.kill(end);
    await closed;
  };
  atEnd(stop);
  let open = false;
  await until(() => {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}\n${output}`);
    const probe = connect(port, '127.0.0.1', () => {
      open = true;
      probe.destroy();
    });
    probe.on('error', () => {});
    return open;
  }, 10_000);
  return { end: stop };
}

/** For programs that cannot be told to choose a port themselves. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
