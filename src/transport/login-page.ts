/**
 * Asks by plain HTTP where this network leads who wants to reach a relay: many networks answer every http:// address
 * with the page of their login, until someone has logged in, and nothing of it can be seen by TLS.
 */
import { request } from 'node:http';
import { withLimit } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { DialError } from './dial-obstacle.ts';
import { placeOfRedirect } from './http-intermediary.ts';

/** Such a page is near; the dial has failed already, and its caller waits for the reason. */
const LIMIT_MS = 2_000;
/** RFC 6585 §6. */
const AUTHENTICATION_REQUIRED = 511;

export interface LoginPageOptions {
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /** For tests; default: 80. */
  readonly port?: number;
}

/** What to tell if something leads to another place than the relay. Undefined: nothing does, or nothing answers. */
export async function findLoginPage(relay: string, options: LoginPageOptions): Promise<WstunError | undefined> {
  const url = new URL(relay);
  // Over ws:// the answer to the dial itself has said it.
  if (url.protocol !== 'wss:') return undefined;
  const asked = new URL(`http://${url.hostname}${options.port === undefined ? '' : `:${options.port}`}/`);
  const { signal, clock = systemClock } = options;
  try {
    const page = await withLimit(
      { clock, signal, limitMs: LIMIT_MS },
      () => new WstunError('link-slow'),
      (limited) => pageFor(asked, limited),
    );
    return page && faultOf(asked, page);
  } catch {
    return undefined;
  }
}

function faultOf(asked: URL, page: URL): WstunError {
  const detail = page.href === asked.href ? `${asked.href} is such a page` : `${asked.href} leads to ${page.href}`;
  const fix = `Open ${page.href} in a browser: the network may require a login. wstun reconnects automatically.`;
  return new DialError('login-required', detail, 'answer', { fix });
}

function pageFor(asked: URL, signal: AbortSignal): Promise<URL | undefined> {
  return new Promise((resolve, reject) => {
    const asking = request(asked, { agent: false, signal }, ({ statusCode = 0, headers }) => {
      asking.destroy();
      if (statusCode === AUTHENTICATION_REQUIRED) return resolve(asked);
      const isRedirect = statusCode >= 300 && statusCode < 400;
      const place = isRedirect ? placeOfRedirect(headers.location, asked) : undefined;
      // Web servers send people from http:// to https:// of the same name.
      resolve(place?.hostname === asked.hostname ? undefined : place);
    });
    asking.on('error', reject);
    asking.end();
  });
}
