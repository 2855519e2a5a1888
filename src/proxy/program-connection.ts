/**
 * What all the protocols of the proxy do with an accepted socket: dial for it, join it, refuse it. The socket stays
 * theirs; what they need is passed as a `ProxyContext`.
 */
import type { Socket } from 'node:net';
import { type FaultName, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { pipeSocket } from '../tunnel/stream/socket-pipe.ts';
import { holdWriteErrors } from '../tunnel/stream/socket-reset.ts';
import type { StreamOpener, Target, TunnelStream } from '../tunnel/stream/stream.ts';
import type { CredentialCheck } from './credentials.ts';
import type { Leaving } from './leaving.ts';
import type { ProxyLimits } from './proxy-limits.ts';

export interface ProxyContext {
  readonly opener: StreamOpener;
  /** Absent: everyone who reaches the port may use it. */
  readonly check: CredentialCheck | undefined;
  readonly logger: Logger;
  readonly limits: ProxyLimits;
  /** Those that carry something; they may outlive the socket of their program. */
  readonly streams: Set<TunnelStream>;
  readonly leaving: Leaving;
}

/**
 * Opens a stream for as long as the socket lives; rejects with a WstunError. The end of the program's writing alone is
 * a half-close and cancels nothing, but where the proxy is to end: most programs that give up close, and are not to be
 * told from one that waits for its answer. Node goes on reading a paused socket until its buffer is full, and so sees
 * resets.
 */
export async function openFor(socket: Socket, target: Target, context: ProxyContext): Promise<TunnelStream> {
  if (socket.destroyed) throw new WstunError('dial-cancelled');
  const gone = new AbortController();
  const cancel = (): void => gone.abort();
  socket.once('close', cancel);
  const leave = context.leaving.watch(() => {
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
    // A destination is for debugging only; a defect is for everyone.
    context.logger.debug({ target, fault }, 'stream not opened');
    if (fault === 'internal')
      context.logger.error({ error: String(error) }, 'a stream was not opened because of an internal error');
    throw error;
  } finally {
    leave();
    socket.off('close', cancel).off('end', cancel);
  }
}

/** The fault to tell the program of; anything but a WstunError is a defect. */
export function faultOf(error: unknown): FaultName {
  return error instanceof WstunError ? error.fault : 'internal';
}

/**
 * Until both are closed. `greeting` is what the program is told first: written here, so that a program that has sent
 * its bytes and reset the connection already does not lose them to a write that fails.
 */
export async function carry(
  socket: Socket,
  stream: TunnelStream,
  { logger, streams }: ProxyContext,
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

export function untilClosed(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}
