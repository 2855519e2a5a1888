/**
 * Finds the content of a message, and its end, in bytes that come in any pieces. Pure, and without copies: content is
 * passed on as parts of the bytes that came in.
 *
 * The chunked coding (RFC 9112 §7.1) is read strictly in requests, and leniently in responses, as servers write it:
 * lines that end with LF, blanks around a size. Chunk extensions and trailers are dropped, as a proxy may.
 */
import { type Piece, release } from '../../memory/pieces.ts';
import type { Framing } from './framing.ts';

/** Bytes of a chunk's first line: a size has at most 16, and extensions are hardly ever used. */
const MAX_CHUNK_LINE_BYTES = 4_096;
/** Bytes of the lines after the last chunk. */
const MAX_TRAILER_BYTES = 64 * 1024;

const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/** The size ends at a blank, an extension or the line's end. `14`: below 2^53. */
const STRICT_SIZE = /^([0-9a-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n$/i;
const LENIENT_SIZE = /^[ \t]*([0-9a-f]+)[ \t]*(?:;.*)?\r*\n$/is;
const STRICT_END = /^\r\n$/;
const LENIENT_END = /^[ \t]*\r*\n$/;
const STRICT_TRAILER = /^[\t -~\x80-\xff]*\r\n$/;

type Position = 'content' | 'size' | 'end of chunk' | 'trailers' | 'after' | 'broken';

export class ContentReader {
  private readonly framing: Framing['kind'];
  private position: Position;
  /** Of the content, or of the current chunk. */
  private left: number;
  /** The beginning of a line that is not complete. */
  private line = '';
  private trailerBytes = 0;
  private wasLenient = false;

  constructor(
    framing: Framing,
    private readonly isStrict: boolean,
  ) {
    this.framing = framing.kind;
    this.position = framing.kind === 'none' ? 'after' : framing.kind === 'chunked' ? 'size' : 'content';
    this.left = framing.kind === 'length' ? framing.length : Number.POSITIVE_INFINITY;
  }

  get isWhole(): boolean {
    return this.position === 'after';
  }

  /** What came is not chunked coding: nothing after it can be read. */
  get isBroken(): boolean {
    return this.position === 'broken';
  }

  /** It could only be read leniently. */
  get isLenient(): boolean {
    return this.wasLenient;
  }

  /** Passes on the content among the bytes, in order. Returns what follows the message, or a fault. */
  receive(bytes: Buffer & Piece, take: (content: Buffer & Piece) => void): Buffer & Piece {
    // All of it may be released before the last iteration.
    const { length } = bytes;
    let at = 0;
    while (at < length && !this.isWhole && !this.isBroken) {
      const begin = at;
      if (this.position === 'content') {
        at = Math.min(length, begin + this.left);
        this.left -= at - begin;
        if (this.left === 0) this.position = this.framing === 'chunked' ? 'end of chunk' : 'after';
        take(part(bytes, begin, at, length));
      } else {
        at = this.takeLine(bytes, begin, length);
      }
    }
    return part(bytes, at, length, length);
  }

  /** No byte will follow, and the sender ended cleanly: whether that is also the end of the content. */
  endsHere(): boolean {
    // Some servers omit the line after the last chunk.
    return this.isWhole || this.framing === 'close' || (!this.isStrict && this.position === 'trailers');
  }

  private takeLine(bytes: Buffer & Piece, at: number, length: number): number {
    const lf = bytes.indexOf(LF, at);
    const end = lf < 0 ? length : lf + 1;
    const bound = this.position === 'trailers' ? MAX_TRAILER_BYTES - this.trailerBytes : MAX_CHUNK_LINE_BYTES;
    if (this.line.length + end - at > bound) {
      this.position = 'broken';
      return at;
    }
    this.line += bytes.toString('latin1', at, end);
    release(bytes, at, end);
    if (lf >= 0) {
      const line = this.line;
      this.line = '';
      this.position = this.positionAfter(line);
    }
    return end;
  }

  private positionAfter(line: string): Position {
    switch (this.position) {
      case 'size':
        return this.startChunk(line);
      case 'end of chunk':
        return this.obeys(line, STRICT_END, LENIENT_END) ? 'size' : 'broken';
      case 'trailers':
        return this.dropTrailer(line);
      case 'content':
      case 'after':
      case 'broken':
        return this.position;
    }
  }

  private startChunk(line: string): Position {
    if (!this.obeys(line, STRICT_SIZE, LENIENT_SIZE)) return 'broken';
    const size = Number.parseInt(line.trimStart(), 16);
    if (!Number.isSafeInteger(size)) return 'broken';
    this.left = size;
    return size === 0 ? 'trailers' : 'content';
  }

  private dropTrailer(line: string): Position {
    this.trailerBytes += line.length;
    if (this.isStrict && !STRICT_TRAILER.test(line)) return 'broken';
    if (!line.endsWith('\r\n')) this.wasLenient = true;
    return this.obeys(line, STRICT_END, LENIENT_END) ? 'after' : 'trailers';
  }

  private obeys(line: string, strict: RegExp, lenient: RegExp): boolean {
    if (strict.test(line)) return true;
    if (this.isStrict || !lenient.test(line)) return false;
    this.wasLenient = true;
    return true;
  }
}

/** The bytes themselves if it is all of them. No part can be taken of what was released. */
function part(bytes: Buffer & Piece, begin: number, end: number, length: number): Buffer & Piece {
  if (begin === end) return NOTHING;
  return begin === 0 && end === length ? bytes : bytes.subarray(begin, end);
}
