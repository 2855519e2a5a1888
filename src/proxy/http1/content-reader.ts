/**
 * Finds the content of a message in bytes that come in any pieces, and its end. Pure, and without a copy: content is
 * handed out as parts of the bytes that came in.
 *
 * The chunked coding (RFC 9112 §7.1) of requests is read strictly; that of answers with what servers make of it: lines
 * that end with LF, blanks around a size. Chunk extensions and trailers are dropped, as anyone may who frames a message
 * anew.
 */
import { type Piece, release } from '../../memory/pieces.ts';
import type { Framing } from './framing.ts';

/** Bytes of a chunk's first line: a size has 16 at most, extensions are hardly ever used. */
const MAX_CHUNK_LINE_BYTES = 4_096;
/** Bytes of the lines behind the last chunk. */
const MAX_TRAILER_BYTES = 64 * 1024;

const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/** The size ends at a blank, an extension or the line's end. `14`: below 2^53. */
const STRICT_SIZE = /^([0-9a-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n$/i;
const LENIENT_SIZE = /^[ \t]*([0-9a-f]+)[ \t]*(?:;.*)?\r*\n$/is;
const STRICT_END = /^\r\n$/;
const LENIENT_END = /^[ \t]*\r*\n$/;
const STRICT_TRAILER = /^[\t -~\x80-\xff]*\r\n$/;

type Place = 'content' | 'size' | 'end of chunk' | 'trailers' | 'behind' | 'broken';

export class ContentReader {
  private readonly framing: Framing['kind'];
  private readonly isStrict: boolean;
  private place: Place;
  /** Of the content, or of the chunk at hand. */
  private left: number;
  /** The beginning of a line whose end has not come. */
  private line = '';
  private trailerBytes = 0;
  private sawOdd = false;

  constructor(framing: Framing, isStrict: boolean) {
    this.framing = framing.kind;
    this.isStrict = isStrict;
    this.place = framing.kind === 'none' ? 'behind' : framing.kind === 'chunked' ? 'size' : 'content';
    this.left = framing.kind === 'length' ? framing.length : Number.POSITIVE_INFINITY;
  }

  get isWhole(): boolean {
    return this.place === 'behind';
  }

  /** What came is no chunked coding: nothing behind it can be understood. */
  get isBroken(): boolean {
    return this.place === 'broken';
  }

  /** A server's liberty was needed to read it. */
  get isOdd(): boolean {
    return this.sawOdd;
  }

  /**
   * Takes the bytes, and hands out the content among them, in order. Returns what is left: it lies behind the message,
   * or behind a fault.
   */
  receive(bytes: Buffer & Piece, take: (content: Buffer & Piece) => void): Buffer & Piece {
    // All of it may be given back before the last turn.
    const { length } = bytes;
    let at = 0;
    while (at < length && !this.isWhole && !this.isBroken) {
      const begin = at;
      if (this.place === 'content') {
        at = Math.min(length, begin + this.left);
        this.left -= at - begin;
        if (this.left === 0) this.place = this.framing === 'chunked' ? 'end of chunk' : 'behind';
        take(part(bytes, begin, at, length));
      } else {
        at = this.takeLine(bytes, begin, length);
      }
    }
    return part(bytes, at, length, length);
  }

  /** No byte will follow, and the sender ended cleanly: whether that is the end of the content, too. */
  endsHere(): boolean {
    // Some servers leave out the line behind the last chunk.
    return this.isWhole || this.framing === 'close' || (!this.isStrict && this.place === 'trailers');
  }

  private takeLine(bytes: Buffer & Piece, at: number, length: number): number {
    const lf = bytes.indexOf(LF, at);
    const end = lf < 0 ? length : lf + 1;
    const bound = this.place === 'trailers' ? MAX_TRAILER_BYTES - this.trailerBytes : MAX_CHUNK_LINE_BYTES;
    if (this.line.length + end - at > bound) {
      this.place = 'broken';
      return at;
    }
    this.line += bytes.toString('latin1', at, end);
    release(bytes, at, end);
    if (lf >= 0) {
      const line = this.line;
      this.line = '';
      this.place = this.placeBehind(line);
    }
    return end;
  }

  private placeBehind(line: string): Place {
    switch (this.place) {
      case 'size':
        return this.startChunk(line);
      case 'end of chunk':
        return this.obeys(line, STRICT_END, LENIENT_END) ? 'size' : 'broken';
      case 'trailers':
        return this.dropTrailer(line);
      case 'content':
      case 'behind':
      case 'broken':
        return this.place;
    }
  }

  private startChunk(line: string): Place {
    if (!this.obeys(line, STRICT_SIZE, LENIENT_SIZE)) return 'broken';
    const size = Number.parseInt(line.trimStart(), 16);
    if (!Number.isSafeInteger(size)) return 'broken';
    this.left = size;
    return size === 0 ? 'trailers' : 'content';
  }

  private dropTrailer(line: string): Place {
    this.trailerBytes += line.length;
    if (this.isStrict && !STRICT_TRAILER.test(line)) return 'broken';
    if (!line.endsWith('\r\n')) this.sawOdd = true;
    return this.obeys(line, STRICT_END, LENIENT_END) ? 'behind' : 'trailers';
  }

  private obeys(line: string, strict: RegExp, lenient: RegExp): boolean {
    if (strict.test(line)) return true;
    if (this.isStrict || !lenient.test(line)) return false;
    this.sawOdd = true;
    return true;
  }
}

/** The bytes themselves where it is all of them. Nothing can be cut from what was given back. */
function part(bytes: Buffer & Piece, begin: number, end: number, length: number): Buffer & Piece {
  if (begin === end) return NOTHING;
  return begin === 0 && end === length ? bytes : bytes.subarray(begin, end);
}
