/**
 * Opens links at the relays of an invite: seals a fresh ticket for every attempt, and puts a wrong clock right with the relay's own
 * `Date` header, because a machine whose clock is off would otherwise see nothing but a refusal.
 */
import type { Invite } from '../crypto/invite.ts';
import { type TicketFields, TicketSealer } from '../crypto/ticket.ts';
import type { Logger } from '../observability/logger.ts';
import { PROTOCOL_VERSION } from '../protocol/frames.ts';
import { RelayRefused } from '../transport/answer-faults.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { type DialWebSocketOptions, dialWebSocket } from '../transport/websocket-dial.ts';

/** Less than this does not explain a refusal: tickets open within two minutes. `Date` has a grain of one second. */
const SKEW_THAT_MATTERS_MS = 60_000;

/** What a ticket is for. */
type TicketPlace = Pick<TicketFields, 'role' | 'destination'> & { readonly features?: number };

export interface Pass {
  readonly url: URL;
  readonly rotationProof: Buffer;
}

export class TicketDialer {
  private readonly urls: readonly string[];
  private readonly sealer: TicketSealer;
  private readonly logger: Logger;
  /** What to add to our clock, ms. */
  private correction = 0;
  private attempts = 0;
  private readonly proofs = new WeakMap<MessageLink, Buffer>();

  constructor(invite: Pick<Invite, 'relayUrls' | 'relayGateKey' | 'bearer'>, logger: Logger) {
    this.urls = invite.relayUrls;
    this.sealer = new TicketSealer(invite.bearer, invite.relayGateKey);
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
   * @param now milliseconds since 1970, by a clock that may know better than ours
   */
  passFor(relay: string, place: TicketPlace, now = Date.now() + this.correction): Pass {
    const ticket = this.sealer.seal({ features: 0, ...place, protocol: PROTOCOL_VERSION }, now);
    return { url: new URL(`${relay}/${ticket}`), rotationProof: this.sealer.rotationProof(ticket) };
  }

  /** A link came of the pass with that proof. */
  remember(link: MessageLink, rotationProof: Buffer): MessageLink {
    this.proofs.set(link, rotationProof);
    return link;
  }

  /** @throws WstunError as dialWebSocket */
  async dial(relay: string, place: TicketPlace, options: DialWebSocketOptions): Promise<MessageLink> {
    const once = async (): Promise<MessageLink> => {
      const { url, rotationProof } = this.passFor(relay, place);
      return this.remember(await dialWebSocket(url, options), rotationProof);
    };
    try {
      return await once();
    } catch (error) {
      if (!this.correctClock(error)) throw error;
      return await once();
    }
  }

  /** With which the relay at the other end of a link of ours proves that it has new keys and that the invite is void: 32 bytes. */
  rotationProofOf(link: MessageLink): Buffer | undefined {
    return this.proofs.get(link);
  }

  /** True if our clock was so far from the relay's that another attempt is worth it. */
  private correctClock(error: unknown): boolean {
    if (!(error instanceof RelayRefused) || error.relayTime === undefined) return false;
    const skew = error.relayTime - Date.now();
    if (Math.abs(skew - this.correction) < SKEW_THAT_MATTERS_MS) return false;
    this.correction = skew;
    this.logger.warn({ seconds: Math.round(skew / 1000) }, 'this clock differs from the relay’s: going by the relay’s');
    return true;
  }
}
