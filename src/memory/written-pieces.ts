/** Owns pieces written to a Node stream until the kernel has them or TLS has sealed them: a system call reads later. */
import { isOwned, type Piece, release, releaseAll } from './pieces.ts';

export interface ByteSink {
  readonly writableLength: number;
  readonly destroyed: boolean;
  write(piece: Uint8Array, written?: () => void): boolean;
}

export class WrittenPieces {
  private readonly pieces: Piece[] = [];
  /** How many pieces were released before their callback. */
  private ahead = 0;
  private handleWritten: (() => void) | undefined;

  constructor(private readonly to: ByteSink) {}

  /** As the stream's own `write`. */
  write(piece: Piece): boolean {
    if (!isOwned(piece)) return this.to.write(piece);
    this.pieces.push(piece);
    // Each piece has a callback: meanwhile there may be writes of bytes that have no owner.
    this.handleWritten ??= () => this.releaseNext();
    const hasRoom = this.to.write(piece, this.handleWritten);
    this.reclaim();
    return hasRoom;
  }

  /** Gives back what the kernel may just have taken. The collector frees what a destroyed stream had. */
  reclaim(): void {
    if (this.pieces.length === 0 || this.to.writableLength > 0) return;
    const pieces = this.pieces.splice(0);
    this.ahead += pieces.length;
    if (!this.to.destroyed) releaseAll(pieces);
  }

  /** A stream calls back in the order of its writes. */
  private releaseNext(): void {
    if (this.ahead > 0) {
      this.ahead -= 1;
      return;
    }
    const piece = this.pieces.shift();
    if (piece !== undefined && !this.to.destroyed) release(piece);
  }
}
