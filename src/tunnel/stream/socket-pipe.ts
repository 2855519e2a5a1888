/**
 * Splices a TCP socket and a tunnel stream: bytes, half-closes, resets and back-pressure in both directions. The proxy
 * joins the program's socket with it, the exit the target's. Owns both ends from the call on; knows nothing of how
 * either came to be, and nothing of the tunnel but the stream interface. What a socket needs for a reset to cost no
 * bytes is socket-reset.ts.
 */
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
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

/**
 * How long a connection may rest without a byte once either side has finished. RFC 5382 §5 lets a NAT forget it after 4
 * minutes; without a bound, a program that is gone and a target that never closes would hold each other for ever.
 */
export const HALF_CLOSED_IDLE_MS = 10 * 60_000;

const NOTHING = new Uint8Array(0);

const AT_ONCE: Pace = { send: (chunk, sink) => sink.deliver(chunk) };

export interface PipeResult {
  /** Bytes that the socket brought, and bytes that it was given. */
  readonly fromSocket: number;
  readonly toSocket: number;
  /** Why the connection was cut; absent when both directions ended by themselves. */
  readonly error?: WstunError;
}

/** Where the bytes of one direction go on to. */
export interface PaceSink {
  /** Takes a piece of the chunk, in order. */
  deliver(piece: Piece): void;
  /** Nothing more can be delivered: the rest is to be dropped. */
  isGone(): boolean;
}

/** Decides when bytes go on. */
export interface Pace {
  /**
   * Takes the chunk, and delivers it whole or in pieces, at once or later. The next one comes only when this one is
   * delivered.
   */
  send(chunk: Piece, sink: PaceSink): void;
}

export interface PipeOptions {
  /** Absent: all goes on at once. */
  readonly paces?: { readonly fromSocket: Pace; readonly toSocket: Pace };
  /** See HALF_CLOSED_IDLE_MS; for tests. Milliseconds. */
  readonly halfClosedIdleMs?: number;
  /** As of `detectResets`; for tests. Milliseconds. */
  readonly pausedCheckMs?: number;
  /** See RESET_WAIT_MS; for tests. Milliseconds. */
  readonly resetWaitMs?: number;
}

/**
 * Joins the two until both are closed; never rejects. The socket must have been made with `allowHalfOpen`; what was
 * read from it too early is to be `unshift`ed first. A reset on one side becomes a reset on the other, behind all bytes
 * that came before it, and neither end ever sees it as a clean end. Any other fault of the stream (a quota, the loss of
 * the session) cuts the socket at once.
 */
export function pipeSocket(socket: Socket, stream: TunnelStream, options: PipeOptions = {}): Promise<PipeResult> {
  return new Join(socket, stream, options).closed;
}

class Join {
  readonly closed: Promise<PipeResult>;
  private readonly socket: Socket;
  private readonly stream: TunnelStream;
  private readonly resetWaitMs: number;
  private readonly fromSocket: Flow;
  private readonly toSocket: Flow;
  private error: WstunError | undefined;
  private limited = false;

  constructor(socket: Socket, stream: TunnelStream, options: PipeOptions) {
    this.socket = socket;
    this.stream = stream;
    this.resetWaitMs = options.resetWaitMs ?? RESET_WAIT_MS;
    const before = { read: socket.bytesRead - socket.readableLength, written: socket.bytesWritten };
    const writes = holdWriteErrors(socket);
    const { fromSocket = AT_ONCE, toSocket = AT_ONCE } = options.paces ?? {};
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
    detectResets(socket, options.pausedCheckMs);
    const idleMs = options.halfClosedIdleMs ?? HALF_CLOSED_IDLE_MS;
    limitHalfClosed(socket, stream, idleMs, () => this.cut('it was half-closed and idle'));
    this.closed = closed.then(() => ({
      fromSocket: socket.bytesRead - before.read,
      toSocket: socket.bytesWritten - before.written,
      ...(this.error === undefined ? {} : { error: this.error }),
    }));
  }

  /** The connection is reset, and what it had received before is still being read. */
  private handleWriteError({ error }: WriteErrors): void {
    const lose = (): void => this.handleSocketLost(error);
    this.toSocket.drop();
    // Whether the end was one is being found out, and is told in this turn.
    if (this.socket.readableEnded) return void setImmediate(lose);
    this.socket.once('end', lose);
    this.limitStandstill();
  }

  /** What it had brought goes on; then its end is a reset. */
  private handleSocketLost(cause: Error | undefined): void {
    if (this.error !== undefined) return;
    const error = asReset(cause, 'by the local side');
    this.error = error;
    this.toSocket.drop();
    this.limitStandstill();
    this.fromSocket.endWith(takeUnread(this.socket), () => resetWhenTaken(this.stream, error));
    this.socket.destroy();
  }

  /** While bytes of a socket that is gone wait for the tunnel. Without a link nothing moves, and nothing is lost. */
  private limitStandstill(): void {
    if (this.limited || this.stream.destroyed) return;
    this.limited = true;
    const [socket, stream, flow] = [this.socket, this.stream, this.fromSocket];
    let looks = 0;
    const stop = onStandstill(
      () => `${socket.bytesRead} ${stream.writableLength} ${flow.held} ${stream.isAway ? ++looks : ''}`,
      this.resetWaitMs,
      () => this.cut('it was reset, and the data before the reset was not read'),
    );
    stream.once('close', stop);
  }

  private handleStreamLost(cause: Error | undefined): void {
    if (this.error !== undefined) return;
    this.error = asReset(cause, 'by the tunnel');
    this.fromSocket.drop();
    const isSocketsReset = cause instanceof WstunError && cause.fault === 'target-reset';
    if (!isSocketsReset) return resetSocket(this.socket);
    this.toSocket.endWith([], () => resetWhenDelivered(this.socket, this.resetWaitMs));
  }

  /** Both at once, whatever is on its way. */
  private cut(detail: string): void {
    this.error ??= new WstunError('target-reset', detail);
    this.stream.destroy(this.error);
    resetSocket(this.socket);
  }
}

/** In what the two directions differ. */
interface FlowEnds {
  /** Marks what was read as this process's own, if it is. */
  take(chunk: Uint8Array): Piece;
  /** Takes the piece; as of a Writable. */
  write(piece: Piece): boolean;
  /** Called at 'end'; says whether that is a clean end. */
  whenEnded(onEnd: () => void): void;
}

/**
 * One direction. Hands over what is read. A write that the kernel took at once needs no pause, although it returned
 * false: that pays.
 */
class Flow implements PaceSink {
  /** Bytes of the last chunk that the pace keeps back. */
  held = 0;
  private readonly from: Readable;
  private readonly to: Writable;
  private readonly pace: Pace;
  private readonly ends: FlowEnds;
  private full = false;
  private ended = false;
  private dropping = false;
  private last: { readonly rest: Piece[]; readonly then: () => void } | undefined;

  constructor(from: Readable, to: Writable, pace: Pace, ends: FlowEnds) {
    this.from = from;
    this.to = to;
    this.pace = pace;
    this.ends = ends;
    from.on('data', (chunk: Uint8Array) => this.handleData(chunk));
    to.on('drain', () => {
      this.full = false;
      this.goOn();
    });
    // Node emits 'end' even on a paused socket if nothing is buffered: before the join, or while the last chunk is
    // held.
    const handleEnd = (): void => ends.whenEnded(() => this.handleEnd());
    if (from.readableEnded) handleEnd();
    else from.once('end', handleEnd);
    from.resume();
  }

  /** Whatever still comes goes nowhere: read all the same, so that its sender does not stand still. */
  drop(): void {
    this.dropping = true;
    this.held = 0;
    this.from.resume();
  }

  /** Nothing more comes but these. Calls `then` when they have gone on, behind what the pace keeps back. */
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
    this.pace.send(chunk, this);
  }

  /** However full the other end is: it is little, and nothing follows. */
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

/**
 * Resets the stream behind all that was written to it, and behind its end if it was ended: what it has taken goes out
 * first.
 */
function resetWhenTaken(stream: TunnelStream, error: WstunError): void {
  const reset = (): void => void stream.destroy(error);
  if (stream.writableEnded && !stream.writableFinished) stream.once('finish', reset);
  else if (stream.writableLength > 0) stream.write(NOTHING, reset);
  else reset();
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
