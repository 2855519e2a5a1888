/** What all protocols do with a program's socket: open a stream for it, pipe it, end it with an answer. */
import type { Socket } from 'node:net';
import { type FaultName, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { AssociationOpener, ListenerOpener } from '../tunnel/stream/services.ts';
import { pipeSocket } from '../tunnel/stream/socket-pipe.ts';
import { holdWriteErrors } from '../tunnel/stream/socket-reset.ts';
import type { StreamOpener, Target, TunnelStream } from '../tunnel/stream/stream.ts';
import type { CredentialCheck } from './credentials.ts';
import type { AskedAt, OwnPages } from './own-answers.ts';
import { isOwnHost, openOwnHost } from './own-host-stream.ts';
import type { ProxyLimits } from './proxy-limits.ts';
import type { ShutdownNotice } from './shutdown-notice.ts';
import type { Associations } from './udp/associations.ts';

/** What a connection needs whose target is known. */
export interface StreamContext {
  readonly opener: StreamOpener;
  /** Absent: everyone who reaches the port may use it. */
  readonly check: CredentialCheck | undefined;
  readonly logger: Logger;
  readonly limits: ProxyLimits;
  /** Those in use; they may outlive the socket of their program. */
  readonly streams: Set<TunnelStream>;
  readonly shutdown: ShutdownNotice;
  /** What the proxy answers itself. Absent: nothing, and `wstun.internal` is a name like others. */
  readonly own: OwnPages | undefined;
}

export interface ProxyContext extends StreamContext {
  readonly opener: StreamOpener & AssociationOpener;
  /** Ports at the exit, for BIND. Absent: there are none. */
  readonly listeners: ListenerOpener | undefined;
  /** Programs that wait for a connection to such a port. */
  readonly binds: Set<Socket>;
  readonly associations: Associations;
}

/**
 * Opens a stream for as long as the socket lives; rejects with a WstunError. A half-close by the program cancels
 * nothing, except while the proxy is shutting down: a program that gave up cannot be told apart from one that waits for
 * its answer. Node continues to read a paused socket until its buffer is full, and so sees resets.
 */
export async function openStream(socket: Socket, target: Target, context: StreamContext): Promise<TunnelStream> {
  if (socket.destroyed) throw new WstunError('dial-cancelled');
  const { own, limits } = context;
  if (own !== undefined && isOwnHost(target))
    return openOwnHost(target, own, askedAt(socket, context), limits.negotiationMs);
  const gone = new AbortController();
  const cancel = (): void => gone.abort();
  socket.once('close', cancel);
  const leave = context.shutdown.watch(() => {
    if (socket.readableEnded) cancel();
    else socket.once('end', cancel);
  });
  try {
    const stream = await context.opener.open(target, gone.signal);
    if (!gone.signal.aborted) return stream;
    stream.destroy();
    throw new WstunError('dial-cancelled');
  } catch (error) {
    const fault = faultOf(error);
    // A destination is only logged for debugging; an internal error is always logged.
    context.logger.debug({ target, fault }, 'stream not opened');
    if (fault === 'internal')
      context.logger.error({ error: String(error) }, 'a stream was not opened because of an internal error');
    throw error;
  } finally {
    leave();
    socket.off('close', cancel).off('end', cancel);
  }
}

/** Where the program has connected to, for what the proxy answers itself. */
export function askedAt(socket: Socket, { check }: Pick<ProxyContext, 'check'>): AskedAt {
  const { localAddress = '127.0.0.1', localPort = 0 } = socket;
  // A socket for both families shows IPv4 addresses as mapped ones.
  const host = localAddress.replace(/^::ffff:(?=\d+\.)/i, '');
  return { local: { host, port: localPort }, needsPassword: check !== undefined };
}

/** The fault that the program is told; anything but a WstunError is an internal error. */
export function faultOf(error: unknown): FaultName {
  return error instanceof WstunError ? error.fault : 'internal';
}

/** Pipes until both are closed. A failed write of `greeting` does not lose what the program has already sent. */
export async function pipe(
  socket: Socket,
  stream: TunnelStream,
  { logger, streams }: Pick<ProxyContext, 'logger' | 'streams'>,
  greeting?: Uint8Array | string,
): Promise<void> {
  streams.add(stream);
  holdWriteErrors(socket);
  if (greeting !== undefined) socket.write(greeting);
  const { error, fromSocket, toSocket } = await pipeSocket(socket, stream);
  streams.delete(stream);
  logger.debug({ target: stream.target, fromSocket, toSocket, cut: error?.message }, 'stream closed');
}

/**
 * Sends a last answer and a FIN, and waits until the program has closed too, for the given time at most. What it still
 * sends is read and dropped: the kernel answers a close over unread bytes with RST, which can overtake the answer.
 */
export async function endWith(socket: Socket, answer: Uint8Array, lingerMs: number): Promise<void> {
  if (socket.destroyed) return;
  const limit = setTimeout(() => socket.destroy(), lingerMs);
  const closed = untilClosed(socket);
  socket.end(answer);
  socket.resume();
  await closed;
  clearTimeout(limit);
}

/** What `receive` makes of the bytes. Undefined: it closed, ended or was silent too long. Leaves it paused. */
export function awaitBytes<T>(
  socket: Socket,
  deadline: number,
  receive: (bytes: Buffer) => T | undefined,
  first?: Buffer,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const settle = (outcome?: T): void => {
      clearTimeout(limit);
      socket.off('data', handleData).off('end', giveUp).off('close', giveUp).pause();
      resolve(outcome);
    };
    const handleData = (bytes: Buffer): void => {
      const outcome = receive(bytes);
      if (outcome !== undefined) settle(outcome);
    };
    const giveUp = (): void => settle();
    const limit = setTimeout(giveUp, deadline - performance.now());
    socket.on('data', handleData).on('end', giveUp).on('close', giveUp).resume();
    if (first !== undefined) handleData(first);
  });
}

export function untilClosed(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}
