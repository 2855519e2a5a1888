/** How a client's raw links are established: dialled from here, or by the page of a phone or of a browser here. */
import { type Clock, systemClock } from '../../clock.ts';
import { FURTHER_FEATURE, PAGE_FEATURE } from '../../crypto/ticket.ts';
import { type FaultName, WstunError } from '../../errors.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { RelayList } from '../routes/relay-list.ts';
import type { CarrierName, Route } from '../routes/route.ts';
import { carrierOf } from './carriers.ts';
import type { BestCarrier, RelayRoutes } from './relay-routes.ts';
import type { AttemptOptions } from './route-dial.ts';
import type { TicketDialer, TicketScope, TicketUrl } from './ticket-dialer.ts';

/** What a link is for: a session's only link, or one more beside another. */
export type LinkPurpose = 'only' | 'further';

/** Where the session of a dial is, or was. */
export interface SessionPlace {
  /** The URL of the relay of its link, or of its last one. */
  readonly relay: string;
  /** That link carries nothing any more. */
  readonly isStalled: boolean;
}

/** The handler of a link must be set in the turn in which it resolves. */
export interface Connector<L extends MessageLink = MessageLink> {
  /** False: at the moment there is nothing to dial with, and `dial` waits until there is, however long. */
  readonly isAvailable: boolean;
  /** Of so many relays each dial asks one. Default: 1. */
  readonly relayCount?: number;
  /** @throws WstunError */
  dial(signal: AbortSignal, purpose?: LinkPurpose, from?: SessionPlace): Promise<L>;
  /** The relay of that link, or its exit, has no use for it: the next dial asks another relay. */
  noteUseless?(link: L): void;
}

/** Makes links on one way only: to one address of a relay, or by one page. */
export interface WayConnector {
  /** What `remote` of its links says. */
  readonly name: string;
  /** @throws WstunError */
  dial(signal: AbortSignal, purpose?: LinkPurpose): Promise<MessageLink>;
  /** As of Connector. */
  noteUseless?(link: MessageLink): void;
}

interface AskedLink extends MessageLink {
  /** The URL that the page has dialled. */
  readonly asked: string;
}

type UrlMaker = (skewMs: number) => string;
/** `seal`: of a further request's payload, into a path segment. */
type HttpTicketMaker = (skewMs: number) => { readonly url: string; readonly seal: (payload: Uint8Array) => string };

/** @param makeUrl, makeHttp as of PageDialer */
export interface PageWay {
  readonly name: string;
  dial(makeUrl: UrlMaker, signal: AbortSignal, makeHttp?: HttpTicketMaker): Promise<AskedLink>;
}

/** Opens links through web pages; waits for a page, however long. */
export interface PageDialer {
  /** Those that can be asked now. */
  readonly pages: number;
  /** Each of them by itself; it does not wait for another one, nor for one that is offline. */
  readonly eachPage: readonly PageWay[];
  /**
   * @param makeUrl for each page: a relay's URL with a fresh ticket, by a clock so far ahead of ours
   * @param makeHttp the same for an HTTP link, which a page opens where no WebSocket gets through
   */
  dial(makeUrl: UrlMaker, signal: AbortSignal, makeHttp?: HttpTicketMaker): Promise<AskedLink>;
}

/** Links from this machine: directly, or through proxies. */
export class OwnLinks {
  private readonly mask: { readonly mask?: 'zero' };

  /** @param sealed what the link carries is ciphertext, which needs no mask */
  constructor(
    private readonly dialer: TicketDialer,
    private readonly relays: RelayList,
    private readonly routes: RelayRoutes,
    private readonly destination: string,
    sealed: boolean,
  ) {
    // Masks keep a page's script from choosing the bytes on the wire (RFC 6455 §10.3): a sealed record's are random.
    this.mask = sealed ? { mask: 'zero' } : {};
  }

  dial(relay: string, route: Route, options: AttemptOptions, purpose: LinkPurpose): Promise<MessageLink> {
    return this.dialer.dial(relay, this.scopeOf(purpose), { ...options, ...this.mask, route });
  }

  /** One for each address of each relay, and one for each proxy. */
  async ways(): Promise<readonly WayConnector[]> {
    const listed = await Promise.all(
      this.relays.all.map(async (relay) => {
        // A list of proxies that cannot be had now is looked for again.
        const { carrier, paths } = await this.routes.bestCarrier(relay).catch(() => NO_PATHS);
        const addresses = paths.includes(undefined) ? await this.dialer.addressesOf(relay) : [];
        return [
          ...addresses.map(({ address, remote }) => this.way(relay, { carrier }, remote, address)),
          ...paths.flatMap((proxy) =>
            proxy === undefined ? [] : [this.way(relay, { carrier, proxy }, this.dialer.remoteThrough(proxy, relay))],
          ),
        ];
      }),
    );
    return inTurn(listed);
  }

  private scopeOf(purpose: LinkPurpose): TicketScope {
    return { role: 'client', destination: this.destination, features: featuresOf(purpose) };
  }

  private way(relay: string, route: Route, name: string, address?: string): WayConnector {
    return {
      name,
      dial: (signal, purpose = 'only') =>
        this.dialer.dial(relay, this.scopeOf(purpose), { signal, ...this.mask, route, address }),
    };
  }
}

const NO_PATHS: BestCarrier = { carrier: 'websocket', paths: [] };

/** The first of each list, then the second … */
function inTurn<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}

/** Something answers the page where the relay should be, and accepts no link. */
const REFUSED_BY_PAGE: ReadonlySet<FaultName | undefined> = new Set(['phone-refused', 'browser-refused']);

function faultIn(error: unknown): FaultName | undefined {
  return error instanceof WstunError ? error.fault : undefined;
}

/** A relay that a page is to ask, and the URL of the one that the ticket is for: mostly the same. */
interface PageTicket {
  readonly relay: string;
  readonly audience: string;
}

export class TetherConnector implements Connector {
  /** A page takes one relay at a time: its place in the invite. */
  private at = 0;

  constructor(
    private readonly dialer: TicketDialer,
    private readonly relays: RelayList,
    private readonly destination: string,
    private readonly pages: PageDialer,
    private readonly clock: Clock = systemClock,
  ) {}

  get isAvailable(): boolean {
    return this.pages.pages > 0;
  }

  get relayCount(): number {
    return this.relays.own.length;
  }

  dial(signal: AbortSignal, purpose?: LinkPurpose, from?: SessionPlace): Promise<MessageLink> {
    return this.dialBy(this.pages, signal, purpose, from);
  }

  noteUseless(link: MessageLink): void {
    this.handleFailed(this.dialer.routeOf(link)?.relay);
  }

  /** One for each page. */
  async ways(): Promise<readonly WayConnector[]> {
    return this.pages.eachPage.map((page) => ({
      name: page.name,
      dial: (signal, purpose) => this.dialBy(page, signal, purpose),
      noteUseless: (link) => this.noteUseless(link),
    }));
  }

  private async dialBy(
    pages: Pick<PageDialer, 'dial'>,
    signal: AbortSignal,
    purpose: LinkPurpose = 'only',
    from?: SessionPlace,
  ): Promise<MessageLink> {
    const relay = this.relayFor(purpose, from);
    try {
      return await this.dialAt(relay, pages, signal, purpose);
    } catch (error) {
      if (!signal.aborted) this.handleFailed(relay);
      throw error;
    }
  }

  private async dialAt(
    relay: string,
    pages: Pick<PageDialer, 'dial'>,
    signal: AbortSignal,
    purpose: LinkPurpose,
  ): Promise<MessageLink> {
    let audience = this.dialer.audienceAt(relay);
    for (;;) {
      try {
        return await this.dialOnce(pages, signal, purpose, { relay, audience });
      } catch (error) {
        const isRefused = REFUSED_BY_PAGE.has(faultIn(error));
        const other = isRefused ? this.dialer.handleRejected(relay, audience, 'page') : undefined;
        if (other === undefined) throw error;
        audience = other;
      }
    }
  }

  private async dialOnce(
    pages: Pick<PageDialer, 'dial'>,
    signal: AbortSignal,
    purpose: LinkPurpose,
    { relay, audience }: PageTicket,
  ): Promise<MessageLink> {
    const made = new Map<string, TicketUrl>();
    const make = (skewMs: number, carrier: CarrierName): TicketUrl => {
      const features = PAGE_FEATURE | featuresOf(purpose) | carrierOf(carrier).features;
      const scope = { role: 'client', destination: this.destination, features } as const;
      const ticketUrl = this.dialer.ticketUrl(relay, scope, this.clock.wallTime() + skewMs, audience);
      made.set(ticketUrl.url.href, ticketUrl);
      return ticketUrl;
    };
    const makeHttp: HttpTicketMaker = (skewMs) => {
      const { url, httpLinkKey } = make(skewMs, 'http');
      if (httpLinkKey === undefined) throw new RangeError('an HTTP link needs the key of its ticket');
      return { url: url.href, seal: (payload) => httpLinkKey.seal(payload) };
    };
    const link = await pages.dial((skewMs) => make(skewMs, 'websocket').url.href, signal, makeHttp);
    const dialled = made.get(link.asked);
    if (dialled === undefined) return link;
    const { rotationProof } = dialled;
    this.dialer.handleOpened(relay, audience);
    return this.dialer.remember(link, { rotationProof, route: { relay, carrier: 'page' } });
  }

  /** Of the invite's own: the page was served with these alone in its policy. */
  private relayFor(purpose: LinkPurpose, from: SessionPlace | undefined): string {
    const { own } = this.relays;
    if (purpose === 'further' && from !== undefined && own.includes(from.relay)) return from.relay;
    return own[this.at] ?? '';
  }

  /** Of several dials at once that fail alike, only the first one goes on to the next relay. */
  private handleFailed(relay: string | undefined): void {
    const { own } = this.relays;
    if (relay === own[this.at]) this.at = (this.at + 1) % own.length;
  }
}

function featuresOf(purpose: LinkPurpose): number {
  return purpose === 'further' ? FURTHER_FEATURE : 0;
}
