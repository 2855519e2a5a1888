/**
 * The laptop's side of a tether: pairs with pages, takes their WebSockets, and gives out links that pages carry
 * (docs/tether-protocol.md). The address at which pages find it may change while it runs (tether-listener.ts): what has
 * paired knows nothing of that.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { LockOut } from '../../limits/lock-out.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import type { Logger } from '../../observability/logger.ts';
import type { LinkCloseReason, MessageLink } from '../../transport/message-link.ts';
import { createWebSocketAcceptor } from '../../transport/websocket-accept.ts';
import { type PairingKeys, secretToText } from '../shared/pairing.ts';
import { BrowserBridges, type UrlMaker } from './browser-bridges.ts';
import { PairedPage } from './paired-page.ts';
import { PairingExchange } from './pairing-exchange.ts';
import { type Claim, CODE_LIFETIME_MS, PairingSecrets } from './pairing-secrets.ts';
import { MAX_PAIRINGS, MAX_PAIRINGS_PER_ADDRESS, NEW_CODE_AFTER_MS, PAIRING_ATTEMPTS } from './tether-limits.ts';
import type { TetherLink } from './tether-link.ts';
import { refuse, TetherListener } from './tether-listener.ts';

const LINK_PATH = /^\/link\/([0-9a-f]{32})$/;

export type TetherEvent =
  /** A code to show: the URL is the secret. */
  | { readonly type: 'code'; readonly url: string; readonly lifetimeMs: number }
  /** Codes lead there now. `again`: as those before, after a time in which they led nowhere. */
  | { readonly type: 'address'; readonly host: string; readonly port: number; readonly again: boolean }
  /** `again`: a page that paired before is back. */
  | { readonly type: 'paired'; readonly remote: string; readonly again: boolean }
  | { readonly type: 'lost'; readonly remote: string; readonly left: number }
  /** No phone reaches the relay; it is tried again and again. */
  | { readonly type: 'offline' }
  /** A secret that does not hold; `guesses` of this address, which has to wait so long now. */
  | { readonly type: 'refused'; readonly remote: string; readonly guesses: number; readonly waitMs: number };

export interface TetherServerOptions {
  readonly page: Buffer;
  /** Those of the invite: where the page may open far legs. */
  readonly relayUrls: readonly string[];
  readonly onEvent: (event: TetherEvent) => void;
  readonly logger: Logger;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export interface TetherPlace {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** What codes name. Undefined: nobody can come here now, and no code is shown. */
  readonly publicHost: string | undefined;
}

export interface TetherServer {
  /** Where codes lead; undefined: nowhere. */
  readonly address: HostPort | undefined;
  /** BrowserBridges that can be asked for a link. */
  readonly pages: number;
  /** PairingSecrets that did not hold, so far. */
  readonly guesses: number;
  /**
   * Listens there, and has codes lead there: with a new one at once, where the last led elsewhere. One call at a time.
   * @throws WstunError cannot-listen: all is as it was
   */
  serve(place: TetherPlace): Promise<void>;
  /**
   * Which addresses there are: where pages have paired before, listening goes on for them while there is the address.
   */
  retain(addresses: ReadonlySet<string>): void;
  /** Makes a new code, in place of the one before, and tells it as an event. */
  showCode(): void;
  /** Waits for a page, however long; see `BrowserBridges.dial`. */
  dial(makeUrl: UrlMaker, signal: AbortSignal): Promise<TetherLink>;
  /** Ends all pages and their links. */
  close(): void;
}

/** Listens nowhere yet. */
export function createTetherServer(options: TetherServerOptions): TetherServer {
  return new Tether(options);
}

class Tether implements TetherServer {
  private readonly options: TetherServerOptions;
  private readonly acceptor = createWebSocketAcceptor();
  private readonly clock: Clock;
  private readonly bridges: BrowserBridges;
  private readonly secrets = new PairingSecrets();
  /** Wrong secrets, by address. */
  private readonly attempts = new LockOut(PAIRING_ATTEMPTS, () => undefined);
  private allGuesses = 0;
  /** By the host and port that were wanted. */
  private readonly listeners = new Map<string, TetherListener>();
  /** The one that is served at now. */
  private listener: TetherListener | undefined;
  /** As far as is known; undefined: all that there were. */
  private addresses: ReadonlySet<string> | undefined;
  /** By the pairing's id, also those that have not said their first word. */
  private readonly paired = new Map<string, PairedPage>();
  /** Control links whose pairing is under way, and those that are about to open. */
  private readonly pairing = new Set<MessageLink>();
  /** Of these, by address. */
  private readonly underWay = new Map<string, number>();
  private opening = 0;
  /** Where the last code led. */
  private shownAt: string | undefined;
  private codeTimer: Timer | undefined;
  /** A code was due while none led anywhere. */
  private owesCode = false;
  private closed = false;

  constructor(options: TetherServerOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.bridges = new BrowserBridges(() => options.onEvent({ type: 'offline' }), this.clock);
  }

  get address(): HostPort | undefined {
    const { publicHost, port = 0 } = this.listener ?? {};
    return publicHost === undefined ? undefined : { host: publicHost, port };
  }

  get pages(): number {
    return this.bridges.size;
  }

  get guesses(): number {
    return this.allGuesses;
  }

  async serve(place: TetherPlace): Promise<void> {
    const listener = await this.listenerAt(place);
    if (this.closed) return listener.close();
    const wasAt = this.address && formatHostPort(this.address);
    if (this.listener !== undefined) this.listener.publicHost = undefined;
    this.listener = listener;
    listener.publicHost = place.publicHost;
    this.closeUnused();
    const { address } = this;
    if (address !== undefined && formatHostPort(address) !== wasAt) this.leadTo(address);
  }

  retain(addresses: ReadonlySet<string>): void {
    this.addresses = addresses;
    this.closeUnused();
  }

  showCode(): void {
    const { address } = this;
    this.owesCode = address === undefined;
    if (this.closed || address === undefined) return;
    const secret = secretToText(this.secrets.newCode(this.clock.now()));
    this.codeIn(CODE_LIFETIME_MS);
    this.shownAt = formatHostPort(address);
    this.options.onEvent({ type: 'code', url: `http://${this.shownAt}/#${secret}`, lifetimeMs: CODE_LIFETIME_MS });
  }

  dial(makeUrl: UrlMaker, signal: AbortSignal): Promise<TetherLink> {
    return this.bridges.dial(makeUrl, signal);
  }

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.codeTimer);
    this.bridges.closeAll();
    for (const page of [...this.paired.values()]) page.close();
    for (const link of this.pairing) link.abort();
    for (const listener of this.listeners.values()) listener.close();
  }

  // ── addresses ──────────────────────────────────────────────────────────────────────────────────────────────────────

  private async listenerAt(place: TetherPlace): Promise<TetherListener> {
    const key = formatHostPort(place);
    const listener =
      this.listeners.get(key) ??
      (await TetherListener.open(place, {
        ...this.options,
        clock: this.clock,
        onUpgrade: (...upgrade) => this.handleUpgrade(...upgrade),
      }));
    this.listeners.set(key, listener);
    return listener;
  }

  private leadTo(address: HostPort): void {
    const again = this.shownAt === formatHostPort(address);
    if (this.shownAt !== undefined) this.options.onEvent({ type: 'address', ...address, again });
    // The code before is good for the same address; a page from before is back sooner than it needs another.
    if (!again) this.showCode();
    else if (this.owesCode) this.codeIn(NEW_CODE_AFTER_MS);
  }

  /** One address, not all: whoever is on another network has no business with the page. */
  private closeUnused(): void {
    for (const [key, listener] of this.listeners) {
      const mayComeBack = listener.hasPaired && (this.addresses?.has(listener.host) ?? true);
      if (listener === this.listener || listener.users > 0 || mayComeBack) continue;
      this.listeners.delete(key);
      listener.close();
    }
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private handleUpgrade(listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = request.socket.remoteAddress ?? 'unknown';
    const token = LINK_PATH.exec(request.url ?? '')?.[1];
    if (token !== undefined) return this.acceptNearLeg(request, socket, head, token);
    if (request.url !== '/control') return this.refuse(socket, 404);
    if (this.attempts.isLocked(remote, this.clock.now())) return this.refuse(socket, 429);
    if (this.pairing.size + this.opening >= MAX_PAIRINGS) return this.refuse(socket, 503);
    if ((this.underWay.get(remote) ?? 0) >= MAX_PAIRINGS_PER_ADDRESS) return this.refuse(socket, 503);
    this.acceptControl(listener, request, socket, head);
  }

  private refuse(socket: Duplex, status: number): void {
    refuse(socket, status, this.clock);
  }

  private acceptNearLeg(request: IncomingMessage, socket: Duplex, head: Buffer, token: string): void {
    const page = this.bridges.expecting(token);
    if (page === undefined) return this.refuse(socket, 404);
    let link: TetherLink | undefined;
    this.acceptor
      .accept(request, socket, head, (text) => link?.handleText(text))
      .then((nearLeg) => {
        link = page.bring(token, nearLeg);
        if (link === undefined) nearLeg.abort();
      })
      .catch(() => socket.destroy());
  }

  // ── pairing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private acceptControl(listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = request.socket.remoteAddress ?? 'unknown';
    this.opening += 1;
    listener.users += 1;
    this.countUnderWay(remote, 1);
    this.acceptor
      .accept(request, socket, head)
      .finally(() => {
        this.opening -= 1;
      })
      .then(
        (link) => this.pair(link, listener, request.headers.host ?? '', remote),
        () => {
          this.countUnderWay(remote, -1);
          this.leave(listener);
          socket.destroy();
        },
      );
  }

  private countUnderWay(remote: string, change: number): void {
    const count = (this.underWay.get(remote) ?? 0) + change;
    if (count > 0) this.underWay.set(remote, count);
    else this.underWay.delete(remote);
  }

  private pair(link: MessageLink, listener: TetherListener, host: string, remote: string): void {
    this.pairing.add(link);
    new PairingExchange(link, {
      host,
      clock: this.clock,
      find: (id) => this.secrets.find(id, this.clock.now()),
      claim: (secret, keys) => {
        const claim = this.secrets.claim(secret, keys.rejoin, this.clock.now());
        return claim && (() => this.adopt(claim, link, listener, keys, remote));
      },
      onFailed: (guessed) => {
        this.pairing.delete(link);
        this.countUnderWay(remote, -1);
        this.leave(listener);
        if (guessed && !this.closed) this.noteGuess(remote);
      },
    });
  }

  private noteGuess(remote: string): void {
    this.allGuesses += 1;
    const { failures, waitMs } = this.attempts.fail(remote, this.clock.now());
    const noted = { guesses: failures, waitMs };
    this.options.logger.warn({ remote, ...noted }, 'a pairing was rejected');
    this.options.onEvent({ type: 'refused', remote, ...noted });
  }

  private adopt(claim: Claim, link: MessageLink, listener: TetherListener, keys: PairingKeys, remote: string): void {
    listener.hasPaired = true;
    this.pairing.delete(link);
    this.countUnderWay(remote, -1);
    this.attempts.clear(remote);
    this.paired.get(claim.page)?.replace();
    const events = {
      onJoined: () => {
        this.bridges.add(page);
        this.options.onEvent({ type: 'paired', remote, again: claim.kind === 'page' });
      },
      onDoubt: () => this.bridges.doubt(page),
      onLinks: () => this.bridges.assignDuties(),
      onEnd: (_page: PairedPage, { text }: LinkCloseReason) => {
        this.handleEnd(page, remote, text);
        this.leave(listener);
      },
    };
    const page: PairedPage = new PairedPage({ id: claim.page, keys }, link, events, this.clock);
    this.paired.set(claim.page, page);
    if (this.closed) page.close();
  }

  private handleEnd(page: PairedPage, remote: string, reason: string): void {
    if (this.paired.get(page.id) === page) this.paired.delete(page.id);
    this.bridges.remove(page);
    this.options.logger.debug({ remote, reason }, 'a page disconnected');
    if (this.closed) return;
    this.options.onEvent({ type: 'lost', remote, left: this.bridges.size });
    this.codeIn(NEW_CODE_AFTER_MS);
  }

  private leave(listener: TetherListener): void {
    listener.users -= 1;
    if (!this.closed) this.closeUnused();
  }

  /** A code for whoever waits with no page at all: the one on show has run out, or the phone does not come back. */
  private codeIn(ms: number): void {
    this.clock.clearTimeout(this.codeTimer);
    this.codeTimer = this.clock.setTimeout(() => {
      if (this.bridges.size === 0) this.showCode();
    }, ms);
    this.codeTimer.unref();
  }
}
