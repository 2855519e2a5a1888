/** Bytes of a stream that wait for credit and a turn. Small chunks join: each would cost hundreds of bytes. Pure. */
import { type Piece, release, releaseAll } from '../memory/pieces.ts';
import { Slab } from '../memory/slab-pool.ts';

/** A chunk up to this many bytes joins those that wait already. */
const JOIN_UP_TO_BYTES = 1024;

const SLAB_BYTES = 4096;

export class SendQueue {
  private readonly chunks: Piece[] = [];
  private offset = 0;
  /** The last chunk is the filled part of it, and may be extended. */
  private slab: Slab | undefined;
  bytes = 0;

  push(chunk: Piece): void {
    if (chunk.length === 0) return;
    this.bytes += chunk.length;
    if (this.chunks.length > 0 && chunk.length <= JOIN_UP_TO_BYTES) return this.join(chunk);
    this.chunks.push(chunk);
    this.endSlab();
  }

  /** Bytes in the slab are never overwritten: it only grows. */
  private join(chunk: Piece): void {
    let last: Piece | undefined;
    if (this.slab !== undefined && this.slab.freeBytes >= chunk.length) last = this.chunks.pop();
    else {
      this.endSlab();
      this.slab = new Slab(Buffer.allocUnsafeSlow(SLAB_BYTES).buffer);
    }
    this.slab.room.set(chunk);
    const added = this.slab.handOut(chunk.length);
    release(chunk);
    this.chunks.push(last ? Buffer.from(last.buffer, last.byteOffset, last.length + added.length) : added);
  }

  private endSlab(): void {
    this.slab?.close();
    this.slab = undefined;
  }

  /** Passes exactly `length` bytes, at most `bytes`, to `sink`, which takes the pieces. */
  take(length: number, sink: (piece: Piece) => void): void {
    this.bytes -= length;
    let left = length;
    while (left > 0) {
      const chunk = this.chunks[0];
      if (!chunk) throw new RangeError('more taken than queued');
      const begin = this.offset;
      const end = Math.min(chunk.length, begin + left);
      left -= end - begin;
      this.offset = end;
      if (end === chunk.length) this.dropFirst();
      sink(chunk.subarray(begin, end));
    }
  }

  private dropFirst(): void {
    this.chunks.shift();
    this.offset = 0;
    if (this.chunks.length === 0) this.endSlab();
  }

  clear(): void {
    const [first, ...others] = this.chunks;
    if (first !== undefined) release(first, this.offset);
    releaseAll(others);
    this.chunks.length = 0;
    this.offset = 0;
    this.endSlab();
    this.bytes = 0;
  }
}
