/**
 * Reads a request to a proxy: its target and what is forwarded, or why it is refused. Pure.
 *
 * The framing of what is forwarded is made from what was understood, and never copied, so two readers cannot disagree
 * on where a request ends (RFC 9112 §11.2). No Via is added (RFC 9110 §7.6.3 asks for it): targets need not know about
 * the tunnel, as with SOCKS.
 */
import type { Target } from '../tunnel/stream/stream.ts';
import type { CredentialCheck } from './credentials.ts';
import { type HttpRefusal, NOT_A_WEB_SERVER, refusalOf } from './http-refusals.ts';
import { type Fields, tokensOf, valuesOf, without } from './http1/fields.ts';
import type { Framing } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import { targetOfAuthority } from './request-target.ts';

/** What is sent to the target. */
export interface ForwardRequest {
  readonly target: Target;
  readonly method: string;
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: Fields;
  readonly framing: Framing;
  /** Of the program's HTTP/1.x. */
  readonly minor: 0 | 1;
  /** It asks for another protocol. */
  readonly isUpgrade: boolean;
}

export type Refusable<T> = T | { readonly refusal: HttpRefusal };

/** RFC 9110 §7.6.1 and §11.7. Trailers are dropped, as a proxy may, so their announcement is too. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...['connection', 'proxy-connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info'],
]);
/** Written anew: see the head of this file. */
const FRAMING_AND_HOST: ReadonlySet<string> = new Set(['host', 'content-length']);
/** A target may respond 411 to these unless they say that their content is empty (RFC 9110 §8.6). */
const HAVE_CONTENT: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const HTTP_PORT = 80;

/** A CONNECT's target. */
export function readConnect(request: RequestHead, check: CredentialCheck | undefined): Refusable<{ target: Target }> {
  if (!authorised(request, check)) return refuse('proxy-unauthorised');
  const target = targetOfAuthority(request.url);
  return target === undefined ? refuse('proxy-malformed', 'CONNECT needs host:port') : { target };
}

/** A request in absolute-form (RFC 9112 §3.2.2), or one that asks for another protocol: WebSocket without CONNECT. */
export function readForward(
  request: RequestHead,
  framing: Framing,
  check: CredentialCheck | undefined,
): Refusable<ForwardRequest> {
  if (!authorised(request, check)) return refuse('proxy-unauthorised');
  const isUpgrade = wantsUpgrade(request, framing);
  const place = readUrl(isUpgrade ? request.url.replace(/^ws:/i, 'http:') : request.url, request);
  if ('refusal' in place) return place;
  const { method, minor, rawHeaders } = request;
  // Only the reader of the new protocol could find the end of its content.
  if (isUpgrade && framing.kind !== 'none') {
    return refuse('proxy-malformed', 'an upgrade with a body is not supported', 501);
  }
  const headers = [
    ...['Host', place.authority],
    ...without(
      rawHeaders,
      droppedOf(rawHeaders, minor === 0 ? ['host', 'content-length', 'expect'] : FRAMING_AND_HOST),
    ),
    ...framingFields(method, framing, rawHeaders),
    ...(isUpgrade
      ? ['Connection', 'Upgrade', 'Upgrade', valuesOf(rawHeaders, 'upgrade').join(', ')]
      : ['Connection', 'keep-alive']),
  ];
  return { target: place.target, method, path: place.path, headers, framing, minor, isUpgrade };
}

/**
 * Whether it asks for an upgrade that is not ignored, as anyone may (RFC 9110 §7.8). HTTP/1.0 has no upgrades. The
 * settings of h2c are only for the next hop, and there is no upgrade after content. But a program that asks for a
 * WebSocket cannot do without.
 */
export function wantsUpgrade({ rawHeaders, minor }: RequestHead, framing: Framing): boolean {
  const protocols = tokensOf(rawHeaders, 'upgrade');
  if (minor === 0 || protocols.length === 0 || !tokensOf(rawHeaders, 'connection').includes('upgrade')) return false;
  return protocols.includes('websocket') || (framing.kind === 'none' && !protocols.includes('h2c'));
}

/** The headers of a response that are meant for the program, without its framing: names and values in turn. */
export function responseHeaders(rawHeaders: Fields): string[] {
  return without(rawHeaders, droppedOf(rawHeaders, ['content-length']));
}

function refuse(...fault: Parameters<typeof refusalOf>): { refusal: HttpRefusal } {
  return { refusal: refusalOf(...fault) };
}

function authorised(request: RequestHead, check: CredentialCheck | undefined): boolean {
  if (check === undefined) return true;
  const [header, ...more] = valuesOf(request.rawHeaders, 'proxy-authorization');
  return more.length === 0 && check.acceptsBasic(header);
}

interface UrlTarget {
  readonly target: Target;
  readonly authority: string;
  readonly path: string;
}

/**
 * The URL is split, not parsed by `URL`, which rewrites hosts (0x7f.1) and paths (/a/../b): that is up to the target.
 * User information is dropped: programs that leave it there also send it as Authorization, and no one else may read it
 * (RFC 9110 §4.2.4). The URL replaces a received Host, but two are refused as an attempt to smuggle (RFC 9112 §3.2).
 */
function readUrl(url: string, { method, rawHeaders }: RequestHead): Refusable<UrlTarget> {
  const [, scheme, userinfoAndHost = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^#]*)/i.exec(url) ?? [];
  if (scheme === undefined) return { refusal: NOT_A_WEB_SERVER };
  if (scheme.toLowerCase() !== 'http')
    return refuse('proxy-malformed', 'only http:// URLs are possible here; use CONNECT for all others');
  if (valuesOf(rawHeaders, 'host').length > 1) return refuse('proxy-malformed', 'more than one Host');
  const authority = userinfoAndHost.slice(userinfoAndHost.lastIndexOf('@') + 1);
  const target = targetOfAuthority(authority, HTTP_PORT);
  if (target === undefined) return refuse('proxy-malformed', 'the URL has no valid host and port');
  return { target, authority, path: pathOf(rest, method) };
}

/** RFC 9112 §3.2.4: an OPTIONS for the whole server has no path in its URL. */
function pathOf(rest: string, method: string): string {
  if (rest === '' && method === 'OPTIONS') return '*';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function framingFields(method: string, framing: Framing, rawHeaders: Fields): string[] {
  switch (framing.kind) {
    case 'length':
      return ['Content-Length', String(framing.length)];
    case 'chunked':
      return ['Transfer-Encoding', 'chunked'];
    case 'none':
    case 'close': {
      const isSaid = HAVE_CONTENT.has(method) || valuesOf(rawHeaders, 'content-length').length > 0;
      return isSaid ? ['Content-Length', '0'] : [];
    }
  }
}

/** Names in lower case: what is meant for the proxy alone, what Connection adds to that, and `more`. */
function droppedOf(rawHeaders: Fields, more: Iterable<string>): ReadonlySet<string> {
  return new Set([...HOP_BY_HOP, ...tokensOf(rawHeaders, 'connection'), ...more]);
}
