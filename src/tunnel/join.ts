/**
 * Splices a TCP socket and a tunnel stream: bytes, half-closes, resets and back-pressure in both directions. The proxy joins
 * the program's socket with it, the exit the target's. Owns both ends from the call on; knows nothing of how either came
 * to be, and nothing of the tunnel but the stream interface.
 */
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { WstunError } from '../errors.ts';
import type { TunnelStream } from './stream.ts';

/**
 * How long a connection may rest without a byte once either side has finished. RFC 5382 §5 lets a NAT forget it after 4
 * minutes; without a bound, a program that is gone and a target that never closes would hold each other for ever.
 */
const HALF_CLOSED_IDLE_MS = 10 * 60_000;

/** How long a reset may go unnoticed on a socket that is not read. A look costs a system call, some 5 µs. */
const PAUSED_CHECK_MS = 1_000;

const NOTHING = new Uint8Array(0);

const AT_ONCE: Pace = { send: (chunk, sink) => sink.deliver(chunk) };

export interface JoinResult {
  /** Bytes that the socket brought, and bytes that it was given. */
  readonly fromSocket: number;
  readonly toSocket: number;
  /** Why the connection was cut; absent when both directions ended by themselves. */
  readonly error?: WstunError;
}

/** Where the bytes of one direction go on to. */
export interface PaceSink {
  /** Takes a piece of the chunk, in order. */
  deliver(piece: Uint8Array): void;
  /** Nothing more can be delivered: the rest is to be dropped. */
  isGone(): boolean;
}

/** Decides when bytes go on. */
export interface Pace {
  /** Delivers the chunk, whole or in pieces, at once or later. The next one comes only when this one is delivered. */
  send(chunk: Uint8Array, sink: PaceSink): void;
}

export interface JoinOptions {
  /** Absent: all goes on at once. */
  readonly paces?: { readonly fromSocket: Pace; readonly toSocket: Pace };
  /** See HALF_CLOSED_IDLE_MS; for tests. Milliseconds. */
  readonly halfClosedIdleMs?: number;
  /** See PAUSED_CHECK_MS; for tests. Milliseconds. */
  readonly pausedCheckMs?: number;
}

/**
 * Joins the two until both are closed; never rejects. The socket must have been made with `allowHalfOpen`; what was
 * read from it too early is to be `unshift`ed first. A reset on one side becomes a reset on the other: what is still on its
 * way then is lost, and neither end ever sees it as a clean end.
 */
export function joinSocket(socket: Socket, stream: TunnelStream, options: JoinOptions = {}): Promise<JoinResult> {
  const before = { read: socket.bytesRead - socket.readableLength, written: socket.bytesWritten };
  let error: WstunError | undefined;
  const cut = (cause: WstunError): void => {
    error ??= cause;
    if (!stream.destroyed) stream.destroy(cause);
    resetSocket(socket);
  };
  const closed = Promise.all([
    watch(socket, (cause) => cut(asReset(cause, 'by the local side'))),
    watch(stream, (cause) => cut(asReset(cause, 'by the tunnel'))),
  ]);
  const { fromSocket = AT_ONCE, toSocket = AT_ONCE } = options.paces ?? {};
  pump(stream, socket, toSocket, () => socket.end());
  pump(socket, stream, fromSocket, () => whenTrulyEnded(socket, () => stream.end()));
  noticeResets(socket, options.pausedCheckMs);
  limitHalfClosed(socket, stream, options.halfClosedIdleMs ?? HALF_CLOSED_IDLE_MS, () =>
    cut(new WstunError('target-reset', 'half-closed and idle')),
  );
  return closed.then(() => ({
    fromSocket: socket.bytesRead - before.read,
    toSocket: socket.bytesWritten - before.written,
    ...(error === undefined ? {} : { error }),
  }));
}

/**
 * Closes with RST, so that the other end cannot take it for a clean end. While a FIN is being sent, libuv refuses to
 * reset (EINVAL) and Node then loses the handle: the descriptor would stay open. That lasts one turn of the event loop.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const finishing = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (finishing) socket.once('finish', () => resetSocket(socket));
  else socket.resetAndDestroy();
}

/**
 * Fails a socket that is reset while nobody reads it: libuv does not poll it then, so the reset would be seen only when there is
 * room again, if ever. A write of nothing fails on a reset connection, and does nothing to any other: not to one that is slow, nor
 * to one whose FIN stands behind unread bytes. While other writes are under way libuv polls; after our own FIN, or when the
 * other end's was read, the idle limit must do. Returns what ends it; a socket that is closed needs no end.
 */
export function noticeResets(socket: Socket, everyMs = PAUSED_CHECK_MS): () => void {
  let timer: NodeJS.Timeout | undefined;
  // Not cleared when reading goes on: one that pauses after each read would set a timer each time.
  const begin = (): void => {
    timer ??= setTimeout(check, everyMs).unref();
  };
  const check = (): void => {
    timer = undefined;
    // A write restarts the timer of the idle limit, so there must be none behind the end.
    if (!socket.isPaused() || !socket.writable || socket.readableEnded) return;
    if (socket.writableLength === 0) socket.write(NOTHING);
    begin();
  };
  socket.on('pause', begin);
  if (socket.isPaused()) begin();
  return () => {
    socket.off('pause', begin);
    clearTimeout(timer);
  };
}

/** Hands over what is read. A write that the kernel took at once needs no pause, although it returned false: that pays. */
function pump(from: Readable, to: Writable, pace: Pace, onEnd: () => void): void {
  let full = false;
  let ended = false;
  /** Bytes of the last chunk that the pace keeps back. */
  let held = 0;
  const goOn = (): void => {
    if (full || held > 0) return;
    if (from.isPaused()) from.resume();
  };
  const sink: PaceSink = {
    isGone: () => to.destroyed,
    deliver: (piece) => {
      held -= piece.length;
      full = !to.write(piece) && to.writableLength > 0;
      if (held > 0) return;
      if (ended) onEnd();
      else goOn();
    },
  };
  from.on('data', (chunk: Uint8Array) => {
    held = chunk.length;
    pace.send(chunk, sink);
    if (full || held > 0) from.pause();
  });
  to.on('drain', () => {
    full = false;
    goOn();
  });
  // Node emits 'end' even on a paused socket if nothing is buffered: before the join, or while the last chunk is held.
  const handleEnd = (): void => {
    ended = true;
    if (held === 0) onEnd();
  };
  if (from.readableEnded) handleEnd();
  else from.once('end', handleEnd);
  from.resume();
}

/**
 * libuv reports a reset that came right behind data as a clean end (POLLHUP after a partial read; libuv/libuv#4997 mends it,
 * Node 20 is without). A write of nothing puts no byte on the wire but fails on a reset connection, as do writes under way.
 * After our own FIN there is no such test, and the end is believed.
 */
function whenTrulyEnded(socket: Socket, onEnd: () => void): void {
  if (socket.writableEnded || socket.writableLength > 0) setImmediate(onEnd);
  else socket.write(NOTHING, (error) => !error && onEnd());
}

/** Resolves on 'close'; calls `onCut` if that is not the end of both directions. */
function watch(end: Socket | TunnelStream, onCut: (cause: Error | undefined) => void): Promise<void> {
  end.on('error', onCut);
  if (end.destroyed) {
    onCut(undefined);
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    end.once('close', () => {
      if (!end.readableEnded || !end.writableFinished) onCut(undefined);
      resolve();
    });
  });
}

function asReset(cause: Error | undefined, detail: string): WstunError {
  if (cause instanceof WstunError) return cause;
  return new WstunError('target-reset', detail, { cause });
}

/** The socket's own timer restarts at every byte in either direction, at no cost. */
function limitHalfClosed(socket: Socket, stream: TunnelStream, idleMs: number, onIdle: () => void): void {
  const begin = (): void => {
    if (!socket.destroyed) socket.setTimeout(idleMs);
  };
  if (socket.readableEnded || stream.readableEnded) begin();
  socket.once('end', begin);
  stream.once('end', begin);
  socket.once('timeout', onIdle);
}
