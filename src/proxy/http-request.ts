/**
 * Reads a request to a proxy as node:http gives it: where it leads and what of it is passed on, or why it is refused. Pure.
 *
 * The framing of what is passed on is made from what node:http understood, and never copied, so two readers cannot differ
 * over where a request ends (RFC 9112 §11.2). No Via is added (RFC 9110 §7.6.3 asks for it): targets need not know of the
 * tunnel, as they do not with SOCKS.
 */
import type { Target } from '../tunnel/stream.ts';
import type { CredentialCheck } from './credentials.ts';
import { targetOfAuthority } from './host.ts';
import { type HttpRefusal, NOT_A_WEB_SERVER, refusalOf } from './http-replies.ts';

/** The part of node:http's IncomingMessage that is read here. */
export interface ReceivedRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
}

/** What is sent to the target. */
export interface ForwardRequest {
  readonly target: Target;
  readonly method: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly hasBody: boolean;
}

export type Refusable<T> = T | { readonly refusal: HttpRefusal };

/** RFC 9110 §7.6.1 and §11.7. Trailers are dropped, as a proxy may, so their announcement is too. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...['connection', 'proxy-connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info'],
]);
/** Sent anew: see the head of this file. */
const FRAMING_AND_HOST: ReadonlySet<string> = new Set(['host', 'content-length']);
/** Without a body these announce none; to all others a target may answer 411 unless they say that it is empty. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);
const HTTP_PORT = 80;

/** A CONNECT's target. */
export function readConnect(
  request: ReceivedRequest,
  check: CredentialCheck | undefined,
): Refusable<{ target: Target }> {
  if (!authorised(request, check)) return refuse('proxy-unauthorised');
  const target = targetOfAuthority(request.url ?? '');
  return target === undefined ? refuse('proxy-malformed', 'CONNECT needs host:port') : { target };
}

/** A request in absolute-form (RFC 9112 §3.2.2). */
export function readForward(request: ReceivedRequest, check: CredentialCheck | undefined): Refusable<ForwardRequest> {
  if (!authorised(request, check)) return refuse('proxy-unauthorised');
  const place = readUrl(request);
  if ('refusal' in place) return place;
  const framing = readFraming(request);
  if ('refusal' in framing) return framing;
  const passed = endToEnd(request.rawHeaders).filter(([name]) => !FRAMING_AND_HOST.has(name.toLowerCase()));
  const headers = ['Host', place.authority, ...passed.flat(), ...framing.headers];
  return { target: place.target, method: request.method ?? 'GET', path: place.path, headers, hasBody: framing.hasBody };
}

/** The same with `Upgrade` kept, for WebSockets without CONNECT. */
export function readUpgrade(request: ReceivedRequest, check: CredentialCheck | undefined): Refusable<ForwardRequest> {
  const { method, rawHeaders } = request;
  const forward = readForward({ method, rawHeaders, url: request.url?.replace(/^ws:/i, 'http:') }, check);
  if ('refusal' in forward) return forward;
  // Where its body ended would be for the new protocol's reader to find.
  if (forward.hasBody) return { refusal: refusalOf('proxy-malformed', 'an upgrade with a body is not supported', 501) };
  const upgrade = valuesOf(rawHeaders, 'upgrade').join(', ');
  return { ...forward, headers: [...forward.headers, 'Connection', 'Upgrade', 'Upgrade', upgrade] };
}

/**
 * Whether its wish for another protocol is passed over, as anyone may (RFC 9110 §7.8), and the rest of it served. h2c's settings
 * are for the next hop alone, and no protocol is switched to behind a body, see readUpgrade. But a WebSocket is asked for by who
 * can do nothing else.
 */
export function passesOverUpgrade({ rawHeaders }: ReceivedRequest): boolean {
  const protocols = tokensOf(rawHeaders, 'upgrade');
  if (protocols.includes('websocket')) return false;
  const hasBody =
    valuesOf(rawHeaders, 'transfer-encoding').length > 0 || Number(valuesOf(rawHeaders, 'content-length')[0]) > 0;
  return hasBody || protocols.includes('h2c');
}

/** For node:http to read anew. */
export function headWithoutUpgrade(request: ReceivedRequest & { readonly httpVersion: string }): Buffer {
  const { method, url, httpVersion, rawHeaders } = request;
  const kept = pairsOf(rawHeaders).filter(([name]) => name.toLowerCase() !== 'upgrade');
  const lines = [`${method} ${url} HTTP/${httpVersion}`, ...kept.map((pair) => pair.join(': '))];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/**
 * Of the codings only chunked is understood. Whatever else an answer is in would pass for its content: its name is not passed on.
 * identity is none, though servers of RFC 2616's time name it.
 */
export function hasUnknownCoding(rawHeaders: readonly string[]): boolean {
  const codings = tokensOf(rawHeaders, 'transfer-encoding').filter((coding) => coding !== 'identity');
  return codings.length > 0 && codings.join() !== 'chunked';
}

/** The headers of an answer that are meant for the program: names and values in turn. */
export function answerHeaders(rawHeaders: readonly string[]): string[] {
  return endToEnd(rawHeaders).flat();
}

function refuse(...fault: Parameters<typeof refusalOf>): { refusal: HttpRefusal } {
  return { refusal: refusalOf(...fault) };
}

function authorised(request: ReceivedRequest, check: CredentialCheck | undefined): boolean {
  if (check === undefined) return true;
  const [header, ...more] = valuesOf(request.rawHeaders, 'proxy-authorization');
  return more.length === 0 && check.acceptsBasic(header);
}

interface Place {
  readonly target: Target;
  readonly authority: string;
  readonly path: string;
}

/**
 * The URL is cut, not parsed as `URL` would: that rewrites hosts (0x7f.1) and paths (/a/../b), which are not ours to judge. A
 * received Host gives way to it, but two are refused as an attempt to smuggle (RFC 9112 §3.2).
 */
function readUrl({ url = '', method, rawHeaders }: ReceivedRequest): Refusable<Place> {
  const [, scheme, authority = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/i.exec(url) ?? [];
  if (scheme === undefined) return { refusal: NOT_A_WEB_SERVER };
  if (scheme.toLowerCase() !== 'http')
    return refuse('proxy-malformed', 'only http:// is proxied so, all else by CONNECT');
  if (valuesOf(rawHeaders, 'host').length > 1) return refuse('proxy-malformed', 'more than one Host');
  const target = targetOfAuthority(authority, HTTP_PORT);
  if (target === undefined) return refuse('proxy-malformed', 'the URL has no valid host and port');
  return { target, authority, path: pathOf(rest, method) };
}

/** RFC 9112 §3.2.4: an OPTIONS for the whole server has no path in its URL. */
function pathOf(rest: string, method: string | undefined): string {
  if (rest === '' && method === 'OPTIONS') return '*';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** node:http has refused what contradicts itself: both headers at once, two lengths, chunked not last. */
function readFraming({
  method = 'GET',
  rawHeaders,
}: ReceivedRequest): Refusable<Pick<ForwardRequest, 'headers' | 'hasBody'>> {
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  if (codings.length > 0) {
    // RFC 9112 §6.1: of the codings only chunked is understood.
    if (codings.join().trim().toLowerCase() !== 'chunked')
      return refuse('proxy-malformed', 'unknown transfer coding', 501);
    return { headers: ['Transfer-Encoding', 'chunked'], hasBody: true };
  }
  const [length] = valuesOf(rawHeaders, 'content-length');
  if (length !== undefined) return { headers: ['Content-Length', length], hasBody: Number(length) > 0 };
  return { headers: BODILESS.has(method) ? [] : ['Content-Length', '0'], hasBody: false };
}

function endToEnd(rawHeaders: readonly string[]): [string, string][] {
  const dropped = new Set([...HOP_BY_HOP, ...tokensOf(rawHeaders, 'connection')]);
  return pairsOf(rawHeaders).filter(([name]) => !dropped.has(name.toLowerCase()));
}

/** Of a header that is a list, in lower case. */
function tokensOf(rawHeaders: readonly string[], wanted: string): string[] {
  return valuesOf(rawHeaders, wanted).flatMap((value) => value.split(',').map((token) => token.trim().toLowerCase()));
}

function valuesOf(rawHeaders: readonly string[], wanted: string): string[] {
  return pairsOf(rawHeaders).flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []));
}

function pairsOf(rawHeaders: readonly string[]): [string, string][] {
  return Array.from({ length: rawHeaders.length >> 1 }, (_, i) => [
    rawHeaders[2 * i] ?? '',
    rawHeaders[2 * i + 1] ?? '',
  ]);
}
