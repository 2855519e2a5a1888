/**
 * The up stream at a relay: puts the bodies of requests in order that come at the same time, overlap and were cut. It
 * holds what came ahead, within bounds, and drops what it has or has no room for: the client sends it again. Pure.
 */
import { type Piece, release } from '../../memory/pieces.ts';
import { copyOf } from './compact.ts';
import { MAX_HELD_PIECES } from './http-limits.ts';

interface Held {
  readonly from: number;
  readonly bytes: Piece;
}

export class Reassembly {
  /** By offset; they neither touch `next` nor overlap. */
  private held: Held[] = [];
  private nextAt = 0;
  private heldSum = 0;

  /** @param deliver gets the stream in order, and owns it */
  constructor(private readonly deliver: (bytes: Piece) => void) {}

  /** All bytes before this offset have been delivered. */
  get next(): number {
    return this.nextAt;
  }

  get heldBytes(): number {
    return this.heldSum;
  }

  /** Takes `bytes`. False: some were dropped that it does not have. @param room bytes ahead that may be held in all */
  take(from: number, bytes: Piece, room: number): boolean {
    const isKept = from > this.nextAt ? this.hold(from, bytes, room) : this.advance(from, bytes);
    this.deliverHeld();
    return isKept;
  }

  private advance(from: number, bytes: Piece): true {
    const known = Math.min(bytes.length, this.nextAt - from);
    const fresh = bytes.subarray(known);
    release(bytes, 0, known);
    if (fresh.length > 0) {
      this.nextAt += fresh.length;
      this.deliver(fresh);
    }
    return true;
  }

  /** Into the gaps between what is held. */
  private hold(from: number, bytes: Piece, room: number): boolean {
    let isKept = true;
    let at = from;
    const end = from + bytes.length;
    let i = this.held.findIndex((other) => other.from + other.bytes.length > at);
    if (i < 0) i = this.held.length;
    while (at < end) {
      const other = this.held[i];
      const gapEnd = Math.min(end, other?.from ?? end);
      if (gapEnd > at) {
        const part = bytes.subarray(at - from, gapEnd - from);
        if (this.heldSum + part.length > room || this.held.length >= MAX_HELD_PIECES) isKept = false;
        else {
          this.held.splice(i, 0, { from: at, bytes: copyOf(part) });
          this.heldSum += part.length;
          i += 1;
        }
      }
      if (other === undefined) break;
      at = Math.max(gapEnd, other.from + other.bytes.length);
      i += 1;
    }
    release(bytes);
    return isKept;
  }

  private deliverHeld(): void {
    for (let first = this.held[0]; first !== undefined && first.from <= this.nextAt; first = this.held[0]) {
      this.held.shift();
      this.heldSum -= first.bytes.length;
      this.advance(first.from, first.bytes);
    }
  }
}
