/** Writes content with new framing: as it is, or with one chunk for each read. Owns no stream. */
import type { Writable } from 'node:stream';
import { joinReleasing, type Piece } from '../memory/pieces.ts';

/** Chunks smaller than this are joined with their framing: the copy costs less than further writes. */
const JOINED_BYTES = 4_096;
/** So many pieces of one chunk are written one by one. A peer may send single bytes, each in a chunk of its own. */
const MAX_PIECES = 8;

const CRLF = Buffer.from('\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

/** Takes what is written: a tunnel's stream, or what keeps the pieces written to a socket. */
export interface PieceSink {
  write(piece: Piece): boolean;
}

export class ContentWriter {
  /** `sink`: of the stream `to`. */
  constructor(
    private readonly to: Writable,
    private readonly sink: PieceSink,
    private readonly isChunked: boolean,
  ) {}

  /** Takes the pieces. False: 'drain' follows; not after a write that the kernel took at once. */
  write(pieces: readonly Piece[]): boolean {
    if (pieces.length > 0) {
      const content = pieces.length > MAX_PIECES ? [joinReleasing(pieces)] : pieces;
      if (this.isChunked) this.writeChunk(content);
      else for (const piece of content) this.sink.write(piece);
    }
    return !this.to.writableNeedDrain || this.to.writableLength === 0;
  }

  end(): void {
    if (this.isChunked) this.sink.write(LAST_CHUNK);
  }

  private writeChunk(content: readonly Piece[]): void {
    const size = content.reduce((sum, { length }) => sum + length, 0);
    const framed = [Buffer.from(`${size.toString(16)}\r\n`, 'latin1'), ...content, CRLF];
    if (size <= JOINED_BYTES) {
      this.sink.write(joinReleasing(framed));
      return;
    }
    this.to.cork();
    for (const piece of framed) this.sink.write(piece);
    this.to.uncork();
  }
}
