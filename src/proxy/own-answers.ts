/**
 * What the proxy answers itself: the PAC file at its port, and the pages of http://wstun.internal/, which are reached
 * only through it. Pure.
 *
 * A page of any website can make its browser send requests to the port, also under a name of the website's own (DNS
 * rebinding). So nothing is told but to those who use an address or a name of this machine, no header lets a page of
 * another origin read an answer, and none of the answers holds a secret.
 */
import type { HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import type { DirectRule } from './direct-rules.ts';
import { valuesOf } from './http1/fields.ts';
import type { RequestHead } from './http1/request-head.ts';
import { ownPage, type TunnelFacts } from './own-page-text.ts';
import { pacText } from './pac-text.ts';

/** Reserved for private use (ICANN, 2024): no name server of the internet answers for it. */
export const OWN_HOST = 'wstun.internal';

export interface OwnPages {
  /** Of the tunnel at this moment. */
  readonly describe: () => TunnelFacts;
  /** For the PAC file. */
  readonly direct: readonly DirectRule[];
  /** By which other machines may call this one, in lower case. */
  readonly hostNames: readonly string[];
}

/** A whole response but for the header Connection. */
export interface HttpAnswer {
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** Where a request came in. */
export interface AskedAt {
  /** The address of this machine that the program's connection leads to. */
  readonly local: HostPort;
  readonly needsPassword: boolean;
}

const PAC_TYPE = 'application/x-ns-proxy-autoconfig';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const HTML_TYPE = 'text/html; charset=utf-8';

/** For a request in origin-form to the proxy's port. Undefined: this is not one that is answered here. */
export function answerAtPort(request: RequestHead, own: OwnPages, at: AskedAt): HttpAnswer | undefined {
  if (!request.url.startsWith('/')) return undefined;
  const address = addressOf(request, own, at.local);
  if (address === undefined) return answer(421, TEXT_TYPE, 'This server does not have that name.\n');
  if (pathOf(request.url) !== '/proxy.pac') return undefined;
  if (!isForReading(request)) return METHOD_NOT_ALLOWED;
  if (isFromOtherSite(request)) return answer(403, TEXT_TYPE, 'This file is not for web pages.\n');
  return pacAnswer(own, address, at.needsPassword);
}

/** For a request that came through the proxy, to `OWN_HOST`, port 80. */
export function answerAtOwnHost(request: RequestHead, own: OwnPages, at: AskedAt): HttpAnswer {
  // A browser sends the name that it believes to be connected to.
  const [host = OWN_HOST, ...more] = valuesOf(request.rawHeaders, 'host');
  if (more.length > 0 || !/^wstun\.internal\.?(?::80)?$/i.test(host))
    return answer(421, TEXT_TYPE, 'This server does not have that name.\n');
  if (!isForReading(request)) return METHOD_NOT_ALLOWED;
  switch (pathOf(request.url)) {
    case '/':
      return answer(200, HTML_TYPE, ownPage(own.describe()));
    case '/proxy.pac':
      return pacAnswer(own, at.local, at.needsPassword);
    default:
      return answer(404, TEXT_TYPE, 'There are two pages here: / and /proxy.pac\n');
  }
}

/** As its sender wrote it in Host, if that is an address or a name of this machine; without Host, the socket's. */
function addressOf({ rawHeaders }: RequestHead, own: OwnPages, local: HostPort): HostPort | undefined {
  const [host, ...more] = valuesOf(rawHeaders, 'host');
  if (host === undefined) return local;
  const [, bracketed, plain = '', port] = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::([1-9]\d{0,4}))?$/.exec(host) ?? [];
  const name = (bracketed ?? plain).toLowerCase().replace(/\.$/, '');
  const isOurs = parseIp(name) !== undefined || name === 'localhost' || own.hostNames.includes(name);
  if (more.length > 0 || !isOurs || Number(port ?? 80) > 65_535) return undefined;
  return { host: name, port: Number(port ?? 80) };
}

function pacAnswer({ direct }: OwnPages, address: HostPort, needsPassword: boolean): HttpAnswer {
  return answer(200, PAC_TYPE, pacText({ address, needsPassword, direct }));
}

function pathOf(url: string): string {
  return url.replace(/^http:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '') || '/';
}

function isForReading({ method }: RequestHead): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Browsers say so of what a page asks for, but not of a PAC file that they read for themselves. */
function isFromOtherSite({ rawHeaders }: RequestHead): boolean {
  return valuesOf(rawHeaders, 'sec-fetch-site').some((site) => site !== 'none' && site !== 'same-origin');
}

function answer(status: number, type: string, body: string, more: readonly string[] = []): HttpAnswer {
  const headers = [
    ...['Content-Type', type],
    ...['Content-Length', String(Buffer.byteLength(body))],
    ...['Cache-Control', 'no-store'],
    // A page of another origin may neither run, show nor read it.
    ...['X-Content-Type-Options', 'nosniff'],
    ...['Cross-Origin-Resource-Policy', 'same-origin'],
    ...['X-Frame-Options', 'DENY'],
    ...['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"],
    ...['Referrer-Policy', 'no-referrer'],
    ...more,
  ];
  return { status, headers, body };
}

const METHOD_NOT_ALLOWED = answer(405, TEXT_TYPE, 'Only GET and HEAD are possible here.\n', ['Allow', 'GET, HEAD']);
