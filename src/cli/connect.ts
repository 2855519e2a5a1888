/** `wstun connect`: a target's connection on standard input and output. On stdout there is nothing else. */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { openThroughProxy } from '../programs/open-through-proxy.ts';
import { endSoonBy, Output } from './output.ts';
import { planProgramProxy } from './program-proxy.ts';
import { untilSignal } from './run.ts';

/** As of a program that SIGPIPE has ended: whoever read our output has gone. */
const READER_GONE = 128 + constants.signals.SIGPIPE;

/** Ends with exit code 0 when both directions have ended. @throws WstunError */
export async function runConnect(host: string, port: string, command: Command): Promise<void> {
  const target = targetOf(host, port);
  const { inviteFile, verbose } = command.opts<{ readonly inviteFile?: string; readonly verbose?: boolean }>();
  if (inviteFile === '-')
    throw new WstunError('bad-option', 'standard input is for the target, so --invite-file must not be -', {
      fix: 'Give the path of a file.',
    });
  const output = new Output({ verbose, isBeside: true });
  const plan = await planProgramProxy(command, { output });
  const { value: exitCode, signal } = await untilSignal(async (stopping) => {
    const { address: proxy, credentials, close } = await plan(stopping);
    try {
      return await pipeStdio(await openThroughProxy({ proxy, credentials, target, signal: stopping }), stopping);
    } finally {
      await close();
    }
  });
  process.exitCode = exitCode ?? 128 + constants.signals[signal ?? 'SIGTERM'];
  // Nobody may be left who would end it.
  process.stdin.destroy();
  if (signal !== undefined) endSoonBy(signal);
}

/** ssh gives an IPv6 address without brackets. @throws WstunError bad-option */
function targetOf(host: string, portText: string): HostPort {
  const name = host.replace(/^\[(.*)\]$/, '$1');
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (!/^[^\s/@?#[\]\p{Cc}]{1,255}$/u.test(name) || port < 1 || port > 65_535)
    throw new WstunError('bad-option', `this is not a target: ${JSON.stringify(`${host} ${portText}`)}`, {
      fix: 'Write a name or an address, and a port: wstun connect host.example 22.',
    });
  return { host: name, port };
}

/** Resolves with the exit code when both directions have ended. @throws WstunError target-reset, dial-cancelled */
function pipeStdio(socket: Socket, signal: AbortSignal): Promise<number> {
  const stdout = endableStdout();
  return new Promise((resolve, reject) => {
    const fail = (error: WstunError) => (): void => {
      socket.destroy();
      reject(error);
    };
    const leave = (): void => {
      socket.destroy();
      resolve(READER_GONE);
    };
    let isDelivered = false;
    const settle = (): void => {
      const isClean = socket.readableEnded && socket.writableFinished;
      if (socket.closed && !isClean) fail(new WstunError('target-reset'))();
      else if (socket.closed && isDelivered) resolve(0);
    };
    signal.addEventListener('abort', fail(new WstunError('dial-cancelled')), { once: true });
    stdout.on('error', leave);
    socket.on('error', fail(new WstunError('target-reset')));
    socket.on('close', settle);
    socket.on('data', (bytes: Buffer) => {
      if (stdout.write(bytes)) return;
      socket.pause();
      stdout.once('drain', () => socket.resume());
    });
    socket.once('end', () =>
      endOutput(stdout, () => {
        isDelivered = true;
        settle();
      }),
    );
    socket.resume();
    process.stdin.once('error', () => socket.end()).pipe(socket);
  });
}

/**
 * Node never closes process.stdout, so whoever reads it would not see the end of the target's bytes; and it blocks the
 * whole process while a pipe is full.
 */
function endableStdout(): Writable {
  const kind = fstatSync(1);
  if (process.platform === 'win32' || !(kind.isFIFO() || kind.isSocket())) return process.stdout;
  return new Socket({ fd: 1, readable: false, writable: true });
}

function endOutput(stdout: Writable, done: () => void): void {
  if (stdout === process.stdout) stdout.write('', done);
  else stdout.end(done);
}
