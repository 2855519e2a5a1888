/**
 * Finds the heads of the requests in what a peer sends on one connection, by the framing of RFC 9112. Pure. It only
 * looks: whatever it finds, every byte goes on as it came. Where the framing is not clear beyond doubt, it stops
 * looking for good ("blind"): an upstream may read those bytes in another way.
 */

/** What the gate needs of a request. */
export interface RequestHead {
  readonly method: string;
  /** The request target, as it was sent. */
  readonly url: string;
  readonly httpVersion: string;
  /** Names in lower case; the values of repeated fields are joined by `, `, as RFC 9110 §5.3 allows. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Scanned {
  /** The position after the last byte that was looked at; the next call begins there. */
  readonly end: number;
  /** Set if a head ends there. */
  readonly head?: RequestHead;
  /** Where in these bytes that head begins; 0 or more, or -1: in bytes that were read before. */
  readonly begin?: number;
}

/**
 * Node's own limit for a server. A request with a ticket needs less than 1 KiB of it. In a longer head only the framing
 * is looked for: a front end may send a client's request after it on the same connection.
 */
const MAX_HEAD_BYTES = 16 * 1024;
/** A line with the size of a chunk and its extensions, or a trailer. Of a line of a long head, what is looked at. */
const MAX_LINE_BYTES = 1024;
const MAX_TRAILER_LINES = 128;
const [CR, LF] = [13, 10];

type State = 'head' | 'long-head' | 'content' | 'chunk-size' | 'chunk-end' | 'trailer' | 'blind';

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const NOTHING: Buffer = Buffer.alloc(0);

export class RequestScanner {
  private state: State = 'head';
  /** The part of the current head that came before. */
  private kept = NOTHING;
  /** Bytes that are left of the content, or of the chunk. */
  private left = 0;
  /** The content is chunked: `left` is that of one chunk. */
  private isChunk = false;
  /** Of a long head, or of the chunked framing: the part of the current line that came before. */
  private line = '';
  /** What is known of a long head. */
  private long: { readonly method: string; readonly httpVersion: string; readonly headers: Record<string, string> } = {
    ...{ method: '', httpVersion: '', headers: {} },
  };
  private trailers = 0;

  /** A head has begun and is not complete. */
  get isInHead(): boolean {
    return this.state === 'head' && this.kept.length > 0;
  }

  /** Nothing will be found any more. */
  get isBlind(): boolean {
    return this.state === 'blind';
  }

  /** Looks at `bytes` from `at` on, up to the end of the next head or of all. Reads `bytes` only during the call. */
  read(bytes: Buffer, at: number): Scanned {
    let position = at;
    while (position < bytes.length) {
      switch (this.state) {
        case 'blind':
          return { end: bytes.length };
        case 'head': {
          const scanned = this.readHead(bytes, position);
          if (scanned.head !== undefined) return scanned;
          position = scanned.end;
          break;
        }
        case 'long-head':
          position = this.readLongHead(bytes, position);
          break;
        case 'content':
          position = this.skipContent(bytes, position);
          break;
        case 'chunk-size':
        case 'chunk-end':
        case 'trailer':
          position = this.readLine(bytes, position);
          break;
      }
    }
    return { end: position };
  }

  private readHead(bytes: Buffer, at: number): Scanned {
    let begin = at;
    if (this.kept.length === 0) {
      // RFC 9112 §2.2: a server ignores an empty line before a request.
      while (bytes[begin] === CR || bytes[begin] === LF) begin += 1;
      if (begin === bytes.length) return { end: begin };
      if (!isLetter(bytes[begin] ?? 0)) return this.goBlind(bytes);
    }
    const before = this.kept.length;
    const all = before === 0 ? bytes.subarray(begin) : Buffer.concat([this.kept, bytes.subarray(begin)]);
    const found = all.indexOf(HEAD_END, Math.max(0, before - HEAD_END.length));
    if (found < 0) {
      if (all.length >= MAX_HEAD_BYTES + HEAD_END.length) return this.beginLongHead(all, bytes);
      this.kept = before === 0 ? Buffer.from(all) : all;
      return { end: bytes.length };
    }
    if (found > MAX_HEAD_BYTES) return this.beginLongHead(all, bytes);
    this.kept = NOTHING;
    const head = parseRequestHead(all.toString('latin1', 0, found));
    if (head === undefined || !this.frame(head)) return this.goBlind(bytes);
    return { end: begin + found + HEAD_END.length - before, begin: before === 0 ? begin : -1, head };
  }

  /** @param all of the head, with what came before */
  private beginLongHead(all: Buffer, bytes: Buffer): Scanned {
    this.kept = NOTHING;
    const end = all.indexOf(LINE_END);
    const isLine = end >= 0 && end <= MAX_HEAD_BYTES;
    const [, method, , httpVersion] = (isLine && REQUEST_LINE.exec(all.toString('latin1', 0, end))) || [];
    if (method === undefined || httpVersion === undefined) return this.goBlind(bytes);
    this.long = { method, httpVersion, headers: {} };
    this.state = 'long-head';
    let at = end + LINE_END.length;
    while (at < all.length && this.state === 'long-head') at = this.readLongHead(all, at);
    return { end: bytes.length - all.length + at };
  }

  private readLongHead(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at);
    const end = found < 0 ? bytes.length : found + 1;
    this.line += bytes.toString('latin1', at, Math.min(end, at + MAX_LINE_BYTES - this.line.length));
    if (found < 0) return end;
    const { line } = this;
    this.line = '';
    const isEnd = line === '\r\n';
    if (isEnd ? this.frame(this.long) : this.takeFraming(line)) return end;
    return this.goBlind(bytes).end;
  }

  /** A line of a long head. False if it is malformed, as far as it is known. */
  private takeFraming(line: string): boolean {
    const { headers } = this.long;
    const isClipped = line.length === MAX_LINE_BYTES;
    const key = /^(content-length|transfer-encoding)[ \t]*:/i.exec(line)?.[1]?.toLowerCase();
    if (isClipped) return key === undefined;
    const [, name, value] = line.endsWith('\r\n') ? (FIELD.exec(line.slice(0, -2)) ?? []) : [];
    if (key !== undefined && value !== undefined) headers[key] = key in headers ? `${headers[key]}, ${value}` : value;
    return name !== undefined;
  }

  /** RFC 9112 §6.3. False where recipients differ about what follows. What follows CONNECT shows itself. */
  private frame({ method, httpVersion, headers }: Omit<RequestHead, 'url'>): boolean {
    const length = headers['content-length'];
    const coding = headers['transfer-encoding'];
    if (method === 'CONNECT' && (length ?? coding) !== undefined) return false;
    this.isChunk = coding !== undefined;
    if (coding === undefined) {
      if (length !== undefined && !/^\d{1,15}$/.test(length)) return false;
      this.left = Number(length ?? 0);
      this.state = this.left > 0 ? 'content' : 'head';
      return true;
    }
    if (length !== undefined || coding.toLowerCase() !== 'chunked' || httpVersion !== '1.1') return false;
    this.state = 'chunk-size';
    return true;
  }

  private skipContent(bytes: Buffer, at: number): number {
    const taken = Math.min(this.left, bytes.length - at);
    this.left -= taken;
    if (this.left === 0) this.state = this.isChunk ? 'chunk-end' : 'head';
    return at + taken;
  }

  private readLine(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at);
    const end = found < 0 ? bytes.length : found + 1;
    if (this.line.length + end - at > MAX_LINE_BYTES) return this.goBlind(bytes).end;
    this.line += bytes.toString('latin1', at, end);
    if (found < 0) return end;
    const { line } = this;
    this.line = '';
    if (!/^[^\r\n]*\r\n$/.test(line) || !this.takeLine(line.slice(0, -2))) return this.goBlind(bytes).end;
    return end;
  }

  /** A line of the chunked framing (RFC 9112 §7.1). False if it is malformed. */
  private takeLine(line: string): boolean {
    if (this.state === 'chunk-end') {
      this.state = 'chunk-size';
      return line === '';
    }
    if (this.state === 'trailer') {
      this.trailers += 1;
      if (line === '') this.state = 'head';
      return this.trailers <= MAX_TRAILER_LINES;
    }
    const size = /^([0-9a-fA-F]{1,12})(?:[ \t]*;.*)?$/.exec(line)?.[1];
    if (size === undefined) return false;
    this.left = Number.parseInt(size, 16);
    this.state = this.left === 0 ? 'trailer' : 'content';
    this.trailers = 0;
    return true;
  }

  private goBlind(bytes: Buffer): Scanned {
    this.state = 'blind';
    this.kept = NOTHING;
    this.line = '';
    return { end: bytes.length };
  }
}

function isLetter(byte: number): boolean {
  return (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122);
}

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP\/(1\.[01])$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[^\0\r\n]*[^\0\r\n\t ])?)[ \t]*$/;

/** @param text the head in latin1, without the empty line. Undefined if it is not of the form of RFC 9112 §3 and §5. */
function parseRequestHead(text: string): RequestHead | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const [, method, url, httpVersion] = REQUEST_LINE.exec(first) ?? [];
  if (method === undefined || url === undefined || httpVersion === undefined) return undefined;
  // Names of a peer must not reach a prototype.
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const [, name, value] = FIELD.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`;
  }
  return { method, url, httpVersion, headers };
}
