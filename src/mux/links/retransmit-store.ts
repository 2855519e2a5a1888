/**
 * Memory for records that are kept until they are acknowledged: large ones are copied into slabs that are reused.
 * Kept as they came, their buffers would live just long enough to be moved to the old generation, where only a full
 * collection frees them: at 500 MB/s that cost a quarter of the processor, the copy costs a twentieth
 * (docs/adr/0007-replay-slabs.md). Pure.
 */
import { isOwned } from '../../memory/pieces.ts';

const KIB = 1024;
/** Five of the largest records. */
const SLAB_BYTES = 256 * KIB;
/** Smaller records stay where they are: a slab for one would be waste, and there are only a few per second. */
const COPY_FROM_BYTES = 2 * KIB;
/** What a record costs beside its bytes: without it, a peer could make us keep a million tiny ones as 8 MB. */
export const RECORD_OVERHEAD_BYTES = 400;
/**
 * Slabs kept for reuse by all sessions of the process: twice what one session keeps at its limit. With fewer, slabs
 * themselves become garbage of the old generation: with 8 of them, full collections were 30 times as frequent and took
 * a fifth of the throughput.
 */
const MAX_FREE_SLABS = 64;

interface Slab {
  readonly memory: Uint8Array;
  used: number;
  records: number;
}

export interface Stored {
  readonly pieces: readonly Uint8Array[];
  readonly slab: Slab | undefined;
}

/** The slabs of a process, and what all its sessions together keep. */
export class RetransmitMemory {
  /** Bytes. */
  used = 0;
  private readonly free: Slab[] = [];

  constructor(
    /** Bytes, of all sessions; beyond it they keep no more than a minimum each. */
    readonly limit: number,
  ) {}

  acquire(): Slab {
    this.used += SLAB_BYTES;
    return this.free.pop() ?? { memory: Buffer.allocUnsafeSlow(SLAB_BYTES), used: 0, records: 0 };
  }

  release(slab: Slab): void {
    this.used -= SLAB_BYTES;
    slab.used = 0;
    slab.records = 0;
    if (this.free.length < MAX_FREE_SLABS) this.free.push(slab);
  }
}

/** Of one session: records go in at one end and out at the other. */
export class RetransmitStore {
  private current: Slab | undefined;

  constructor(private readonly memory: RetransmitMemory) {}

  /** Only reads the pieces, or keeps those of a small record if their memory has no owner. */
  put(pieces: readonly Uint8Array[], bytes: number): Stored {
    this.memory.used += RECORD_OVERHEAD_BYTES;
    if (bytes < COPY_FROM_BYTES || bytes > SLAB_BYTES) {
      this.memory.used += bytes;
      return { pieces: pieces.some(isOwned) ? [copyOf(pieces, bytes)] : pieces, slab: undefined };
    }
    const slab = this.slabFor(bytes);
    const begin = slab.used;
    for (const piece of pieces) {
      slab.memory.set(piece, slab.used);
      slab.used += piece.length;
    }
    slab.records += 1;
    return { pieces: [slab.memory.subarray(begin, slab.used)], slab };
  }

  /** The record is not needed any more. No link has the slab's own memory: it got a copy. */
  drop({ slab }: Stored, bytes: number): void {
    this.memory.used -= slab === undefined ? RECORD_OVERHEAD_BYTES + bytes : RECORD_OVERHEAD_BYTES;
    if (slab === undefined) return;
    slab.records -= 1;
    if (slab.records > 0) return;
    if (slab === this.current) this.current = undefined;
    this.memory.release(slab);
  }

  private slabFor(bytes: number): Slab {
    if (this.current === undefined || SLAB_BYTES - this.current.used < bytes) this.current = this.memory.acquire();
    return this.current;
  }
}

function copyOf(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  let end = 0;
  for (const piece of pieces) {
    copy.set(piece, end);
    end += piece.length;
  }
  return copy;
}
