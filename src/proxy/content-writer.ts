/** Frames content anew and writes it: as it is, or in chunks of as much as was read at once. Owns no stream. */
import type { Writable } from 'node:stream';

/** Chunks below this are joined with their frame: a copy of so little costs less than further writes. */
const JOINED_BYTES = 4_096;
/** Pieces of one chunk that are written one by one. A peer may send single bytes, each in a chunk of its own. */
const MAX_PIECES = 8;

const CRLF = Buffer.from('\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

export class ContentWriter {
  readonly #to: Writable;
  readonly #isChunked: boolean;

  constructor(to: Writable, isChunked: boolean) {
    this.#to = to;
    this.#isChunked = isChunked;
  }

  /** False: enough for now; 'drain' follows. A write that the kernel took at once is no reason to wait. */
  write(pieces: readonly Buffer[]): boolean {
    if (pieces.length > 0) {
      const content = pieces.length > MAX_PIECES ? [Buffer.concat(pieces)] : pieces;
      if (this.#isChunked) this.#writeChunk(content);
      else for (const piece of content) this.#to.write(piece);
    }
    return !this.#to.writableNeedDrain || this.#to.writableLength === 0;
  }

  end(): void {
    if (this.#isChunked) this.#to.write(LAST_CHUNK);
  }

  #writeChunk(content: readonly Buffer[]): void {
    const size = content.reduce((sum, { length }) => sum + length, 0);
    const framed = [Buffer.from(`${size.toString(16)}\r\n`, 'latin1'), ...content, CRLF];
    if (size <= JOINED_BYTES) {
      this.#to.write(Buffer.concat(framed));
      return;
    }
    this.#to.cork();
    for (const piece of framed) this.#to.write(piece);
    this.#to.uncork();
  }
}
