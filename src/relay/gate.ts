/**
 * Decides which upgrade requests become links. Pure: looks at a request and the time, answers nobody.
 *
 * Everything that the WebSocket handshake asks for (RFC 6455 §4.2.1) is checked before the ticket, so that a request that
 * could not have become a link uses no ticket up, and nothing behind the gate ever finds fault with a request and says so.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { TICKET_TEXT_LENGTH, type TicketFields, type TicketOpener, type TicketRefusal } from '../crypto/ticket.ts';
import { WstunError } from '../errors.ts';

/** Of node's IncomingMessage. */
export interface UpgradeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
}

/** Who may have a link, and what the ticket said of it. */
export interface Admitted extends TicketFields {
  /** The name of the access entry. */
  readonly bearer: string;
  /** Where the ticket was sealed to keys that are retired: the link is for saying that alone. */
  readonly rotationProof?: Buffer;
}

export type GateVerdict =
  | { readonly admitted: Admitted }
  | { readonly admitted: undefined; readonly reason: TicketRefusal | 'no-upgrade'; readonly bearer?: string };

export class Gate {
  readonly #tickets: Pick<TicketOpener, 'open'>;
  readonly #prefix: string | undefined;

  /** @param prefix in the form of `parsePathPrefix`; undefined: a ticket may stand behind any path */
  constructor(tickets: Pick<TicketOpener, 'open'>, prefix: string | undefined) {
    this.#tickets = tickets;
    this.#prefix = prefix;
  }

  /** Uses the ticket up if it admits. @param now milliseconds since 1970 */
  judge(request: UpgradeRequest, now: number): GateVerdict {
    const ticket = isWebSocketUpgrade(request) ? ticketOf(request.url ?? '', this.#prefix) : undefined;
    if (ticket === undefined) return { admitted: undefined, reason: 'no-upgrade' };
    // Browsers send it with every WebSocket of a page, and a page cannot leave it out (cross-site WebSocket hijacking).
    const fromPage = request.headers.origin !== undefined;
    const verdict = this.#tickets.open(ticket, now, fromPage);
    if (verdict.admitted) {
      const { bearer, fields, rotationProof } = verdict;
      return { admitted: { bearer, ...fields, ...(rotationProof && { rotationProof }) } };
    }
    const { reason, bearer } = verdict;
    return { admitted: undefined, reason, ...(bearer === undefined ? {} : { bearer }) };
  }
}

/**
 * The prefix under which tickets are looked for: `/` and segments, without a slash at its end; empty for the root alone.
 * @throws WstunError bad-option
 */
export function parsePathPrefix(text: string): string {
  if (/^(\/[A-Za-z0-9._~-]+)*\/?$/.test(text)) return text.replace(/\/$/, '');
  throw new WstunError('bad-option', 'a path prefix looks like /some/path, of letters, digits and . _ ~ -');
}

/**
 * No body: its bytes would be taken for frames. No subprotocol: wstun has none, and `ws` would find fault with a malformed list.
 */
function isWebSocketUpgrade({ method, httpVersion, headers }: UpgradeRequest): boolean {
  if (method !== 'GET' || httpVersion !== '1.1' || !headers.host) return false;
  if (headers.upgrade?.toLowerCase() !== 'websocket' || !hasToken(headers.connection, 'upgrade')) return false;
  if (headers['sec-websocket-version'] !== '13') return false;
  // 16 bytes in base64.
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers['sec-websocket-key'] ?? '')) return false;
  if (headers['sec-websocket-protocol'] !== undefined) return false;
  return headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
}

function hasToken(list: string | undefined, token: string): boolean {
  return (list ?? '').split(',').some((part) => part.trim().toLowerCase() === token);
}

/** The last segment of the path, if it can be a ticket and what stands before it may stand there. */
function ticketOf(target: string, prefix: string | undefined): string | undefined {
  const slash = target.length - TICKET_TEXT_LENGTH - 1;
  if (slash < 0 || !target.startsWith('/') || target.lastIndexOf('/') !== slash) return undefined;
  if (prefix !== undefined && target.slice(0, slash) !== prefix) return undefined;
  return target.slice(slash + 1);
}
