/** The page as it is served: its bytes, and headers that restrict it to what it needs. */
import { createHash } from 'node:crypto';
import { readAsset } from '../../assets.ts';

/** tools/build-page.mjs makes it. @throws if it was not built */
export function readPage(): Buffer {
  return readAsset('page.html');
}

export interface PagePolicy {
  /** The `Host` of the request, already checked. */
  readonly host: string;
  /** The relays' URLs: besides the laptop the page may connect only to these. */
  readonly relayUrls: readonly string[];
}

/** Only the page's own scripts and styles run, by their hashes. */
export function headersOf(page: Buffer, { host, relayUrls }: PagePolicy): Readonly<Record<string, string>> {
  const html = page.toString('utf8');
  const policy = [
    "default-src 'none'",
    `script-src ${hashesOf(html, 'script')}`,
    `style-src ${hashesOf(html, 'style')}`,
    'img-src data:',
    'media-src data:',
    `connect-src 'self' ${[...new Set([...ownSource(host), ...relayUrls.flatMap(sourcesOf)])].join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': String(page.length),
    'Content-Security-Policy': policy,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
    Connection: 'close',
  };
}

function hashesOf(html: string, tag: 'script' | 'style'): string {
  const contents = [...html.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g'))].map((match) => match[1] ?? '');
  return contents.map((content) => `'sha256-${createHash('sha256').update(content).digest('base64')}'`).join(' ');
}

/** `'self'` does not include WebSockets in every browser. Policies know no IPv6 address: there `'self'` must do. */
function ownSource(host: string): string[] {
  return host.includes('[') ? [] : [`ws://${host}`];
}

/** For a link, and for the check whether anything answers there. */
function sourcesOf(relayUrl: string): string[] {
  const { protocol, host } = new URL(relayUrl);
  const web = protocol === 'wss:' ? 'https:' : 'http:';
  return host.includes('[') ? [protocol, web] : [`${protocol}//${host}`, `${web}//${host}`];
}
