/** Finds a head in bytes in any pieces. Pure. Lines end with LF, with or without a CR before (RFC 9112 §2.2). */
import { type Piece, release } from '../../memory/pieces.ts';

/** Bytes of a head with the empty lines before it: squid's limit, four times node:http's, for large cookies. */
export const MAX_HEAD_BYTES = 64 * 1024;

/** So many bytes of an incomplete first line are checked: enough to tell whether a message begins there. */
const LOOKED_AT_BYTES = 4_096;

const LF = 0x0a;
const CR = 0x0d;

export type HeadStep =
  | { readonly kind: 'more' }
  /** `text`: through the empty line, one char a byte. `rest`: the bytes after it, which are the caller's. */
  | { readonly kind: 'head'; readonly text: string; readonly rest: Buffer & Piece }
  | { readonly kind: 'too-large' }
  /** The first line is not of the kind that is expected; the rest is dropped. */
  | { readonly kind: 'foreign' };

/** What a first line must look like. */
export interface FirstLine {
  /** Whether it can become one; true for all beginnings of lines that `matches` accepts. */
  canBegin(beginning: string): boolean;
  /** `line`: with its end. */
  matches(line: string): boolean;
}

/** The outcome of a scan. `end`: of the head. */
type Found =
  | Exclude<HeadStep, { kind: 'head' }>
  | { readonly kind: 'head'; readonly text: string; readonly end: number };

const MORE: Found = { kind: 'more' };
const TOO_LARGE: Found = { kind: 'too-large' };
const FOREIGN: Found = { kind: 'foreign' };

const NOTHING = Buffer.alloc(0);

export class HeadReader {
  /** Used only if a head comes in pieces. Doubled when it is full: a head may come byte by byte. */
  private store: Buffer = Buffer.alloc(0);
  private filled = 0;
  /** Where the head, after empty lines, and the current line begin; how far its end has been searched for. */
  private start = 0;
  private line = 0;
  private scanned = 0;

  constructor(private readonly firstLine: FirstLine) {}

  /** Whether only empty lines have come. */
  get isEmpty(): boolean {
    return this.filled === this.start;
  }

  /** Not to be called after anything but `more`. Where the bytes are split makes no difference. */
  receive(bytes: Buffer & Piece): HeadStep {
    const before = this.filled;
    if (before > 0) this.keep(bytes);
    const found = this.scan(before > 0 ? this.store.subarray(0, this.filled) : bytes);
    if (found === MORE && before === 0) this.keep(bytes);
    if (found.kind !== 'head') {
      release(bytes);
      return found;
    }
    const used = found.end - before;
    const rest = used < bytes.length ? bytes.subarray(used) : NOTHING;
    release(bytes, 0, used);
    return { kind: 'head', text: found.text, rest };
  }

  private scan(all: Buffer): Found {
    for (;;) {
      const end = all.indexOf(LF, this.scanned);
      if (end < 0 || end >= MAX_HEAD_BYTES) break;
      this.scanned = end + 1;
      const isFirst = this.line === this.start;
      if (isBlank(all, this.line, end)) {
        if (!isFirst) return head(all, this.start, end + 1);
        this.start = end + 1;
      } else if (isFirst && !this.firstLine.matches(all.toString('latin1', this.line, end + 1))) return FOREIGN;
      this.line = end + 1;
    }
    if (this.line === this.start) {
      const seen = Math.min(all.length, MAX_HEAD_BYTES, this.start + LOOKED_AT_BYTES);
      if (!this.firstLine.canBegin(all.toString('latin1', this.start, seen))) return FOREIGN;
    }
    this.scanned = all.length;
    return all.length >= MAX_HEAD_BYTES ? TOO_LARGE : MORE;
  }

  private keep(bytes: Buffer): void {
    const needed = this.filled + bytes.length;
    if (needed > this.store.length) {
      const store = Buffer.allocUnsafeSlow(Math.max(2 * this.store.length, needed));
      this.store.copy(store, 0, 0, this.filled);
      this.store = store;
    }
    this.filled += bytes.copy(this.store, this.filled);
  }
}

function head(all: Buffer, start: number, end: number): Found {
  return { kind: 'head', text: all.toString('latin1', start, end), end };
}

/** Only CRs before the line's end. */
function isBlank(all: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (all[i] !== CR) return false;
  return true;
}
