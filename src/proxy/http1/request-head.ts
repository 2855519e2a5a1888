/**
 * The head of a request, read strictly (RFC 9112 §3, §5, §6). Pure. What two readers could understand differently is
 * refused, since the next request would begin elsewhere for each of them: request smuggling (§11.2). Bytes of 80 and
 * above are allowed wherever text is, methods are any token, and lines may all end with only LF.
 */
import { type Fields, TOKEN_CHARS, tokensOf, trimOws, valuesOf } from './fields.ts';
import { type Framing, framingOf, lengthOf, NO_CONTENT } from './framing.ts';
import type { FirstLine } from './head-reader.ts';

export interface RequestHead {
  readonly method: string;
  /** The request target as it was written. */
  readonly url: string;
  /** Of HTTP/1.x: 0 or 1. */
  readonly minor: 0 | 1;
  /** Names and values in turn. */
  readonly rawHeaders: Fields;
}

/** `reason`: for people; never contains what the program sent. */
export interface HeadFault {
  readonly reason: string;
  /** Of the response. */
  readonly status: 400 | 501 | 505;
}

const REQUEST_LINE = new RegExp(`^([${TOKEN_CHARS}]+) ([!-~\\x80-\\xff]+) HTTP/1\\.([01])$`);
/** Any beginning of the above, and the CR of its end. */
const REQUEST_BEGINNING = new RegExp(`^[${TOKEN_CHARS}]+(?: (?:[!-~\\x80-\\xff]+(?: [HTP/0-9.]*\\r?)?)?)?$`);
const FIELD_LINE = new RegExp(`^([${TOKEN_CHARS}]+):([\\t -~\\x80-\\xff]*)$`);

export const REQUEST_FIRST_LINE: FirstLine = {
  canBegin: (beginning) => /^\r*$/.test(beginning) || REQUEST_BEGINNING.test(beginning),
  matches: (line) => REQUEST_LINE.test(line.replace(/\r?\n$/, '')),
};

/** `text`: as HeadReader returns it. */
export function parseRequestHead(text: string): RequestHead | HeadFault {
  const lines = linesOf(text);
  if (lines === undefined) return fault('its lines have different line endings');
  const [, method, url, minor] = REQUEST_LINE.exec(lines[0] ?? '') ?? [];
  if (method === undefined || url === undefined) return fault('its first line is not a request line');
  const rawHeaders: string[] = [];
  for (let i = 1; i < lines.length; i++) {
    const [, name, value = ''] = FIELD_LINE.exec(lines[i] ?? '') ?? [];
    if (name === undefined) return fault('one of its header lines is malformed');
    rawHeaders.push(name, trimOws(value));
  }
  // For CONNECT, programs omit it, and it is not needed.
  const needsHost = minor === '1' && method !== 'CONNECT';
  if (needsHost && valuesOf(rawHeaders, 'host').length === 0) return fault('HTTP/1.1 needs a Host');
  return { method, url, minor: minor === '0' ? 0 : 1, rawHeaders };
}

/** Without their ends and the empty line; undefined if some end with CRLF and some with LF. */
function linesOf(text: string): string[] | undefined {
  const lines = text.split('\n');
  // Nothing follows the last LF; the empty line is before it.
  lines.pop();
  const end = lines.pop() ?? '';
  if (end === '') return lines.some((line) => line.endsWith('\r')) ? undefined : lines;
  if (end !== '\r' || !lines.every((line) => line.endsWith('\r'))) return undefined;
  return lines.map((line) => line.slice(0, -1));
}

/** RFC 9112 §6.1 to §6.3, and stricter: no second length, not even the same. */
export function requestFraming({ rawHeaders }: RequestHead): Framing | HeadFault {
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  const lengths = valuesOf(rawHeaders, 'content-length');
  if (codings.length > 0) {
    if (lengths.length > 0) return fault('it has both Content-Length and Transfer-Encoding');
    if (codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked') return fault('unknown transfer coding', 501);
    return { kind: 'chunked' };
  }
  const [value] = lengths;
  if (value === undefined) return NO_CONTENT;
  const length = lengthOf(value);
  if (lengths.length > 1 || length === undefined) return fault('its Content-Length is not a single number');
  return framingOf(length);
}

/**
 * Whether the program would keep the connection, and may (RFC 9112 §9.3, RFC 9110 appendix C.2.2). HTTP/1.0 has no
 * transfer codings: if a request has one, it is not certain where the next begins (RFC 9112 §6.1).
 */
export function wantsToStay({ rawHeaders, minor }: RequestHead): boolean {
  if (minor === 0 && valuesOf(rawHeaders, 'transfer-encoding').length > 0) return false;
  const options = [...tokensOf(rawHeaders, 'connection'), ...tokensOf(rawHeaders, 'proxy-connection')];
  if (options.includes('close')) return false;
  return minor === 1 || options.includes('keep-alive');
}

function fault(reason: string, status: HeadFault['status'] = 400): HeadFault {
  return { reason, status };
}
