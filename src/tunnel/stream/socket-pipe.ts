/**
 * Pipes a TCP socket and a tunnel stream into each other: bytes, half-closes, resets and back-pressure in both
 * directions. The proxy does so with the program's socket, the exit with the target's. Owns both ends from the call on;
 * knows of the tunnel only the stream interface. What a socket needs for a reset to lose no bytes is socket-reset.ts.
 */
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { type Clock, systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { ownRead, type Piece, release } from '../../memory/pieces.ts';
import { WrittenPieces } from '../../memory/written-pieces.ts';
import {
  confirmEnd,
  detectResets,
  holdWriteErrors,
  RESET_WAIT_MS,
  resetSocket,
  resetWhenDelivered,
  takeUnread,
  type WriteErrors,
} from './socket-reset.ts';
import { onStandstill } from './standstill.ts';
import type { TunnelStream } from './stream.ts';

/** Longest silence once either side has finished, ms. A NAT may forget it after 4 minutes (RFC 5382 §5). */
export const HALF_CLOSED_IDLE_MS = 10 * 60_000;

const NOTHING = new Uint8Array(0);

const AT_ONCE: RateLimiter = { send: (chunk, sink) => sink.deliver(chunk) };

export interface PipeResult {
  /** Bytes read from the socket, and bytes written to it. */
  readonly fromSocket: number;
  readonly toSocket: number;
  /** Why the connection was aborted; absent when both directions ended cleanly. */
  readonly error?: WstunError;
}

/** Where a limiter sends the bytes of one direction. */
export interface LimiterSink {
  /** Takes a piece of the chunk, in order. */
  deliver(piece: Piece): void;
  /** Nothing more can be delivered: drop the rest. */
  isGone(): boolean;
}

/** Decides when bytes are delivered. */
export interface RateLimiter {
  /** Takes the chunk and delivers it, whole or in pieces, now or later; the next one comes after that. */
  send(chunk: Piece, sink: LimiterSink): void;
}

export interface PipeOptions {
  /** Absent: everything is delivered at once. */
  readonly limiters?: { readonly fromSocket: RateLimiter; readonly toSocket: RateLimiter };
  /** See HALF_CLOSED_IDLE_MS; for tests. Milliseconds. */
  readonly halfClosedIdleMs?: number;
  /** As of `detectResets`; for tests. Milliseconds. */
  readonly pausedCheckMs?: number;
  /** See RESET_WAIT_MS; for tests. Milliseconds. */
  readonly resetWaitMs?: number;
  readonly clock?: Clock;
}

/**
 * Pipes until both are closed; never rejects. The socket must have been made with `allowHalfOpen`; bytes that were read
 * from it too early must be `unshift`ed first. A reset on one side becomes a reset on the other, after all bytes that
 * came before it, and neither end ever sees it as a clean end. Any other fault of the stream (a quota, the loss of the
 * session) resets the socket at once.
 */
export function pipeSocket(socket: Socket, stream: TunnelStream, options: PipeOptions = {}): Promise<PipeResult> {
  return new SocketPipe(socket, stream, options).closed;
}

class SocketPipe {
  readonly closed: Promise<PipeResult>;
  private readonly resetWaitMs: number;
  private readonly clock: Clock;
  private readonly fromSocket: Flow;
  private readonly toSocket: Flow;
  private error: WstunError | undefined;
  private limited = false;

  constructor(
    private readonly socket: Socket,
    private readonly stream: TunnelStream,
    options: PipeOptions,
  ) {
    this.resetWaitMs = options.resetWaitMs ?? RESET_WAIT_MS;
    this.clock = options.clock ?? systemClock;
    const before = { read: socket.bytesRead - socket.readableLength, written: socket.bytesWritten };
    const writes = holdWriteErrors(socket);
    const { fromSocket = AT_ONCE, toSocket = AT_ONCE } = options.limiters ?? {};
    const written = new WrittenPieces(socket);
    this.toSocket = new Flow(stream, socket, toSocket, {
      take: (chunk) => chunk,
      write: (piece) => written.write(piece),
      whenEnded: (onEnd) => onEnd(),
    });
    this.fromSocket = new Flow(socket, stream, fromSocket, {
      take: ownRead,
      write: (piece) => stream.write(piece),
      whenEnded: (onEnd) => confirmEnd(socket, writes, onEnd),
    });
    const closed = Promise.all([
      watch(socket, (cause) => this.handleSocketLost(cause)),
      watch(stream, (cause) => this.handleStreamLost(cause)),
    ]);
    writes.onError(() => this.handleWriteError(writes));
    detectResets(socket, options.pausedCheckMs, this.clock);
    const idleMs = options.halfClosedIdleMs ?? HALF_CLOSED_IDLE_MS;
    limitHalfClosed(socket, stream, idleMs, () => this.abort('it was half-closed and idle'));
    this.closed = closed.then(() => ({
      fromSocket: socket.bytesRead - before.read,
      toSocket: socket.bytesWritten - before.written,
      ...(this.error === undefined ? {} : { error: this.error }),
    }));
  }

  /** The connection is reset, and bytes that were received before are still being read. */
  private handleWriteError({ error }: WriteErrors): void {
    const lose = (): void => this.handleSocketLost(error);
    this.toSocket.drop();
    // Whether the end was clean is being confirmed, and is known in this turn.
    if (this.socket.readableEnded) return void setImmediate(lose);
    this.socket.once('end', lose);
    this.limitStandstill();
  }

  /** Bytes that were read before are delivered; then the stream is reset. */
  private handleSocketLost(cause: Error | undefined): void {
    if (this.error !== undefined) return;
    const error = asReset(cause, 'by the local side');
    this.error = error;
    this.toSocket.drop();
    this.limitStandstill();
    this.fromSocket.endWith(takeUnread(this.socket), () => resetWhenTaken(this.stream, error));
    this.socket.destroy();
  }

  /** While bytes of a closed socket wait for the tunnel. Time without a link does not count: nothing is lost then. */
  private limitStandstill(): void {
    if (this.limited || this.stream.destroyed) return;
    this.limited = true;
    const [socket, stream, flow] = [this.socket, this.stream, this.fromSocket];
    let looks = 0;
    const stop = onStandstill(
      this.clock,
      () => `${socket.bytesRead} ${stream.writableLength} ${flow.held} ${stream.isAway ? ++looks : ''}`,
      this.resetWaitMs,
      () => this.abort('it was reset, and the data before the reset was not read'),
    );
    stream.once('close', stop);
  }

  private handleStreamLost(cause: Error | undefined): void {
    if (this.error !== undefined) return;
    this.error = asReset(cause, 'by the tunnel');
    this.fromSocket.drop();
    const isSocketsReset = cause instanceof WstunError && cause.fault === 'target-reset';
    if (!isSocketsReset) return resetSocket(this.socket);
    this.toSocket.endWith([], () => resetWhenDelivered(this.socket, this.resetWaitMs, this.clock));
  }

  /** Resets both at once, whatever is on its way. */
  private abort(detail: string): void {
    this.error ??= new WstunError('target-reset', detail);
    this.stream.destroy(this.error);
    resetSocket(this.socket);
  }
}

/** How the two directions differ. */
interface FlowEnds {
  /** Marks the chunk as owned by this process, if it is. */
  take(chunk: Uint8Array): Piece;
  /** Takes the piece; as of a Writable. */
  write(piece: Piece): boolean;
  /** Called at 'end'; calls back if that is a clean end. */
  whenEnded(onEnd: () => void): void;
}

/** One direction. A write that the kernel took at once needs no pause, although it returned false: saves CPU. */
class Flow implements LimiterSink {
  /** Bytes of the last chunk that the limiter has not delivered yet. */
  held = 0;
  private full = false;
  private ended = false;
  private dropping = false;
  private last: { readonly rest: Piece[]; readonly then: () => void } | undefined;

  constructor(
    private readonly from: Readable,
    private readonly to: Writable,
    private readonly limiter: RateLimiter,
    private readonly ends: FlowEnds,
  ) {
    from.on('data', (chunk: Uint8Array) => this.handleData(chunk));
    to.on('drain', () => {
      this.full = false;
      this.goOn();
    });
    // Node emits 'end' even on a paused socket: before the pipe began, or while the last chunk is held.
    const handleEnd = (): void => ends.whenEnded(() => this.handleEnd());
    if (from.readableEnded) handleEnd();
    else from.once('end', handleEnd);
    from.resume();
  }

  /** Everything from now on is read and dropped, so that its sender does not stall. */
  drop(): void {
    this.dropping = true;
    this.held = 0;
    this.from.resume();
  }

  /** Delivers these last chunks after what the limiter holds, then calls `then`. */
  endWith(rest: Piece[], then: () => void): void {
    this.last = { rest, then };
    this.sendLast();
  }

  isGone(): boolean {
    return this.dropping || this.to.destroyed;
  }

  deliver(piece: Piece): void {
    this.held -= piece.length;
    this.full = !this.ends.write(piece) && this.to.writableLength > 0;
    if (this.held > 0) return;
    if (this.last !== undefined) this.sendLast();
    else if (this.ended) this.to.end();
    else this.goOn();
  }

  private handleData(chunk: Uint8Array): void {
    const piece = this.ends.take(chunk);
    if (this.dropping) return release(piece);
    this.send(piece);
    if (this.full || this.held > 0) this.from.pause();
  }

  private handleEnd(): void {
    this.ended = true;
    if (this.held === 0 && !this.dropping) this.to.end();
  }

  private send(chunk: Piece): void {
    this.held = chunk.length;
    this.limiter.send(chunk, this);
  }

  /** However full the other end is: it is not much, and nothing follows. */
  private sendLast(): void {
    const { rest, then } = this.last ?? {};
    if (this.held > 0 && !this.isGone()) return;
    const chunk = rest?.shift();
    if (chunk !== undefined) return this.send(chunk);
    this.last = undefined;
    if (this.ended && !this.to.writableEnded && !this.to.destroyed) this.to.end();
    then?.();
  }

  private goOn(): void {
    if (this.full || this.held > 0) return;
    if (this.from.isPaused()) this.from.resume();
  }
}

/** Resets the stream after all that was written to it, and after its end if it was ended. */
function resetWhenTaken(stream: TunnelStream, error: WstunError): void {
  const reset = (): void => void stream.destroy(error);
  if (stream.writableEnded && !stream.writableFinished) stream.once('finish', reset);
  else if (stream.writableLength > 0) stream.write(NOTHING, reset);
  else reset();
}

/** Resolves on 'close'; calls `onLost` if not both directions have ended. */
function watch(end: Socket | TunnelStream, onLost: (cause: Error | undefined) => void): Promise<void> {
  end.on('error', onLost);
  if (end.destroyed) {
    onLost(undefined);
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    end.once('close', () => {
      if (!end.readableEnded || !end.writableFinished) onLost(undefined);
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
