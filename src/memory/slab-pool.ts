/** Slabs for reads of sockets, reused when all that was handed out is released; else the collector frees it. Pure. */
import { endFilling, handOut, type Lease, lease, type Piece } from './pieces.ts';

/** Smaller slabs are those of sockets with little to read: they go back to the allocator. */
export const POOLED_SLAB_BYTES = 256 * 1024;
/** Kept for reuse: as many as a few full downloads have in flight. */
export const MAX_FREE_SLABS = 16;

export class SlabPool {
  private readonly free: ArrayBufferLike[] = [];

  get freeSlabs(): number {
    return this.free.length;
  }

  /** A slab of `size` bytes. Only the caller fills it, until `Slab.close`. */
  acquire(size: number): Slab {
    const isPooled = size === POOLED_SLAB_BYTES;
    const memory = (isPooled ? this.free.pop() : undefined) ?? Buffer.allocUnsafeSlow(size).buffer;
    return new Slab(memory, isPooled ? this.takeBack : undefined);
  }

  private readonly takeBack = (memory: ArrayBufferLike): boolean => {
    if (this.free.length >= MAX_FREE_SLABS) return false;
    this.free.push(memory);
    return true;
  };
}

export class Slab {
  private readonly memory: Buffer;
  private readonly lease: Lease;
  private used = 0;

  constructor(memory: ArrayBufferLike, takeBack?: Lease['takeBack']) {
    this.memory = Buffer.from(memory);
    this.lease = lease(memory, { live: 0, isFilling: true, takeBack });
  }

  get bytes(): number {
    return this.memory.length;
  }

  get freeBytes(): number {
    return this.memory.length - this.used;
  }

  /** Where the next read goes; valid until the next call of `handOut` or `close`. */
  get room(): Buffer {
    return this.memory.subarray(this.used);
  }

  /** The first `length` bytes of the room, which the caller owns. */
  handOut(length: number): Buffer & Piece {
    const chunk = this.memory.subarray(this.used, this.used + length);
    this.used += length;
    handOut(chunk);
    return chunk;
  }

  close(): void {
    endFilling(this.memory.buffer, this.lease);
  }
}
