/**
 * Pieces that were written to a Node stream, until the kernel has them: only then may their memory be given back, because the system call
 * reads it later. Owns them meanwhile; whether there is room for more is the caller's question to the stream. Pure but for the stream.
 */
import { isOwned, type Piece, release } from './pieces.ts';

/** What is needed of a Writable. */
export interface ByteSink {
  readonly writableLength: number;
  readonly destroyed: boolean;
  write(piece: Uint8Array, written?: () => void): boolean;
}

export class WrittenPieces {
  readonly #to: ByteSink;
  #pieces: Piece[] | undefined;
  #handleWritten: (() => void) | undefined;

  constructor(to: ByteSink) {
    this.#to = to;
  }

  /** As the stream's own `write`. */
  write(piece: Piece): boolean {
    if (!isOwned(piece)) return this.#to.write(piece);
    this.#pieces ??= [];
    this.#pieces.push(piece);
    // Its memory must be let go even if nothing else is ever written, and a stream that is not full owes no 'drain'.
    this.#handleWritten ??= () => this.reclaim();
    const hasRoom = this.#to.write(piece, this.#handleWritten);
    this.reclaim();
    return hasRoom;
  }

  /** Gives back what the kernel has taken; call it where it may just have done so. Of a stream that was destroyed the collector takes it. */
  reclaim(): void {
    const pieces = this.#pieces;
    if (pieces === undefined || this.#to.writableLength > 0) return;
    this.#pieces = undefined;
    if (this.#to.destroyed) return;
    for (const piece of pieces) release(piece);
  }
}
