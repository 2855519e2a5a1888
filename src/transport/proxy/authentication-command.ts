/**
 * Runs the command of --proxy-auth-command: its output is the value of Proxy-Authorization. Neither the output nor the
 * challenge reaches a log or an error.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import type { HostPort } from '../../net/host-port.ts';
import type { Challenge } from './challenges.ts';

/** A ticket of Kerberos may need the network. */
const COMMAND_LIMIT_MS = 10_000;
/** Of its output, bytes: a ticket with many groups has 64 KiB at most (MaxTokenSize of Windows is 48,000). */
const MAX_OUTPUT_BYTES = 64 * 1024;

export interface CommandCall {
  readonly command: string;
  readonly challenge: Challenge;
  readonly proxy: HostPort;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** @throws WstunError proxy-command-failed, dial-cancelled */
export async function runAuthenticationCommand(call: CommandCall): Promise<string> {
  const child = startOrFail(call);
  const wait = new AbortableWait<string>({
    ...{ clock: call.clock, signal: call.signal, limitMs: COMMAND_LIMIT_MS },
    onExpired: (expired) => expired.reject(failed('it took longer than 10 s')),
  });
  const pieces: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes > MAX_OUTPUT_BYTES) return wait.reject(failed('it printed more than 64 KiB'));
    pieces.push(piece);
  });
  child.once('error', () => wait.reject(failed('it could not be started')));
  child.once('close', (code, signal) => {
    if (code !== 0) wait.reject(failed(code === null ? `it was ended by ${signal}` : `it ended with ${code}`));
    else wait.resolve(Buffer.concat(pieces).toString('utf8'));
  });
  try {
    return headerValueOf(await wait.promise);
  } finally {
    stop(child);
  }
}

/** Without processes or memory, the start itself throws. */
function startOrFail(call: CommandCall): ChildProcess {
  try {
    return start(call);
  } catch {
    throw failed('it could not be started');
  }
}

function start({ command, challenge, proxy }: CommandCall): ChildProcess {
  // Those of wstun hold secrets.
  const passed = Object.entries(process.env).filter(([name]) => !name.startsWith('WSTUN_'));
  return spawn(command, {
    shell: true,
    // A group of its own: what the shell has started ends with it.
    detached: process.platform !== 'win32',
    windowsHide: true,
    // What it writes there may hold a secret.
    stdio: ['ignore', 'pipe', 'ignore'],
    env: {
      ...Object.fromEntries(passed),
      WSTUN_PROXY_SCHEME: challenge.scheme,
      WSTUN_PROXY_CHALLENGE: challenge.text,
      WSTUN_PROXY_HOST: proxy.host,
      WSTUN_PROXY_PORT: String(proxy.port),
    },
  });
}

/** One line of visible characters. */
function headerValueOf(output: string): string {
  const value = output.replace(/\r?\n$/, '').trim();
  if (value === '') throw failed('it printed nothing');
  if (!/^[\x20-\x7e]+$/.test(value)) throw failed('it printed something else than one line of ASCII');
  return value;
}

function stop(child: ChildProcess): void {
  child.stdout?.destroy();
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  try {
    if (process.platform === 'win32') child.kill();
    else process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

function failed(reason: string): WstunError {
  return new WstunError('proxy-command-failed', reason);
}
