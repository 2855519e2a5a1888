/** A record that comes in pieces (docs/protocol.md §3.1), in any order, some of them more than once. Pure. */
import type { PieceRange } from '../../protocol/record-header.ts';

interface Range {
  readonly begin: number;
  readonly end: number;
}

export class RecordAssembly {
  readonly bytes: Uint8Array;
  /** What has come: in order, none touches another. */
  private ranges: readonly Range[] = [];

  /** @param total bytes of the whole record */
  constructor(total: number) {
    this.bytes = new Uint8Array(total);
  }

  get isComplete(): boolean {
    const [first] = this.ranges;
    return first !== undefined && first.begin === 0 && first.end === this.bytes.length;
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
    this.ranges = merged(this.ranges, { begin: offset, end: at });
    return true;
  }
}

function merged(ranges: readonly Range[], added: Range): Range[] {
  const apart = ranges.filter(({ begin, end }) => end < added.begin || begin > added.end);
  const joined = ranges.filter(({ begin, end }) => end >= added.begin && begin <= added.end);
  const begin = Math.min(added.begin, ...joined.map((range) => range.begin));
  const end = Math.max(added.end, ...joined.map((range) => range.end));
  return [...apart.filter((range) => range.end < begin), { begin, end }, ...apart.filter((range) => range.begin > end)];
}
