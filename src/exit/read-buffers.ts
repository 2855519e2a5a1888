/**
 * The memory into which a dialled socket reads. Node's own reads are of 64 KiB; here they grow to 256 KiB while a
 * target fills them. This saves a fifth of this process's time on bulk data (fewer system calls, events and frames),
 * and an idle socket holds 8 KiB.
 *
 * What one read left free is used by the next. Memory that is passed on belongs to the receiver (memory/pieces.ts), and
 * is not written to until all of its slab has been released.
 */
import type { EventEmitter } from 'node:events';
import type { OnReadOpts } from 'node:net';
import type { Piece } from '../memory/pieces.ts';
import { POOLED_SLAB_BYTES, type Slab, SlabPool } from '../memory/slab-pool.ts';

/** What an idle socket holds, bytes: a TLS hello or a small answer in one read. */
const SMALLEST_READ_BYTES = 8 * 1024;
/** The largest read, bytes: beyond it measurements show no gain. */
const LARGEST_READ_BYTES = POOLED_SLAB_BYTES;

/** What the next reads of all sockets may take, bytes. Each has up to three on their way (500 took 413 MB). */
const READ_BUDGET_BYTES = 1.5 * 1024 * 1024;

/** Shares the budget, and the slabs, among the sockets that are open. */
export class ReadBudget {
  readonly slabs = new SlabPool();
  private sockets = 0;

  /** What one socket may read at once now, bytes. */
  get largestRead(): number {
    return Math.max(
      SMALLEST_READ_BYTES,
      Math.min(LARGEST_READ_BYTES, Math.floor(READ_BUDGET_BYTES / Math.max(1, this.sockets))),
    );
  }

  /** For a socket that reads into these. */
  count(socket: EventEmitter, buffers: ReadBuffers): void {
    this.sockets += 1;
    socket.once('close', () => {
      this.sockets -= 1;
      buffers.close();
    });
  }
}

export class ReadBuffers {
  private slab: Slab | undefined;
  /** The size that the next read should have. */
  private size = SMALLEST_READ_BYTES;

  constructor(private readonly budget: ReadBudget) {}

  /** Where the next read goes: at least half the wanted size. A slab over four times that size is dropped. */
  next(): Buffer {
    const slab = this.slab;
    if (slab !== undefined && slab.freeBytes >= this.size / 2 && slab.bytes <= 4 * this.size) return slab.room;
    slab?.close();
    this.slab = this.budget.slabs.acquire(this.size);
    return this.slab.room;
  }

  /** The bytes of a read of `length` into what `next` gave last. */
  take(length: number): Buffer & Piece {
    const slab = this.slab;
    if (slab === undefined) throw new RangeError('a read into nothing');
    const offered = slab.freeBytes;
    const chunk = slab.handOut(length);
    // A full read means that more waits in the kernel; a partial one has emptied it, so twice that will do next time.
    const wanted = length === offered ? 4 * slab.bytes : 2 * length;
    this.size = Math.min(Math.max(wanted, SMALLEST_READ_BYTES), this.budget.largestRead);
    return chunk;
  }

  /** The socket is closed, and reads no more. */
  close(): void {
    this.slab?.close();
    this.slab = undefined;
  }
}

/**
 * For `net.connect`'s `onread`. With it a socket delivers no data by itself: `deliver` must push each chunk into the
 * socket, and hand back what `push` says, which is its back-pressure. All else (pause, resume, end, errors) stays as it
 * is.
 */
export function readInto(buffers: ReadBuffers, deliver: (chunk: Buffer) => boolean): OnReadOpts {
  return { buffer: () => buffers.next(), callback: (length) => deliver(buffers.take(length)) };
}
