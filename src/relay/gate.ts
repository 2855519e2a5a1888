/**
 * Decides which requests become links. Pure: checks a request and the time, sends nothing. Everything that the
 * WebSocket handshake requires (RFC 6455 §4.2.1) is checked here, so that nothing later rejects a request in a way that
 * strangers can see. A request that cannot become a link does not use its ticket up. If the ticket is valid, only its
 * peer is told why: something in front of the relay has changed the request.
 */
import type { IncomingMessage } from 'node:http';
import {
  type HttpLinkKey,
  nonceIn,
  type RejectedTicket,
  TICKET_TEXT_LENGTH,
  type TicketFields,
  type TicketOpener,
  type TicketRefusal,
  type TicketRequest,
} from '../crypto/ticket.ts';
import { WstunError } from '../errors.ts';

export type UpgradeRequest = Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'headers'>;

/** The peer that gets a link, and what its ticket said. */
export interface Admitted extends TicketFields {
  /** The name of the access entry. */
  readonly peer: string;
  /** For which relay the ticket is; undefined: the peer does not say. */
  readonly audience?: bigint;
  /** Set if the ticket was sealed to retired keys: the link serves only to say so. */
  readonly rotationProof?: Buffer;
  /** Set if the request opens an HTTP link, and no WebSocket. */
  readonly httpLink?: HttpLinkKey;
}

/** What the gate needs of a TicketOpener. */
export type Tickets = Pick<TicketOpener, 'open'> & Partial<Pick<TicketOpener, 'knowsHint'>>;

/** Why a request does not become a link. */
export interface Refused extends Pick<RejectedTicket, 'peer' | 'etag' | 'offset' | 'meant'> {
  readonly admitted: undefined;
  /** `no-ticket`: nothing in it can be a ticket. */
  readonly reason: TicketRefusal | 'no-ticket';
  /** For `upgrade-dropped`: what the upgrade lacks. */
  readonly missing?: string;
  /** For `wrong-path`: without the ticket. */
  readonly path?: string;
}

export type GateDecision = { readonly admitted: Admitted } | Refused;

export class Gate {
  /** @param prefix in the form of `parsePathPrefix`; undefined: a ticket may follow any path */
  constructor(
    private readonly tickets: Tickets,
    private readonly prefix: string | undefined,
  ) {}

  /** An upgrade or not; if admitted, its ticket is used up. @param now ms since 1970 @param isFull no further link */
  check(request: UpgradeRequest, now: number, isFull = false): GateDecision {
    const target = signedTargetOf(request.url ?? '');
    if (target === undefined) return { admitted: undefined, reason: 'no-ticket' };
    const missing = missingForUpgrade(request);
    const missingForHttp = missingForHttpLink(request);
    const obstacles = {
      obstacle: this.obstacle(target, missing, isFull),
      httpObstacle: this.obstacle(target, missingForHttp, isFull),
    };
    // Browsers send it with every WebSocket of a page, and a page cannot leave it out (cross-site WebSocket hijacking).
    const fromPage = request.headers.origin !== undefined;
    const decision = this.tickets.open(target.ticket, now, { fromPage, ...obstacles });
    if (decision.admitted) {
      const { peer, fields, audience, rotationProof, httpLink } = decision;
      const extras = { ...(rotationProof && { rotationProof }), ...(httpLink && { httpLink }) };
      return { admitted: { peer, ...fields, ...(audience !== undefined && { audience }), ...extras } };
    }
    const { admitted: _no, ...refusal } = decision;
    const { reason } = refusal;
    return {
      admitted: undefined,
      ...refusal,
      ...(reason === 'upgrade-dropped' && { missing: missing ?? '' }),
      ...(reason === 'wrong-path' && { path: target.path }),
    };
  }

  /** What can be a ticket, wherever it is in the target. */
  ticketIn(request: UpgradeRequest): string | undefined {
    return signedTargetOf(request.url ?? '')?.ticket;
  }

  /** What tells the ticket of a request from all others, hex. */
  nonceIn(request: UpgradeRequest): string | undefined {
    const ticket = this.ticketIn(request);
    return ticket === undefined ? undefined : nonceIn(ticket);
  }

  /** Whether `check` may admit it. */
  mayAdmit(ticket: string, now: number): boolean {
    return this.tickets.knowsHint?.(ticket, now) ?? true;
  }

  /** The last segment of a target that a link may have, if it is of a ticket's form. */
  segmentOf(request: UpgradeRequest): string | undefined {
    const target = signedTargetOf(request.url ?? '');
    return target === undefined || this.isElsewhere(target) ? undefined : target.ticket;
  }

  private obstacle(target: SignedTarget, missing: string | undefined, isFull: boolean): TicketRequest['obstacle'] {
    if (missing !== undefined) return 'upgrade-dropped';
    if (this.isElsewhere(target)) return 'wrong-path';
    return isFull ? 'relay-full' : undefined;
  }

  private isElsewhere({ isLast, before }: SignedTarget): boolean {
    return !isLast || (this.prefix !== undefined && before !== this.prefix);
  }
}

/** `/` and segments without a slash at the end; empty for the root only. @throws WstunError bad-option */
export function parsePathPrefix(text: string): string {
  if (/^(\/[A-Za-z0-9._~-]+)*\/?$/.test(text)) return text.replace(/\/$/, '');
  throw new WstunError('bad-option', '--path needs a path such as /some/path, of letters, digits and . _ ~ -');
}

/**
 * Why a request is not an upgrade to a WebSocket, without any text of it; undefined if it is one. No body: its bytes
 * would be read as frames. No subprotocol: wstun has none, and `ws` would reject a malformed list.
 */
function missingForUpgrade({ method, httpVersion, headers }: UpgradeRequest): string | undefined {
  const faults: [boolean, string][] = [
    [method !== 'GET', 'a method other than GET'],
    [httpVersion !== '1.1', httpVersion === '1.0' ? 'HTTP/1.0' : 'a version other than HTTP/1.1'],
    [!headers.host, 'no Host'],
    [headers.upgrade?.toLowerCase() !== 'websocket', headers.upgrade === undefined ? 'no Upgrade' : 'another Upgrade'],
    [!hasToken(headers.connection, 'upgrade'), connectionFault(headers.connection)],
    [headers['sec-websocket-version'] !== '13', 'no Sec-WebSocket-Version: 13'],
    // 16 bytes in base64.
    [!/^[A-Za-z0-9+/]{22}==$/.test(headers['sec-websocket-key'] ?? ''), 'no Sec-WebSocket-Key'],
    [headers['sec-websocket-protocol'] !== undefined, 'a Sec-WebSocket-Protocol'],
    [headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0', 'a body'],
  ];
  const found = faults.filter(([isFault]) => isFault).map(([, name]) => name);
  return found.length === 0 ? undefined : found.join(', ');
}

/** The same for a request that opens an HTTP link, of any version of HTTP. */
function missingForHttpLink({ method, headers }: UpgradeRequest): string | undefined {
  if (method !== 'GET') return 'a method other than GET';
  const hasBody = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  return hasBody ? 'a body' : undefined;
}

function connectionFault(connection: string | undefined): string {
  if (connection === undefined) return 'no Connection';
  return hasToken(connection, 'close') ? 'Connection: close' : 'no Connection: upgrade';
}

function hasToken(list: string | undefined, token: string): boolean {
  return (list ?? '').split(',').some((part) => part.trim().toLowerCase() === token);
}

/** Characters of a path in a log. */
const MAX_SHOWN_PATH_CHARS = 200;

/** A request target with a ticket in its path. */
interface SignedTarget {
  readonly ticket: string;
  /** The path before the ticket, without the slash between them. */
  readonly before: string;
  /** The target begins with a path, and ends with the ticket. */
  readonly isLast: boolean;
  /** For logs: the path, with dots in place of the ticket. */
  readonly path: string;
}

/** The first segment that can be a ticket: front ends add to the path on both sides. Its peer is told why it fails. */
function signedTargetOf(target: string): SignedTarget | undefined {
  const path = target.split(/[?#]/, 1)[0] ?? '';
  const segments = path.split('/');
  const at = segments.findIndex((segment, index) => index > 0 && segment.length === TICKET_TEXT_LENGTH);
  const ticket = segments[at];
  if (ticket === undefined) return undefined;
  const before = segments.slice(0, at).join('/');
  const isLast = target === `${before}/${ticket}` && (before === '' || before.startsWith('/'));
  const after = segments.slice(at + 1).map((segment) => `/${segment}`);
  const shown = [`${before}/…`, ...after, target === path ? '' : '?…'].join('').slice(0, MAX_SHOWN_PATH_CHARS);
  return { ticket, before, isLast, path: shown };
}
