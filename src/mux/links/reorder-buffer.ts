/**
 * Records of the peer, which may come by several links and so out of order: each is handled as soon as all that it
 * follows were (docs/protocol.md §3.1). Pure.
 */
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import type { PieceRange, Placement } from '../../protocol/record-header.ts';
import { OutOfOrder } from './out-of-order.ts';
import type { ResumeConfig } from './resume-config.ts';
import type { RetransmitMemory } from './retransmit-store.ts';

/** docs/protocol.md §3.1, §13. */
const MAX_RECORDS_AHEAD = 32_768;

/**
 * - `ready`: handle its frames now, then all that `next` returns.
 * - `held`: it waits for others, or for its other pieces.
 * - `no-room`: the process has no memory for it. It was not received: its link is to be dropped.
 */
export type Receipt = 'ready' | 'held' | 'duplicate' | 'no-room' | 'bad-record';

export class ReorderBuffer {
  /** All up to this number were received, and handled. */
  private upTo = 0;
  /** Undefined while nothing is missing: an idle session costs little. */
  private ahead: OutOfOrder | undefined;

  constructor(
    private readonly limits: Pick<ResumeConfig, 'reorderBytes' | 'minRetransmitBytes'>,
    private readonly memory: RetransmitMemory,
  ) {}

  /** All up to this number were received. */
  get received(): number {
    return this.ahead?.receivedUpTo ?? this.upTo;
  }

  /** What waits for other records, bytes. */
  get heldBytes(): number {
    return this.ahead?.heldBytes ?? 0;
  }

  /** The common case, without any object: the next record, with nothing ahead. True: handle it now. */
  receiveNext(number: number): boolean {
    if (this.ahead !== undefined || number !== this.upTo + 1) return false;
    this.upTo = number;
    return true;
  }

  /** Takes the frames, unless they are `ready`. */
  receive(placement: Placement, frames: readonly Piece[], bytes: number): Receipt {
    const receipt = this.place(placement, bytes, frames);
    if (receipt !== 'ready' && receipt !== 'held') releaseAll(frames);
    return receipt;
  }

  private place(placement: Placement, bytes: number, frames: readonly Piece[]): Receipt {
    const { number } = placement;
    if (number > this.received + MAX_RECORDS_AHEAD) return 'bad-record';
    if (this.has(number)) return 'duplicate';
    this.ahead ??= new OutOfOrder(this.upTo, this.memory);
    const { ahead } = this;
    if (ahead.isBlocked(placement)) {
      // Pieces that were acknowledged must not be dropped for want of memory.
      const isHeld = bytes <= (ahead.bytesOf(number) ?? -1);
      const refusal = isHeld ? undefined : this.refusalOf(bytes);
      if (refusal !== undefined) return refusal;
      ahead.hold(placement, frames, bytes);
      return 'held';
    }
    ahead.markHandled(number);
    this.settle();
    return 'ready';
  }

  /** Takes the frames. `ready` where they complete the record: `assembled` has it. */
  receivePiece(placement: Placement, range: PieceRange, frames: readonly Piece[]): Receipt {
    const receipt = this.placePiece(placement.number, range, frames);
    releaseAll(frames);
    return receipt;
  }

  private placePiece(number: number, range: PieceRange, frames: readonly Piece[]): Receipt {
    if (number > this.received + MAX_RECORDS_AHEAD) return 'bad-record';
    if (this.has(number)) return 'duplicate';
    this.ahead ??= new OutOfOrder(this.upTo, this.memory);
    // What has waited for the lowest one that is missing goes on with it: refused, it would come again for ever.
    const isNext = number === this.received + 1;
    const refusal = this.ahead.bytesOf(number) === undefined ? this.refusalOf(range.total) : undefined;
    if (refusal === 'bad-record' || (refusal === 'no-room' && !isNext)) return refusal;
    return this.ahead.addPiece(number, range, frames);
  }

  /** The frames of a record whose last piece has come: hand them to `receive`. */
  assembled(number: number): Piece {
    return this.ahead?.assembled(number) ?? new Uint8Array(0);
  }

  /** The next record that waited for one that was handled. */
  next(): readonly Piece[] | undefined {
    const frames = this.ahead?.next();
    this.settle();
    return frames;
  }

  clear(): void {
    this.ahead?.clear();
  }

  private has(number: number): boolean {
    return number <= this.upTo || (this.ahead?.has(number) ?? false);
  }

  private refusalOf(bytes: number): 'bad-record' | 'no-room' | undefined {
    const { reorderBytes: maxBytes, minRetransmitBytes: minBytes } = this.limits;
    if (this.heldBytes + bytes > maxBytes) return 'bad-record';
    return this.heldBytes >= minBytes && this.memory.used >= this.memory.limit ? 'no-room' : undefined;
  }

  private settle(): void {
    if (!this.ahead?.isEmpty) return;
    this.upTo = this.ahead.receivedUpTo;
    this.ahead = undefined;
  }
}
