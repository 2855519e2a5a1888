/** The URL of a relay: checks it and normalises it. Pure. */
import { WstunError } from '../errors.ts';

/** Longer than any host with a reasonable path, and with a ticket still far below a proxy's limit of 8 KiB. */
const MAX_URL_CHARS = 1024;

const SCHEMES: Readonly<Record<string, string>> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' };

/**
 * `ws://` or `wss://`, host, port unless it is the scheme's own, path without a slash at its end: a request target is
 * this path, a slash and a ticket. `http(s)://` is read as `ws(s)://`: people copy it from a browser.
 * @throws WstunError bad-url. Its text never holds the URL, which may hold a password.
 */
export function parseRelayUrl(text: string): string {
  const url = parseUrl(text);
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined) throw new WstunError('bad-url', 'it does not begin with wss:// or ws://');
  if (url.username !== '' || url.password !== '')
    throw new WstunError('bad-url', 'it contains a user name or password');
  if (text.includes('?') || text.includes('#')) throw new WstunError('bad-url', 'it has a query or a fragment');
  if (url.port === '0') throw new WstunError('bad-url', 'its port is 0');
  const normal = `${scheme}//${url.host}${url.pathname.replace(/\/+$/, '')}`;
  // Escapes make it longer.
  refuseLong(normal);
  return normal;
}

function refuseLong(text: string): void {
  if (text.length > MAX_URL_CHARS) throw new WstunError('bad-url', `it has more than ${MAX_URL_CHARS} characters`);
}

function parseUrl(text: string): URL {
  refuseLong(text);
  if (!/^[a-z][a-z+.-]*:\/\/[^/]/i.test(text)) throw new WstunError('bad-url', 'it has no scheme or no host');
  if (/[\s\\\p{Cc}]/u.test(text)) throw new WstunError('bad-url', 'it has spaces, backslashes or control characters');
  try {
    return new URL(text);
  } catch {
    throw new WstunError('bad-url', 'its host or port cannot be read');
  }
}
