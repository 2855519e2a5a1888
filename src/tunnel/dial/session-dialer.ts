/** Opens sealed links for a client's sessions: to the exit of an invite, by its relays. */
import { type Clock, systemClock } from '../../clock.ts';
import type { Invite } from '../../crypto/invite.ts';
import { preferredSuite } from '../../crypto/suite-choice.ts';
import { importKeyPair } from '../../crypto/x25519.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { Histogram } from '../../observability/histogram.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { RelayList } from '../routes/relay-list.ts';
import type { Route } from '../routes/route.ts';
import {
  type Connector,
  type LinkPurpose,
  OwnLinks,
  type PageDialer,
  type SessionPlace,
  TetherConnector,
  type WayConnector,
} from './connectors.ts';
import { type Encryption, initiateSecureLink } from './handshake.ts';
import { type ConnectorChoice, onlyConnector, PreferredConnector } from './preferred-connector.ts';
import { RelayChoice } from './relay-choice.ts';
import { RelayRoutes, type RelayRoutesOptions } from './relay-routes.ts';
import { type DialRoute, RouteChoice } from './route-choice.ts';
import type { SecureLink } from './secure-link.ts';
import { requestSession, type SessionExchangeOptions } from './session-exchange.ts';
import { type LinkRoute, TicketDialer, type TicketDialerOptions } from './ticket-dialer.ts';

/** A link that carries a session at the exit from now on. */
export interface SessionLink {
  /** Its handler is to be set in the turn in which it is handed out. */
  readonly link: MessageLink;
  /** Numbered records of ours that the exit has. */
  readonly peerReceived: number;
  /** What the request said. */
  readonly saidReceived: number;
  /** Where the link is not by the preferred connector, or not by the cheapest carrier: dials by these only. */
  readonly better?: SessionDialer | undefined;
  /** To be called when this was the session's latest link, and it has none any more. @param hasLasted not at once */
  readonly noteLost?: ((hasLasted: boolean) => void) | undefined;
}

export interface SessionDialer {
  /**
   * Dials once. `request` is called as late as possible: it says what has been received until then.
   * @param purpose default: it is to be the session's only link
   * @param from where the session is or was, if it has begun
   * @throws WstunError as TicketDialer.dial, initiateSecureLink, requestSession
   */
  dial(
    request: () => SessionRequest,
    signal: AbortSignal,
    purpose?: LinkPurpose,
    from?: SessionPlace,
  ): Promise<SessionLink>;
  /** How a link goes that it has dialled, where that is known. */
  routeOf?(link: MessageLink): LinkRoute | undefined;
  /** Dials only by relays that are better than this one, by the list; undefined where there are none now. */
  betterThan?(relay: string): SessionDialer | undefined;
  /** Whether a link by that relay can be made now: tried once, and given up. */
  answers?(relay: string, signal: AbortSignal): Promise<boolean>;
  /** Several relays lead to the exit, so that a session loses nothing where it goes by another one. */
  readonly hasOtherRelays?: boolean;
}

/** One of several ways to the exit, all of which a session may use at once: an address of a relay, or a phone. */
export interface Way extends SessionDialer {
  /** What `remote` of its links says. */
  readonly name: string;
}

/** A link is open, or its keys are agreed on. */
export type LinkStage = 'opened' | 'secured';

interface TetherOptions {
  readonly pages: PageDialer;
  /** Also dial from here, and prefer that while it works. */
  readonly direct: boolean;
}

/** For the answer on a better link: until then the old link acknowledges nothing, and comes to a halt. */
const BETTER_ANSWER_MS = 3_000;

/**
 * For the answer where other relays lead to the same exit, too: as long as the link took to be made, which is five
 * round trips, between these, ms.
 */
const LEAST_ANSWER_MS = 1_000;
const LONGEST_ANSWER_MS = 10_000;

/** The link was lost, or carried nothing in time, although its keys were agreed on: a refusal of the exit is sealed. */
const SILENCE: ReadonlySet<FaultName> = new Set(['link-lost', 'link-slow']);

/** Of an exit that takes no more sessions: where each relay has an exit of its own, others may. */
const REJECTIONS: ReadonlySet<FaultName> = new Set(['overloaded', 'too-many-sessions', 'shutting-down', 'internal']);

export interface RelaySessionDialerOptions extends TicketDialerOptions {
  /** Pages may carry the links. */
  readonly tether?: TetherOptions | undefined;
  /** A browser on this machine carries the links in the place of a direct connection. */
  readonly browser?: PageDialer | undefined;
  /** Without those that are of all. */
  readonly routes?: Omit<RelayRoutesOptions, 'clock' | 'reach'> | undefined;
  /** From an open link to the agreed keys. Default: it is not timed. */
  readonly handshakeTime?: Histogram | undefined;
}

export class RelaySessionDialer implements SessionDialer {
  private readonly connectors: ConnectorChoice<SecureLink>;
  private readonly byRelays: RelayChoice<SecureLink>;
  private readonly relayList: RelayList;
  private readonly isOneExit: boolean;
  private readonly listWays: () => Promise<readonly WayConnector[]>;
  private readonly seal: (connector: WayConnector) => Connector<SecureLink>;
  private readonly dialRoute: DialRoute<SecureLink>;
  private readonly tickets: TicketDialer;
  private readonly clock: Clock;
  private readonly routes = new WeakMap<MessageLink, LinkRoute>();

  /** Whether encryption may be off is for the caller to check: `refuseUnsealed`. */
  constructor(invite: Invite, encryption: Encryption, logger: Logger, options: RelaySessionDialerOptions = {}) {
    const { tether, browser, clock = systemClock } = options;
    const dialer = new TicketDialer(invite, logger, options);
    const relays = new RelayList(invite.relayUrls);
    const routes = new RelayRoutes({ ...options.routes, reach: options.reach, clock });
    const handshake = {
      keys: importKeyPair(invite.peer.exposeSessionKey()),
      exitKey: invite.exitSessionKey,
      suite: preferredSuite(() => clock.now()),
      encryption,
      clock,
    };
    const secured: Secure = async (raw, signal) => {
      const route = dialer.routeOf(raw);
      const since = clock.now();
      const link = await initiateSecureLink(raw, { ...handshake, rotationProof: dialer.rotationProofOf(raw) }, signal);
      options.handshakeTime?.observe((clock.now() - since) / 1000);
      if (route !== undefined) this.routes.set(link, route);
      return link;
    };
    this.seal = (connector) => sealedConnector({ isAvailable: true, ...connector }, secured);
    const destination = invite.exitName ?? '';
    const own = new OwnLinks(dialer, relays, routes, destination, encryption === 'on');
    const byBrowser = browser && new TetherConnector(dialer, relays, destination, browser, clock);
    const byPages = tether && new TetherConnector(dialer, relays, destination, tether.pages, clock);
    const usesOwn = tether === undefined || tether.direct || browser !== undefined;
    this.dialRoute = async (relay, route, attempt, purpose) => {
      const raw = await own.dial(relay, route, attempt, purpose);
      attempt.onOpened();
      return await secured(raw, attempt.signal);
    };
    const byRoutes = new RouteChoice(routes, this.dialRoute);
    this.relayList = relays;
    this.isOneExit = invite.exitName !== undefined;
    this.byRelays = new RelayChoice({ relays, routes, byRoutes, isOneExit: this.isOneExit, clock });
    this.tickets = dialer;
    const ownChoice = byBrowser === undefined ? this.byRelays : onlyConnector(sealedConnector(byBrowser, secured));
    const byPage = byPages && sealedConnector(byPages, secured);
    this.clock = clock;
    this.listWays = async () => [
      ...((await byPages?.ways()) ?? []),
      ...(usesOwn ? await (byBrowser ?? own).ways() : []),
    ];
    if (byPage === undefined) this.connectors = ownChoice;
    else if (usesOwn) this.connectors = new PreferredConnector(ownChoice, byPage, logger, clock);
    else this.connectors = onlyConnector(byPage);
  }

  dial(
    request: () => SessionRequest,
    signal: AbortSignal,
    purpose?: LinkPurpose,
    from?: SessionPlace,
  ): Promise<SessionLink> {
    const { clock, hasOtherRelays: hurries } = this;
    return dialSession(this.connectors, request, signal, { clock, purpose, from, hurries });
  }

  routeOf(link: MessageLink): LinkRoute | undefined {
    return this.routes.get(link);
  }

  /** The URLs of the relays, the best first. */
  get relays(): readonly string[] {
    return this.relayList.all;
  }

  /** As of RelayList. */
  learnRelays(told: readonly string[]): boolean {
    return this.relayList.learn(told);
  }

  get hasOtherRelays(): boolean {
    return this.isOneExit && this.relayList.all.length > 1;
  }

  async answers(relay: string, signal: AbortSignal): Promise<boolean> {
    return await this.byRelays.answers(relay, signal);
  }

  betterThan(relay: string): SessionDialer | undefined {
    const better = this.byRelays.betterThan(relay);
    const { clock } = this;
    return better && { dial: (request, signal, purpose) => dialSession(better, request, signal, { clock, purpose }) };
  }

  /** As of TicketDialer. */
  get clockCorrectionMs(): number {
    return this.tickets.clockCorrectionMs;
  }

  /** Dials by one route alone, and says how far it has come. */
  by(relay: string, route: Route, onStage: (stage: LinkStage) => void): SessionDialer {
    const dialOnce = async (signal: AbortSignal, purpose: LinkPurpose = 'only'): Promise<SecureLink> => {
      const attempt = { signal, onConnected: () => {}, onOpened: () => onStage('opened') };
      const link = await this.dialRoute(relay, route, attempt, purpose);
      onStage('secured');
      return link;
    };
    const only = onlyConnector({ isAvailable: true, dial: dialOnce });
    const { clock } = this;
    return { dial: (request, signal, purpose) => dialSession(only, request, signal, { clock, purpose }) };
  }

  /** All ways to the exit that are known now, the phones first. */
  async ways(): Promise<readonly Way[]> {
    const { clock } = this;
    return (await this.listWays()).map((connector) => {
      const only = onlyConnector(this.seal(connector));
      return {
        name: connector.name,
        dial: (request, signal, purpose) => dialSession(only, request, signal, { clock, purpose }),
      };
    });
  }
}

interface SessionDialOptions extends SessionExchangeOptions {
  /** Another relay leads to the exit, if there is no answer. */
  readonly hurries?: boolean;
  readonly purpose?: LinkPurpose | undefined;
  readonly from?: SessionPlace | undefined;
}

async function dialSession(
  connectors: ConnectorChoice<SecureLink>,
  request: () => SessionRequest,
  signal: AbortSignal,
  { purpose, from, hurries = false, ...options }: SessionDialOptions,
): Promise<SessionLink> {
  const { clock = systemClock } = options;
  const since = clock.now();
  const { link, better, noteCarried, noteLost, noteSilent, noteRejected } = await connectors.dial(
    signal,
    purpose,
    from,
  );
  try {
    const limitMs = Math.min(Math.max(clock.now() - since, LEAST_ANSWER_MS), LONGEST_ANSWER_MS);
    const limits = hurries ? { limitMs, ...options } : options;
    const session = { ...(await negotiateSession(link, request(), signal, limits)), noteLost };
    noteCarried?.();
    if (better === undefined) return session;
    const limited = { ...options, limitMs: BETTER_ANSWER_MS };
    return {
      ...session,
      better: {
        dial: (ask, stop, aim, place) => dialSession(better, ask, stop, { ...limited, purpose: aim, from: place }),
      },
    };
  } catch (error) {
    if (error instanceof WstunError && SILENCE.has(error.fault)) noteSilent?.();
    if (error instanceof WstunError && REJECTIONS.has(error.fault)) noteRejected?.();
    throw error;
  }
}

/** Has the exit begin or resume a session on a link whose keys are agreed on. */
export async function negotiateSession(
  link: SecureLink,
  request: SessionRequest,
  signal: AbortSignal,
  options: SessionExchangeOptions = {},
): Promise<SessionLink> {
  return { link, peerReceived: await requestSession(link, request, signal, options), saidReceived: request.received };
}

type Secure = (raw: MessageLink, signal: AbortSignal) => Promise<SecureLink>;

/**
 * The handshake is part of connecting: some networks carry the upgrade and nothing after it. A relay whose keys were
 * rotated proves that only of itself: the others are asked at once.
 */
function sealedConnector(connector: Connector, secured: Secure): Connector<SecureLink> {
  const noteUseless = (raw: MessageLink): void => connector.noteUseless?.(raw);
  return {
    get isAvailable() {
      return connector.isAvailable;
    },
    dial: async (signal, purpose, from) => {
      for (let left = connector.relayCount ?? 1; ; left -= 1) {
        const raw = await connector.dial(signal, purpose, from);
        try {
          return await secured(raw, signal);
        } catch (error) {
          if (!signal.aborted) noteUseless(raw);
          const isRotated = error instanceof WstunError && error.fault === 'keys-rotated';
          if (!isRotated || left <= 1 || purpose === 'further') throw error;
        }
      }
    },
    noteUseless: (link) => noteUseless(link.inner),
  };
}

/** Unsealed records are for TLS that ends where the exit is. @throws WstunError encryption-needed elsewhere */
export function refuseUnsealed(invite: Invite, carriedBy?: '--tether' | '--via-browser'): void {
  if (carriedBy !== undefined) {
    const who = carriedBy === '--tether' ? 'the phone' : 'the browser, with its extensions,';
    throw new WstunError('encryption-needed', `${who} could read the data (${carriedBy})`);
  }
  if (invite.exitName !== undefined)
    throw new WstunError(
      'encryption-needed',
      'this invite is for an exit behind the relay, and the relay could read the data',
    );
  const plain = invite.relayUrls.some((url) => !url.startsWith('wss:'));
  if (plain) throw new WstunError('encryption-needed', 'the relay is reached without TLS (ws://)');
}
