/**
 * Reads a proxy's answer to CONNECT from bytes as they come: the head, and of a refusal the body, after which the
 * connection may be used again. Pure. What follows the head of a success belongs to the tunnel.
 */

/** Heads of honest proxies are below 16 KiB; NTLM's tokens, some. */
export const MAX_ANSWER_HEAD_BYTES = 64 * 1024;
/** Of a body that is only skipped. A connection with a longer one is not used again. */
const MAX_SKIPPED_BODY_BYTES = 256 * 1024;

export interface ConnectAnswer {
  readonly status: number;
  /** Names in lower case, in the order in which they came. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** What followed the head of a success. */
  readonly rest: Buffer;
  /** Another request may follow on the same connection. */
  readonly isReusable: boolean;
}

export type AnswerFault = 'not-http' | 'head-too-large' | 'cut-short';

export type AnswerResult = { readonly answer: ConnectAnswer } | { readonly fault: AnswerFault };

interface Head {
  readonly status: number;
  readonly isOld: boolean;
  readonly fields: readonly (readonly [string, string])[];
  readonly length: number;
}

const STATUS_LINE = /^HTTP\/1\.([01]) +(\d{3})(?: .*)?$/;

export class ConnectAnswerReader {
  private bytes: Buffer = Buffer.alloc(0);
  private head: Head | undefined;
  /** Before it no head ends: small pieces must not be searched again and again. */
  private searched = 0;
  private chunks: ChunkScan | undefined;

  /** Undefined: more is needed. */
  push(chunk: Uint8Array): AnswerResult | undefined {
    this.bytes = this.bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.bytes, chunk]);
    return this.poll();
  }

  /** The connection has ended. */
  end(): AnswerResult {
    if (this.head === undefined) return { fault: this.bytes.length === 0 ? 'cut-short' : 'not-http' };
    return this.answer(this.head, false);
  }

  private poll(): AnswerResult | undefined {
    while (this.head === undefined) {
      const end = headEnd(this.bytes, this.searched);
      if (end === undefined) return this.unfinishedHead();
      this.searched = 0;
      if (end > MAX_ANSWER_HEAD_BYTES) return { fault: 'head-too-large' };
      const head = parseHead(this.bytes.subarray(0, end));
      if (head === undefined) return { fault: 'not-http' };
      // Interim responses (RFC 9110 §15.2).
      if (head.status < 200) this.bytes = this.bytes.subarray(end);
      else this.head = head;
    }
    return this.afterHead(this.head);
  }

  private unfinishedHead(): AnswerResult | undefined {
    // Something else, such as a greeting, is told at once.
    this.searched = Math.max(0, this.bytes.length - 2);
    const begin = this.bytes.subarray(0, 7).toString('latin1');
    if (!'HTTP/1.'.startsWith(begin)) return { fault: 'not-http' };
    return this.bytes.length > MAX_ANSWER_HEAD_BYTES ? { fault: 'head-too-large' } : undefined;
  }

  private afterHead(head: Head): AnswerResult | undefined {
    if (head.status < 300) return this.answer(head, true);
    const end = this.bodyEnd(head);
    if (end === 'unknown') return this.answer(head, false);
    if (end === undefined) {
      const isTooLong = this.bytes.length - head.length > MAX_SKIPPED_BODY_BYTES;
      return isTooLong ? this.answer(head, false) : undefined;
    }
    return this.answer(head, end === this.bytes.length && isPersistent(head));
  }

  /** Undefined: it is not complete. `unknown`: only the end of the connection ends it. */
  private bodyEnd({ fields, length }: Head): number | 'unknown' | undefined {
    const coding = fieldValues(fields, 'transfer-encoding').join(',').toLowerCase();
    if (coding !== '' && coding !== 'chunked') return 'unknown';
    if (coding !== '') {
      this.chunks ??= new ChunkScan(length);
      return this.chunks.end(this.bytes);
    }
    const [size] = fieldValues(fields, 'content-length');
    if (size === undefined || !/^\d{1,9}$/.test(size)) return 'unknown';
    const end = length + Number(size);
    return this.bytes.length >= end ? end : undefined;
  }

  private answer({ status, fields, length }: Head, isReusable: boolean): AnswerResult {
    const rest = status < 300 ? this.bytes.subarray(length) : Buffer.alloc(0);
    return { answer: { status, fields, rest, isReusable } };
  }
}

export function fieldValues(fields: ConnectAnswer['fields'], name: string): string[] {
  return fields.flatMap(([field, value]) => (field === name ? [value] : []));
}

/** After the empty line; lines may end in LF alone. @param from before it there is no end */
function headEnd(bytes: Buffer, from: number): number | undefined {
  for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (bytes[at + 1] === 10) return at + 2;
    if (bytes[at + 1] === 13 && bytes[at + 2] === 10) return at + 3;
  }
  return undefined;
}

function parseHead(bytes: Buffer): Head | undefined {
  // A folded line continues the one before (RFC 9112 §5.2).
  const [first = '', ...lines] = bytes
    .toString('latin1')
    .replace(/\r?\n[ \t]+/g, ' ')
    .split(/\r?\n/);
  const [, minor, status] = STATUS_LINE.exec(first) ?? [];
  if (status === undefined) return undefined;
  const fields = lines.flatMap((line): [string, string][] => {
    const colon = line.indexOf(':');
    return colon > 0 ? [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]] : [];
  });
  return { status: Number(status), isOld: minor === '0', fields, length: bytes.length };
}

/** Finds the end of a chunked body (RFC 9112 §7.1) as it comes; each chunk is looked at once. */
class ChunkScan {
  /** Of the line of the last chunk, when it has come. */
  private trailer: number | undefined;
  /** Before it no trailer section ends. */
  private searched = 0;

  /** @param at where the line of the next chunk begins */
  constructor(private at: number) {}

  end(bytes: Buffer): number | 'unknown' | undefined {
    while (this.trailer === undefined) {
      if (this.at > bytes.length) return undefined;
      const lineEnd = bytes.indexOf('\r\n', this.at);
      if (lineEnd < 0) return undefined;
      const [, digits] = /^([0-9a-f]{1,8})\s*(?:;.*)?$/i.exec(bytes.toString('latin1', this.at, lineEnd)) ?? [];
      if (digits === undefined) return 'unknown';
      const size = Number.parseInt(digits, 16);
      if (size === 0) this.trailer = lineEnd;
      else this.at = lineEnd + 2 + size + 2;
    }
    return this.trailerEnd(bytes, this.trailer);
  }

  private trailerEnd(bytes: Buffer, lineEnd: number): number | undefined {
    if (bytes[lineEnd + 2] === 13 && bytes[lineEnd + 3] === 10) return lineEnd + 4;
    const end = bytes.indexOf('\r\n\r\n', Math.max(lineEnd, this.searched));
    this.searched = Math.max(0, bytes.length - 3);
    return end < 0 ? undefined : end + 4;
  }
}

function isPersistent({ isOld, fields }: Head): boolean {
  const options = ['connection', 'proxy-connection'].flatMap((name) => fieldValues(fields, name));
  const said = options.join(',').toLowerCase();
  if (said.includes('close')) return false;
  return !isOld || said.includes('keep-alive');
}
