/** A record that comes in pieces (docs/protocol.md §3.1), in any order, some of them more than once. Pure. */
import type { PieceRange } from '../../protocol/record-header.ts';

export class RecordAssembly {
  readonly bytes: Uint8Array;
  /** A bit for each byte that has come. A list of ranges would cost more than the bytes, where pieces are tiny. */
  private readonly marks: Uint8Array;
  /** How many bytes have not. */
  private missing: number;

  /** @param total bytes of the whole record */
  constructor(total: number) {
    this.bytes = new Uint8Array(total);
    this.marks = new Uint8Array(Math.ceil(total / 8));
    this.missing = total;
  }

  get isComplete(): boolean {
    return this.missing === 0;
  }

  /** False: it is no piece of this record. Only reads the pieces. */
  add({ offset, total }: PieceRange, pieces: readonly Uint8Array[]): boolean {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (total !== this.bytes.length || length === 0 || offset + length > total) return false;
    let at = offset;
    for (const piece of pieces) {
      this.bytes.set(piece, at);
      at += piece.length;
    }
    this.mark(offset, at);
    return true;
  }

  private mark(begin: number, end: number): void {
    const { marks } = this;
    for (let at = begin; at < end; at++) {
      const before = marks[at >> 3] ?? 0;
      const after = before | (1 << (at & 7));
      if (after === before) continue;
      marks[at >> 3] = after;
      this.missing -= 1;
    }
  }
}
