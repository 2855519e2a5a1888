/**
 * Opens links at the relays of an invite: seals a fresh ticket for every attempt, for the relay that is dialled, reads
 * what the relay proves where it refuses (docs/protocol.md §2.2, "Proven refusals"), and corrects a wrong clock: by the
 * time that the relay proves, or else by the `Date` of the answer. A machine whose clock is off would otherwise only
 * see refusals.
 */
import { settledWithin } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';
import type { Invite } from '../../crypto/invite.ts';
import { HTTP_FEATURE, type HttpLinkKey, type TicketFields, TicketSealer } from '../../crypto/ticket.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import { PROTOCOL_VERSION } from '../../protocol/frames.ts';
import { RelayRefused } from '../../transport/answer-faults.ts';
import { addressesOfUrl, describeThrough, type UrlAddress } from '../../transport/connection/connection-dial.ts';
import type { Reach } from '../../transport/connection/reach.ts';
import type { RelayAddresses } from '../../transport/connection/relay-addresses.ts';
import type { Lookup } from '../../transport/connection/tcp-dial.ts';
import type { Via } from '../../transport/connection/via.ts';
import { obstacleIn } from '../../transport/dial-obstacle.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { type CarrierName, keyOf, type Route } from '../routes/route.ts';
import { AudienceChoice } from './audience-choice.ts';
import { type CarrierOptions, carrierOf, type DialLink } from './carriers.ts';

/** Less than this does not explain a refusal: tickets open within two minutes. `Date` has a grain of one second. */
const SKEW_THAT_MATTERS_MS = 60_000;
/** How far ahead an unproven `Date` may be: tickets sealed under a forged one can probe the relay, but no more. */
const MAX_UNVOUCHED_LEAD_MS = 3_600_000;

const UNPROVEN: ReadonlySet<FaultName> = new Set(['relay-refused', 'relay-odd-answer']);

/** What a ticket is for. */
export type TicketScope = Pick<TicketFields, 'role' | 'destination'> & { readonly features?: number };

/** A relay's URL with a ticket in it: a secret for two minutes. */
export interface TicketUrl {
  readonly url: URL;
  readonly rotationProof: Buffer;
  /** What the `ETag` of an answer to this URL proves, if it proves anything. */
  readonly provenFault: (etag: string, detail: string) => WstunError | undefined;
  /** Of the further requests, if the ticket is for an HTTP link. */
  readonly httpLinkKey: HttpLinkKey | undefined;
}

/** How a link goes. */
export interface LinkRoute {
  /** Its URL. */
  readonly relay: string;
  /** `page`: that of a phone or of a browser carries it. */
  readonly carrier: CarrierName | 'page';
  /** The name of the proxy; undefined: directly. */
  readonly proxy?: string;
}

interface OpenedLink {
  /** Of its ticket. */
  readonly rotationProof: Buffer;
  readonly route: LinkRoute;
}

/** The relay has proved that our ticket was made by a clock too far from its own. */
class ClockOff extends WstunError {
  constructor(
    detail: string,
    /** Milliseconds since 1970. */
    readonly relayTime: number,
    now: number,
  ) {
    super('clock-off', `${detail}; ${describeSkew(relayTime - now)}`);
  }
}

export interface TicketDialerOptions {
  readonly clock?: Clock | undefined;
  /** In the place of every carrier's, for tests. */
  readonly dialLink?: ((...parameters: [...Parameters<DialLink>, CarrierName]) => Promise<MessageLink>) | undefined;
  /** In the place of the system's resolver, for tests. */
  readonly lookup?: Lookup | undefined;
  /** Where relays were reached; default: what the process knows. */
  readonly known?: RelayAddresses | undefined;
  /** Of every dial. Default: the user chose nothing. */
  readonly reach?: Reach | undefined;
}

export interface TicketDialOptions extends CarrierOptions {
  /** Default: directly by WebSocket. */
  readonly route?: Route;
}

/** For the resolver, ms: the addresses of a name that takes longer are left out. */
const RESOLVE_MS = 3_000;

export class TicketDialer {
  private readonly sealer: TicketSealer;
  private readonly clock: Clock;
  private readonly dialLink: TicketDialerOptions['dialLink'];
  private readonly lookup: Lookup | undefined;
  private readonly reach: Reach | undefined;
  private readonly known: { readonly known?: RelayAddresses };
  /** What to add to our clock, ms. */
  private correction = 0;
  /** As much of it as was proved, ms. */
  private provenCorrection = 0;
  private readonly audiences: AudienceChoice;
  private readonly opened = new WeakMap<MessageLink, OpenedLink>();

  constructor(
    invite: Pick<Invite, 'relayUrls' | 'relayGateKey' | 'peer'>,
    private readonly logger: Logger,
    options: TicketDialerOptions = {},
  ) {
    this.audiences = new AudienceChoice(invite.relayUrls[0] ?? '');
    this.sealer = new TicketSealer(invite.peer, invite.relayGateKey);
    this.clock = options.clock ?? systemClock;
    this.dialLink = options.dialLink;
    this.lookup = options.lookup;
    this.reach = options.reach;
    this.known = options.known === undefined ? {} : { known: options.known };
  }

  /** What is added to this machine's clock, ms: a relay has shown that it is off. */
  get clockCorrectionMs(): number {
    return this.correction;
  }

  /** As far as they can be resolved now. */
  async addressesOf(relay: string): Promise<readonly UrlAddress[]> {
    let found: readonly UrlAddress[] = [];
    const resolved = addressesOfUrl(new URL(relay), this.lookup, this.reach).then(
      (addresses) => {
        found = addresses;
      },
      () => {},
    );
    await settledWithin(this.clock, RESOLVE_MS, resolved);
    return found;
  }

  /** What `remote` of a link to a relay through a proxy says. */
  remoteThrough(proxy: Via, relay: string): string {
    return describeThrough(proxy, new URL(relay), this.reach);
  }

  /** The URL of the relay for which the next ticket to `relay` is: mostly the same. */
  audienceAt(relay: string): string {
    return this.audiences.urlFor(relay);
  }

  /**
   * @param now milliseconds since 1970, by a clock that may be better than ours; nothing proves it
   * @param audience of `audienceAt`, or of `handleRejected`
   */
  ticketUrl(relay: string, scope: TicketScope, now = this.time(), audience = this.audienceAt(relay)): TicketUrl {
    const latest = this.clock.wallTime() + this.provenCorrection + MAX_UNVOUCHED_LEAD_MS;
    return this.seal(relay, audience, scope, Math.min(now, latest));
  }

  /** As of AudienceChoice, where what carries links says itself that something has answered without a link. */
  handleRejected(relay: string, audience: string, way: string): string | undefined {
    return this.audiences.handleRejected(relay, audience, way, this.clock.now());
  }

  /** A link has opened at `relay` with a ticket of `ticketUrl`. */
  handleOpened(relay: string, audience: string): void {
    this.audiences.handleOpened(relay, audience);
  }

  /** How the link was opened. */
  remember(link: MessageLink, opened: OpenedLink): MessageLink {
    this.opened.set(link, opened);
    return link;
  }

  /** @throws WstunError as DialLink, or what the relay has proved */
  async dial(relay: string, scope: TicketScope, options: TicketDialOptions): Promise<MessageLink> {
    const way = options.route === undefined ? '' : keyOf(options.route);
    let audience = this.audienceAt(relay);
    for (;;) {
      try {
        return await this.dialFor(audience, relay, scope, options);
      } catch (error) {
        const other = mayBeMisdirected(error) ? this.handleRejected(relay, audience, way) : undefined;
        if (other === undefined) throw error;
        audience = other;
      }
    }
  }

  /** @param audience the URL of the relay that the tickets are for */
  private async dialFor(
    audience: string,
    relay: string,
    scope: TicketScope,
    options: TicketDialOptions,
  ): Promise<MessageLink> {
    const { route, ...rest } = options;
    const carrier = carrierOf(route?.carrier ?? 'websocket');
    const { dialLink = carrier.dial } = this;
    const features = carrier.features | (scope.features ?? 0);
    const once = async (): Promise<MessageLink> => {
      const ticket = this.seal(relay, audience, { ...scope, features }, this.time());
      const { url, rotationProof, provenFault, httpLinkKey } = ticket;
      const { clock, reach } = this;
      const sealRequest = httpLinkKey && { sealRequest: (payload: Uint8Array) => httpLinkKey.seal(payload) };
      // One that was chosen is no address to remember.
      const known = rest.address === undefined ? this.known : {};
      const link = await dialLink(
        url,
        { clock, reach, via: route?.proxy, ...known, ...rest, provenFault, ...sealRequest },
        carrier.name,
      );
      const proxy = route?.proxy?.name;
      const taken = { relay, carrier: carrier.name, ...(proxy !== undefined && { proxy }) };
      this.audiences.handleOpened(relay, audience);
      return this.remember(link, { rotationProof, route: taken });
    };
    try {
      return await once();
    } catch (error) {
      if (!this.correctClock(error, relay)) throw this.withLead(error, relay);
      return await once();
    }
  }

  /** 32 bytes with which the link's relay proves that its keys were rotated, so that the invite is revoked. */
  rotationProofOf(link: MessageLink): Buffer | undefined {
    return this.opened.get(link)?.rotationProof;
  }

  /** How a link goes that was opened here. */
  routeOf(link: MessageLink): LinkRoute | undefined {
    return this.opened.get(link)?.route;
  }

  /** Milliseconds since 1970, corrected. */
  private time(): number {
    return this.clock.wallTime() + this.correction;
  }

  private seal(relay: string, audience: string, scope: TicketScope, now: number): TicketUrl {
    const fields = { features: 0, ...scope, protocol: PROTOCOL_VERSION };
    const ticket = this.sealer.seal(fields, now, this.audiences.audienceOf(audience));
    const httpLinkKey = ((scope.features ?? 0) & HTTP_FEATURE) !== 0 ? this.sealer.httpLinkKey(ticket) : undefined;
    const url = new URL(`${relay}/${ticket}`);
    const provenFault = (etag: string, detail: string): WstunError | undefined => {
      const refusal = this.sealer.refusalIn(etag, ticket);
      if (refusal === undefined) return undefined;
      const { reason, time } = refusal;
      // A relay that does not know the feature expects an upgrade.
      if (reason === 'upgrade-dropped' && httpLinkKey !== undefined) return new WstunError('http-link-unknown', detail);
      return reason === 'clock-off'
        ? new ClockOff(detail, time, this.clock.wallTime())
        : new WstunError(reason, detail);
    };
    return { url, rotationProof: this.sealer.rotationProof(ticket), provenFault, httpLinkKey };
  }

  /** A refusal that our clock may have caused, where the `Date` that says so must not be used. */
  private withLead(error: unknown, relay: string): unknown {
    if (!(error instanceof RelayRefused) || error.relayTime === undefined) return error;
    const skew = error.relayTime - this.clock.wallTime();
    if (!this.leadsTooFar(skew, relay)) return error;
    return new RelayRefused(
      `${error.detail}; according to its Date header, ${describeSkew(skew)}, but over ws:// that proves nothing`,
      undefined,
    );
  }

  private leadsTooFar(skew: number, relay: string): boolean {
    // Over TLS the Date is authenticated.
    return !relay.startsWith('wss:') && skew > this.provenCorrection + MAX_UNVOUCHED_LEAD_MS;
  }

  /** True if our clock was so far from the relay's that another attempt is worth it. */
  private correctClock(error: unknown, relay: string): boolean {
    const isProven = error instanceof ClockOff;
    const relayTime = isProven || error instanceof RelayRefused ? error.relayTime : undefined;
    if (relayTime === undefined) return false;
    const skew = relayTime - this.clock.wallTime();
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

/** Something answered, opened no link, and proved nothing: a relay does so to a ticket that is for another one. */
function mayBeMisdirected(error: unknown): boolean {
  return error instanceof WstunError && UNPROVEN.has(error.fault) && obstacleIn(error) === 'answer';
}

/** @param skewMs the relay's clock less ours */
function describeSkew(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return `this clock is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the relay's`;
}
