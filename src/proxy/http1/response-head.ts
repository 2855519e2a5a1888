/**
 * Reads the head of a response as leniently as browsers, curl and other proxies do. Pure. Its framing is never copied.
 * A response with two different lengths is refused; one that does not follow the grammar (`isLenient`) is the last on
 * its connection, so that a mistake here cannot give one request the response to another.
 */
import { type Fields, TOKEN_CHARS, tokensOf, trimOws, valuesOf } from './fields.ts';
import { type Framing, framingOf, lengthOf, NO_CONTENT } from './framing.ts';
import type { FirstLine } from './head-reader.ts';

export interface ResponseHead {
  /** 100 to 999. */
  readonly status: number;
  readonly reason: string;
  /** Names and values in turn; names may have blanks and bytes that RFC 9110 forbids, but no control bytes. */
  readonly rawHeaders: Fields;
  /** Whether the target would keep the connection. */
  readonly isPersistent: boolean;
  /** It does not follow RFC 9112. */
  readonly isLenient: boolean;
}

/** HTTP/1.1, also with other versions and blanks than allowed, and SHOUTcast's ICY. */
const STATUS_LINE = /^(?:(?:HTTP(?:\/(\d+)(?:\.(\d+))?)?|ICY)[ \t]+)(\d{3})(?![!-~\x80-\xff])[ \t]*(.*)$/i;
const STRICT_STATUS_LINE = /^HTTP\/1\.[01] [1-9]\d\d(?: [\t -~\x80-\xff]*)?$/;
const STRICT_FIELD_LINE = new RegExp(`^[${TOKEN_CHARS}]+:[\\t -~\\x80-\\xff]*$`);
/** A name that can be forwarded: everything visible but the colon, and blanks and tabs within. */
const PASSABLE_NAME = /^[!-9;-~\x80-\xff](?:[\t -9;-~\x80-\xff]*[!-9;-~\x80-\xff])?$/;

export const RESPONSE_FIRST_LINE: FirstLine = {
  canBegin: (beginning) => {
    const text = beginning.replace(/^\r+/, '').slice(0, 4).toUpperCase();
    return 'HTTP'.startsWith(text) || 'ICY '.startsWith(text) || 'ICY\t'.startsWith(text);
  },
  matches: (line) => STATUS_LINE.test(cleaned(line)),
};

/** `text`: as HeadReader returns it. Undefined if its first line is not a status line. */
export function parseResponseHead(text: string): ResponseHead | undefined {
  const [first = '', ...lines] = text.split('\n').slice(0, -1);
  const [, major = '1', minor = '', code = '', reason = ''] = STATUS_LINE.exec(cleaned(first)) ?? [];
  const status = Number(code);
  if (status < 100) return undefined;
  let isLenient = lines.pop() !== '\r' || !isStrict(first, STRICT_STATUS_LINE);
  const rawHeaders: string[] = [];
  for (const line of lines) {
    if (!isStrict(line, STRICT_FIELD_LINE)) isLenient = true;
    takeLine(line, rawHeaders);
  }
  const version = `${major}.${minor}`;
  isLenient ||= hasLenientFraming(status, rawHeaders, version);
  return { status, reason, rawHeaders, isLenient, isPersistent: isPersistent(rawHeaders, version) };
}

function isStrict(line: string, grammar: RegExp): boolean {
  return line.endsWith('\r') && grammar.test(line.slice(0, -1));
}

/** A continuation is joined to the line before (RFC 9112 §5.2); a line without a name is no field, and dropped. */
function takeLine(line: string, rawHeaders: string[]): void {
  const text = cleaned(line);
  if (text.startsWith(' ') || text.startsWith('\t')) {
    const more = trimOws(text);
    const last = rawHeaders.pop();
    // Before the first field, it must be ignored (RFC 9112 §2.2).
    if (last !== undefined) rawHeaders.push(last === '' || more === '' ? last + more : `${last} ${more}`);
    return;
  }
  const colon = text.indexOf(':');
  const name = trimOws(text.slice(0, Math.max(colon, 0)));
  if (PASSABLE_NAME.test(name)) rawHeaders.push(name, trimOws(text.slice(colon + 1)));
}

/** Without CRs at the end; a CR or NUL elsewhere becomes a blank (RFC 9112 §2.2, RFC 9110 §5.5). */
function cleaned(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === '\r' || line[end - 1] === '\n')) end--;
  const text = line.slice(0, end);
  return text.includes('\r') || text.includes('\0') ? text.replaceAll('\r', ' ').replaceAll('\0', ' ') : text;
}

function isPersistent(rawHeaders: Fields, version: string): boolean {
  const options = tokensOf(rawHeaders, 'connection');
  if (options.includes('close')) return false;
  return version === '1.1' || (version === '1.0' && options.includes('keep-alive'));
}

/** `detail`: why there is no framing. */
export type ResponseFraming = Framing | { readonly kind: 'bad'; readonly detail: string };

const UNKNOWN_CODING: ResponseFraming = { kind: 'bad', detail: 'unknown transfer coding' };
const BAD_LENGTH: ResponseFraming = { kind: 'bad', detail: 'its Content-Length is not a single number' };

/**
 * RFC 9112 §6.3. A transfer coding overrides a length; equal lengths are one. identity is not a coding, but servers of
 * RFC 2616's time name it; chunked twice counts as once, since it must not be applied twice (§6.1), and servers behind
 * others name it twice. With any other coding, the coded bytes would be taken for the content.
 */
export function responseFraming(method: string, { status, rawHeaders }: ResponseHead): ResponseFraming {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return NO_CONTENT;
  const codings = tokensOf(rawHeaders, 'transfer-encoding').filter((coding) => coding !== 'identity');
  if (codings.length > 0) return codings.every((coding) => coding === 'chunked') ? { kind: 'chunked' } : UNKNOWN_CODING;
  const length = announcedLength(rawHeaders);
  if (length === undefined) return { kind: 'close' };
  return Number.isNaN(length) ? BAD_LENGTH : framingOf(length);
}

/** It describes its content more than once, or in a way that its version lacks, or although it can have none. */
function hasLenientFraming(status: number, rawHeaders: Fields, version: string): boolean {
  const codings = tokensOf(rawHeaders, 'transfer-encoding').length;
  const lengths = valuesOf(rawHeaders, 'content-length');
  if (codings > 0 && version !== '1.1') return true;
  if (status === 204 && (codings > 0 || lengths.some((value) => value !== '0'))) return true;
  return codings + lengths.length > 1 || lengths.some((value) => value.includes(','));
}

/** Also for a response that has no content (HEAD). Undefined: none; NaN: several, or not a number. */
export function announcedLength(rawHeaders: Fields): number | undefined {
  const values = valuesOf(rawHeaders, 'content-length').flatMap((value) => value.split(','));
  const lengths = new Set(values.map((value) => lengthOf(trimOws(value)) ?? Number.NaN));
  const [length] = lengths;
  return lengths.size > 1 ? Number.NaN : length;
}
