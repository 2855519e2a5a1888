/**
 * Opens links at the relays of an invite: seals a fresh ticket for every attempt, reads what the relay proves where it
 * makes no link of it (docs/protocol.md §2.2, "Proven refusals"), and puts a wrong clock right: by the time that the
 * relay proves, or else by the `Date` of the answer, because a machine whose clock is off would otherwise see nothing
 * but a refusal.
 */
import type { Invite } from '../../crypto/invite.ts';
import { type TicketFields, TicketSealer } from '../../crypto/ticket.ts';
import { WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { PROTOCOL_VERSION } from '../../protocol/frames.ts';
import { RelayRefused } from '../../transport/answer-faults.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { type DialWebSocketOptions, dialWebSocket } from '../../transport/websocket-dial.ts';

/** Less than this does not explain a refusal: tickets open within two minutes. `Date` has a grain of one second. */
const SKEW_THAT_MATTERS_MS = 60_000;
/**
 * How far ahead of this clock a `Date` may lead for which nobody vouches: whoever forges it, and keeps the tickets that
 * are then sealed, can open them when their time comes, to see what is there. That gives no session.
 */
const MAX_UNVOUCHED_LEAD_MS = 3_600_000;

/** What a ticket is for. */
type TicketPlace = Pick<TicketFields, 'role' | 'destination'> & { readonly features?: number };

export interface Pass {
  readonly url: URL;
  readonly rotationProof: Buffer;
  /** What the `ETag` of an answer to this pass proves, if it proves anything. */
  readonly provenFault: (etag: string, detail: string) => WstunError | undefined;
}

/** The relay has proved that our ticket was made by a clock too far from its own. */
class ClockOff extends WstunError {
  /** Milliseconds since 1970. */
  readonly relayTime: number;

  constructor(detail: string, relayTime: number) {
    super('clock-off', `${detail}; ${describeSkew(relayTime - Date.now())}`);
    this.relayTime = relayTime;
  }
}

export class TicketDialer {
  private readonly urls: readonly string[];
  private readonly sealer: TicketSealer;
  private readonly logger: Logger;
  /** What to add to our clock, ms. */
  private correction = 0;
  /** As much of it as was proved, ms. */
  private provenCorrection = 0;
  private attempts = 0;
  private readonly proofs = new WeakMap<MessageLink, Buffer>();

  constructor(invite: Pick<Invite, 'relayUrls' | 'relayGateKey' | 'peer'>, logger: Logger) {
    this.urls = invite.relayUrls;
    this.sealer = new TicketSealer(invite.peer, invite.relayGateKey);
    this.logger = logger;
  }

  /** The URL for the next attempt: the invite's relays in turn. */
  nextRelay(): string {
    const url = this.urls[this.attempts % this.urls.length] ?? '';
    this.attempts += 1;
    return url;
  }

  /**
   * For one attempt at that relay: a URL with a fresh ticket in it, a secret for two minutes.
   * @param now milliseconds since 1970, by a clock that may know better than ours; nobody vouches for it
   */
  passFor(relay: string, place: TicketPlace, now = this.time()): Pass {
    const latest = Date.now() + this.provenCorrection + MAX_UNVOUCHED_LEAD_MS;
    return this.seal(relay, place, Math.min(now, latest));
  }

  /** A link came of the pass with that proof. */
  remember(link: MessageLink, rotationProof: Buffer): MessageLink {
    this.proofs.set(link, rotationProof);
    return link;
  }

  /** @throws WstunError as dialWebSocket, or what the relay has proved */
  async dial(relay: string, place: TicketPlace, options: DialWebSocketOptions): Promise<MessageLink> {
    const once = async (): Promise<MessageLink> => {
      const { url, rotationProof, provenFault } = this.seal(relay, place, this.time());
      return this.remember(await dialWebSocket(url, { ...options, provenFault }), rotationProof);
    };
    try {
      return await once();
    } catch (error) {
      if (!this.correctClock(error, relay)) throw this.withLead(error, relay);
      return await once();
    }
  }

  /**
   * With which the relay at the other end of a link of ours proves that it has new keys and that the invite is void: 32
   * bytes.
   */
  rotationProofOf(link: MessageLink): Buffer | undefined {
    return this.proofs.get(link);
  }

  /** Milliseconds since 1970, as far as is known here. */
  private time(): number {
    return Date.now() + this.correction;
  }

  private seal(relay: string, place: TicketPlace, now: number): Pass {
    const ticket = this.sealer.seal({ features: 0, ...place, protocol: PROTOCOL_VERSION }, now);
    const url = new URL(`${relay}/${ticket}`);
    const provenFault = (etag: string, detail: string): WstunError | undefined => {
      const refusal = this.sealer.refusalIn(etag, ticket);
      if (refusal === undefined) return undefined;
      const { reason, time } = refusal;
      return reason === 'clock-off' ? new ClockOff(detail, time) : new WstunError(reason, detail);
    };
    return { url, rotationProof: this.sealer.rotationProof(ticket), provenFault };
  }

  /** A refusal that may come of our clock, where we must not go by what corrects it. */
  private withLead(error: unknown, relay: string): unknown {
    if (!(error instanceof RelayRefused) || error.relayTime === undefined) return error;
    const skew = error.relayTime - Date.now();
    if (!this.leadsTooFar(skew, relay)) return error;
    return new RelayRefused(
      `${error.detail}; according to its Date header, ${describeSkew(skew)}, but over ws:// that proves nothing`,
      undefined,
    );
  }

  private leadsTooFar(skew: number, relay: string): boolean {
    // TLS vouches for what comes over it.
    return !relay.startsWith('wss:') && skew > this.provenCorrection + MAX_UNVOUCHED_LEAD_MS;
  }

  /** True if our clock was so far from the relay's that another attempt is worth it. */
  private correctClock(error: unknown, relay: string): boolean {
    const isProven = error instanceof ClockOff;
    const relayTime = isProven || error instanceof RelayRefused ? error.relayTime : undefined;
    if (relayTime === undefined) return false;
    const skew = relayTime - Date.now();
    if (!isProven && Math.abs(skew - this.correction) < SKEW_THAT_MATTERS_MS) return false;
    if (!isProven && this.leadsTooFar(skew, relay)) return false;
    this.correction = skew;
    if (isProven || relay.startsWith('wss:')) this.provenCorrection = skew;
    this.logger.warn(
      { seconds: Math.round(skew / 1000) },
      'this clock differs from the relay’s; wstun uses the relay’s time',
    );
    return true;
  }
}

/** @param skewMs the relay's clock less ours */
function describeSkew(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return `this clock is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the relay's`;
}
