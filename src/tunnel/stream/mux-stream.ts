/** A stream of a session as a Node Duplex: Node's calls go to the driver, its events become pushes and callbacks. */
import { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { FAULTS, type WireFaultName, WstunError } from '../../errors.ts';
import type { Piece } from '../../memory/pieces.ts';
import { SendQueue } from '../../mux/send-queue.ts';
import { RESET_WAIT_MS } from './socket-reset.ts';
import { onStandstill } from './standstill.ts';
import type { Target, TunnelStream } from './stream.ts';

/** What a stream needs of its session; calls after the stream's end have no effect. */
export interface StreamOwner {
  readonly clock: Clock;
  /** A link carries the session. */
  readonly isAttached: boolean;
  /** Takes the bytes in any case. False: `handleWritable` follows. */
  write(id: number, bytes: Piece): boolean;
  /** `handleFinishSent` follows. */
  finish(id: number): void;
  consume(id: number, bytes: number): void;
  /** The stream is over for its user: resets what is not finished yet. */
  forget(id: number, fault: WireFaultName): void;
}

/** Readable: none, since the stream's window is the bound. Writable: one large read (docs/limits.md). Bytes. */
const WRITABLE_HIGH_WATER_MARK_BYTES = 64 * 1024;

export class MuxStream extends Duplex implements TunnelStream {
  /** Whole ms of the clock. */
  readonly openedAt: number;
  /** Bytes that the session took of it, and brought for it. */
  sentBytes = 0;
  receivedBytes = 0;
  private writeDone: ((error?: Error | null) => void) | undefined;
  /** Received after bytes that the reader has not taken. */
  private readonly waiting = new SendQueue();
  /** Bytes in Node's own list, as far as is known: those that are no longer there have been read. */
  private listed = 0;
  /** Node has asked for more than it holds. */
  private wanted = false;
  private finishWaits = false;
  /** FINISH has come. */
  private finished = false;
  /** Why the stream ends once all that came before has been read. */
  private lateReset: WstunError | undefined;
  private finalDone: ((error?: Error | null) => void) | undefined;

  constructor(
    private readonly owner: StreamOwner,
    readonly id: number,
    readonly target: Target,
  ) {
    super({ allowHalfOpen: true, readableHighWaterMark: 0, writableHighWaterMark: WRITABLE_HIGH_WATER_MARK_BYTES });
    this.openedAt = Math.floor(owner.clock.now());
    // A reset may come before the user listens; it must not end the process.
    this.on('error', () => {});
  }

  get isAway(): boolean {
    return !this.owner.isAttached;
  }

  // ── from the session ───────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Bytes that a reader takes at once are consumed here; bytes that wait are consumed by `read`. Those that come after
   * waiting ones wait here, where small pieces are joined: in Node's list each would cost some 300 bytes, and a peer
   * may send byte by byte.
   */
  handleData(bytes: Piece): void {
    this.receivedBytes += bytes.length;
    // A reader that pauses with its last chunk leaves Node's list empty, although bytes wait here.
    const behindOthers = this.waiting.bytes > 0 || (this.readableLength > 0 && !this.wanted);
    if (behindOthers) return this.waiting.push(bytes);
    this.wanted = false;
    this.pushBytes(bytes);
    this.countRead();
  }

  handleFinish(): void {
    this.finished = true;
    if (this.waiting.bytes > 0) this.finishWaits = true;
    else this.push(null);
  }

  /** At once: unread bytes are lost. */
  handleReset(fault: WireFaultName): void {
    this.destroy(new WstunError(fault));
  }

  /** The peer's socket was reset: as `handleReset`, once what came before is read or stays unread too long. */
  handleLateReset(fault: WireFaultName): void {
    const error = new WstunError(fault);
    this.lateReset = error;
    if (this.resetIfRead()) return;
    // Writes from now on are dropped.
    this.handleWritable();
    const reset = (): void => void this.destroy(error);
    this.once('end', reset);
    this.once(
      'close',
      onStandstill(this.owner.clock, () => this.waiting.bytes + this.readableLength, RESET_WAIT_MS, reset),
    );
  }

  handleWritable(): void {
    const done = this.writeDone;
    this.writeDone = undefined;
    done?.();
  }

  handleFinishSent(): void {
    const done = this.finalDone;
    this.finalDone = undefined;
    done?.();
  }

  // ── from Node's stream machinery ───────────────────────────────────────────────────────────────────────────────────

  /** Flowing readers and iterators call it for bytes that were not taken at once. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size);
    this.countRead();
    if (this.lateReset !== undefined) this.resetIfRead();
    return chunk;
  }

  /** A FINISH before the reset is an 'end', which the reader sees first. */
  private resetIfRead(): boolean {
    const isRead = this.waiting.bytes === 0 && this.readableLength === 0 && (!this.finished || this.readableEnded);
    if (isRead) this.destroy(this.lateReset);
    return isRead;
  }

  /** Pulls nothing: credit limits the peer. Called when Node's own list is too short for its reader. */
  override _read(): void {
    this.wanted = this.waiting.bytes === 0;
    if (this.wanted) return;
    this.waiting.take(this.waiting.bytes, (piece) => this.pushBytes(piece));
    if (this.finishWaits) this.push(null);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.sentBytes += chunk.length;
    if (this.owner.write(this.id, chunk)) done();
    else this.writeDone = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.finalDone = done;
    this.owner.finish(this.id);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.owner.forget(this.id, wireFaultOf(error));
    // Node fails the queued writes and the callback of `end`, but not the write that is under way.
    const { writeDone } = this;
    this.writeDone = undefined;
    this.finalDone = undefined;
    this.waiting.clear();
    done(error);
    writeDone?.(error ?? new WstunError('dial-cancelled'));
  }

  /** The reader may have released the piece when `push` returns. */
  private pushBytes(bytes: Piece): void {
    this.listed += bytes.length;
    this.push(bytes);
  }

  /** By what has left the list: a piece that was read has no length any more if its memory was released. */
  private countRead(): void {
    const read = this.listed - this.readableLength;
    this.listed -= read;
    if (read > 0 && !this.destroyed) this.owner.consume(this.id, read);
  }
}

function wireFaultOf(error: Error | null): WireFaultName {
  if (error instanceof WstunError && 'wire' in FAULTS[error.fault]) return error.fault as WireFaultName;
  return error ? 'target-reset' : 'dial-cancelled';
}
