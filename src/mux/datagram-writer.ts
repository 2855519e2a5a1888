/**
 * Writes the datagrams of a session into records that are not numbered (docs/protocol.md §7.1): associations take turns
 * equal in bytes, and together they go before streams, up to the share that each would have as a stream. Pure.
 */
import type { Piece } from '../memory/pieces.ts';
import { addressBytes } from '../protocol/datagrams.ts';
import { RecordEncoder } from '../protocol/frame-encoder.ts';
import { FRAME_HEADER_BYTES } from '../protocol/frames.ts';
import type { DatagramQueue, PathRate, QueuedDatagram } from './datagram-queue.ts';
import { Scheduler } from './scheduler.ts';

/** What streams wait for their turn. */
export interface StreamTurns {
  readonly hasQuiet: boolean;
  readonly hasBulk: boolean;
  /** Counts how often all bulk had its turn. */
  readonly rounds: number;
}

export interface RecordRoom {
  /** Of the frames. */
  readonly maxBytes: number;
  /** The first datagram goes even if it is longer. */
  readonly mayExceed: boolean;
  /** What an association may send before the next has its turn, bytes. */
  readonly frameBytes: number;
  readonly rate: PathRate;
}

export class DatagramWriter {
  private readonly encoder = new RecordEncoder();
  private readonly turns = new Scheduler<DatagramQueue>();
  /** What associations may still send before bulk in this round, bytes. */
  private budget = 0;
  private round = -1;
  /** The latest record was of datagrams, and a quiet stream waits for the next. */
  private hadTurn = false;

  constructor(private readonly streams: StreamTurns) {}

  /** It may have something to send now. Idempotent. */
  add(queue: DatagramQueue): void {
    this.turns.add(queue);
  }

  get isEmpty(): boolean {
    return this.turns.isEmpty;
  }

  /**
   * The next record; undefined where nothing is to be sent, or a stream has its turn before.
   * @param isLast streams have nothing to send
   */
  poll(now: number, room: RecordRoom, isLast: boolean): readonly Piece[] | undefined {
    if (this.turns.isEmpty || !(isLast || this.hasTurn(room.frameBytes))) {
      this.hadTurn = false;
      return undefined;
    }
    const isShared = !isLast && this.streams.hasBulk;
    const maxBytes = isShared ? Math.min(room.maxBytes, this.budget) : room.maxBytes;
    const bytes = this.write(now, { ...room, maxBytes, mayExceed: room.mayExceed || maxBytes < room.maxBytes });
    this.hadTurn = bytes > 0;
    if (isShared) this.budget -= bytes;
    if (bytes > 0) return this.encoder.take();
    this.encoder.releaseBuffers();
    return undefined;
  }

  private hasTurn(frameBytes: number): boolean {
    const { hasQuiet, hasBulk, rounds } = this.streams;
    if (this.hadTurn && hasQuiet) return false;
    if (!hasBulk) return true;
    if (rounds !== this.round) this.budget = frameBytes * this.turns.size + Math.min(0, this.budget);
    this.round = rounds;
    return this.budget > 0;
  }

  /** Returns how many bytes were written. */
  private write(now: number, room: RecordRoom): number {
    const { encoder, turns } = this;
    for (let queue = turns.next(room.frameBytes); queue !== undefined; queue = turns.next(room.frameBytes)) {
      queue.trim(now, this.shareOf(room.rate));
      const wasFull = this.writeTurn(queue, room);
      if (wasFull) break;
    }
    return encoder.length;
  }

  /** What an association has of the path, beside the others that wait. */
  private shareOf({ leastPerMs, steadyPerMs }: PathRate): PathRate {
    const share = 1 + this.turns.size;
    return { leastPerMs: leastPerMs / share, steadyPerMs: steadyPerMs && steadyPerMs / share };
  }

  /** True: the record takes no more. */
  private writeTurn(queue: DatagramQueue, { maxBytes, mayExceed }: RecordRoom): boolean {
    const { encoder, turns } = this;
    const most = turns.turnBytes(queue);
    let bytes = 0;
    let isFull = false;
    for (let next = queue.next; next !== undefined && bytes < most; next = queue.next) {
      const size = frameBytesOf(next);
      isFull = encoder.length + size > maxBytes && !(mayExceed && encoder.length === 0);
      if (isFull) break;
      encoder.datagram(queue.stream, next.address, next.content);
      queue.take();
      bytes += size;
    }
    turns.endTurn(queue, bytes);
    return isFull;
  }

  clear(): void {
    this.turns.clear();
  }
}

function frameBytesOf({ address, content }: QueuedDatagram): number {
  return FRAME_HEADER_BYTES + (address === undefined ? 0 : addressBytes(address)) + content.length;
}
