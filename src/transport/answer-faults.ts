/**
 * What an HTTP answer to the upgrade other than 101 means, as a fault. Pure. Such an answer proves nothing: a relay and
 * any web server, filter or portal in front of it answer 404 alike. So the detail says only which answer arrived, and
 * from which product if that is known.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { WstunError } from '../errors.ts';
import { DialError, type Obstacle } from './dial-obstacle.ts';
import { nameOfFront, placeOfRedirect } from './http-intermediary.ts';

/** Something answered 404, as the relay answers any stranger: it rejected the ticket, or there is no relay. */
export class RelayRefused extends DialError {
  constructor(
    detail: string,
    /** The server's `Date`, ms since 1970: a ticket also fails when the clocks are minutes apart. */
    readonly relayTime: number | undefined,
  ) {
    super('relay-refused', detail, 'answer');
  }
}

export interface UpgradeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The URL of the request. Its path holds a ticket. */
  readonly url: URL;
  /** Host and port as dialled. */
  readonly where: string;
}

/** The place, the status, and the product if known. */
export function describeAnswer({ status, headers, where }: UpgradeAnswer): string {
  const front = nameOfFront(headers);
  return `${where}: HTTP ${status}${front === undefined ? '' : ` from ${front}`}`;
}

export function answerFault(answer: UpgradeAnswer): WstunError {
  const { status, headers } = answer;
  const front = nameOfFront(headers);
  const detail = describeAnswer(answer);
  if (status === 404) {
    const time = Date.parse(headers.date ?? '');
    return new RelayRefused(detail, Number.isNaN(time) ? undefined : time);
  }
  const meaning = meaningOf(answer, front);
  const obstacle = obstacleOf(status, front);
  if (meaning === undefined) return new DialError('relay-odd-answer', detail, obstacle);
  const fix = 'wstun reconnects automatically.';
  return new DialError('relay-odd-answer', `${detail}: ${meaning}`, obstacle, { fix });
}

/** RFC 9110 §15.6: of what is in front of a relay that restarts or has too much to do. */
const OF_GATEWAYS: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);

function obstacleOf(status: number, front: string | undefined): Obstacle {
  const isGateways = OF_GATEWAYS.has(status) || (front === 'Cloudflare' && isCloudflaresOrigin(status));
  return isGateways ? 'gateway' : 'answer';
}

/** RFC 9110 §15, RFC 6585. */
const MEANINGS: Readonly<Record<number, string>> = {
  400: 'it rejects the request; it may expect TLS, a client certificate or the PROXY protocol',
  401: 'it requires a login, which --header can give',
  403: 'a filter, or a web server in front of the relay, forbids the connection',
  405: 'it accepts no WebSocket here',
  407: 'a proxy on the way requires a user name and password',
  426: 'it accepts no WebSocket here',
  429: 'it received too many requests',
  451: 'a filter forbids the connection',
  500: 'the web server in front of the relay has an error',
  502: 'the proxy in front answers, but the relay behind it does not',
  503: 'the proxy in front answers, but the relay behind it does not',
  504: 'the proxy in front answers, but the relay behind it does not',
  511: 'this network requires a login: open any http:// page in a browser',
};
const CLOUDFLARE_FORBIDS =
  'its rules forbid the connection; in its dashboard, check Network > WebSockets, and Bot Fight Mode';
/** Cloudflare's own codes: the origin is down, unreachable or too slow, or its TLS is wrong. */
const isCloudflaresOrigin = (status: number): boolean => status >= 520 && status <= 530;

function meaningOf({ status, headers, url }: UpgradeAnswer, front: string | undefined): string | undefined {
  if (status >= 300 && status < 400) return meaningOfRedirect(headers.location, url);
  if (front === 'Cloudflare' && status === 403) return CLOUDFLARE_FORBIDS;
  if (front === 'Cloudflare' && isCloudflaresOrigin(status)) return MEANINGS[502];
  if (status >= 200 && status < 300) return 'this is a web page, not a relay; open it in a browser';
  return MEANINGS[status];
}

function meaningOfRedirect(location: string | undefined, url: URL): string | undefined {
  const place = placeOfRedirect(location, url);
  if (place === undefined) return undefined;
  const isToTls = url.protocol === 'ws:' && place.protocol === 'https:' && place.hostname === url.hostname;
  if (isToTls) return `it redirects to ${place.href}: ask for an invite with a wss:// URL`;
  return `it redirects to ${place.href}: open that in a browser`;
}
