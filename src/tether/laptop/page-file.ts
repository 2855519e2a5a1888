/**
 * The page as it is served: its bytes, and headers that let it do nothing but what it is for. Pure but for reading the
 * file.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * Made by tools/build-page.mjs, which puts it beside the compiled form of this file. @throws where it is missing: not
 * built
 */
export function readPage(): Buffer {
  return readFileSync(new URL('../page.html', import.meta.url));
}

export interface PagePolicy {
  /** The `Host` by which the page was asked for; one that has been checked. */
  readonly host: string;
  /** The relays' URLs: with the laptop the only ones that the page may speak to. */
  readonly relayUrls: readonly string[];
}

/** Each script and style of the page, and nothing else, runs: by its hash. */
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

/**
 * `'self'` is not the WebSocket's origin in every browser; policies know no IPv6 address, for which `'self'` must do.
 */
function ownSource(host: string): string[] {
  return host.includes('[') ? [] : [`ws://${host}`];
}

/** A link, and the question whether anything answers there. */
function sourcesOf(relayUrl: string): string[] {
  const { protocol, host } = new URL(relayUrl);
  const web = protocol === 'wss:' ? 'https:' : 'http:';
  return host.includes('[') ? [protocol, web] : [`${protocol}//${host}`, `${web}//${host}`];
}
