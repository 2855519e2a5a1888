/** `wstun run`: one program with the proxy in its environment. On stdout there is only what the program prints. */
import { constants } from 'node:os';
import type { Command } from 'commander';
import type { Client } from '../app/client.ts';
import { WstunError } from '../errors.ts';
import { withProxy } from '../programs/proxy-environment.ts';
import { runProgram } from '../programs/run-program.ts';
import { hasTerminal } from './hangups.ts';
import { endSoonBy, Output } from './output.ts';
import { planProgramProxy } from './program-proxy.ts';

interface RunOptions {
  readonly socks: boolean;
  readonly verbose?: boolean;
}

/** As shells have it: the program is there and cannot be started, or is not there. */
const NOT_STARTED = 126;
const MISSING = 127;

/** Ends the process with the exit code of the program. */
export async function runRun(program: string, args: readonly string[], command: Command): Promise<void> {
  const options = command.opts<RunOptions>();
  const output = new Output({ ...options, isBeside: true });
  const { value: proxy, signal } = await untilSignal(await planProgramProxy(command, { output }));
  if (proxy === undefined) {
    process.exitCode = 128 + constants.signals[signal ?? 'SIGTERM'];
    if (signal !== undefined) endSoonBy(signal);
    return;
  }
  const { address, credentials, own } = proxy;
  const finalFault = own && faultOf(own);
  const env = withProxy(process.env, { address, credentials, socks: options.socks });
  try {
    process.exitCode = await runProgram({ program, args, env, hasTerminal: hasTerminal() });
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    output.say(`${error.message}`);
    process.exitCode = error.fault === 'program-missing' ? MISSING : NOT_STARTED;
  } finally {
    await proxy.close();
  }
  const fault = finalFault?.();
  // While the program ran, its terminal was not ours to write to.
  if (fault !== undefined) output.say(`the tunnel ended while the program ran: ${fault.message}`);
}

/** What has ended the client for good, when it is asked for. */
function faultOf({ ended }: Client): () => WstunError | undefined {
  let fault: WstunError | undefined;
  ended.catch((error: unknown) => {
    fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
  });
  return () => fault;
}

/** What `act` resolves to, or the signal that came first, by which it was aborted. Rejects as `act` does. */
export async function untilSignal<T>(
  act: (signal: AbortSignal) => Promise<T>,
): Promise<{ readonly value?: T; readonly signal?: NodeJS.Signals }> {
  const stopping = new AbortController();
  let received: NodeJS.Signals | undefined;
  const stop = (signal: NodeJS.Signals) => {
    received = signal;
    stopping.abort();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    return { value: await act(stopping.signal) };
  } catch (error) {
    if (received !== undefined) return { signal: received };
    throw error;
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
