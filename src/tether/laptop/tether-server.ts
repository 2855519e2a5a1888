/** The laptop's side of a tether (docs/tether-protocol.md): pairs with pages, shows codes, and returns their links. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { LockOut } from '../../limits/lock-out.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import type { Logger } from '../../observability/logger.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { WebSocketAcceptor } from '../../transport/websocket/websocket-accept.ts';
import { type PairingKeys, secretToText } from '../shared/pairing.ts';
import { BrowserBridges, type HttpTicketMaker, type PageWay, type UrlMaker } from './browser-bridges.ts';
import { type PageKind, PHONE } from './page-kind.ts';
import { type PageLink, PairedPage, type PairedPageEvents, type TextHandler } from './paired-page.ts';
import { PairingExchange } from './pairing-exchange.ts';
import { type Claim, CODE_LIFETIME_MS, PairingSecrets } from './pairing-secrets.ts';
import { PairingSlots } from './pairing-slots.ts';
import { ServedAddresses, type TetherPlace } from './served-addresses.ts';
import { NEW_CODE_AFTER_MS, PAIRING_ATTEMPTS } from './tether-limits.ts';
import { rejectUpgrade, type TetherListener } from './tether-listener.ts';

const LINK_PATH = /^\/link\/([0-9a-f]{32})$/;

export type TetherEvent =
  /** A code to show: the URL is the secret. */
  | { readonly type: 'code'; readonly url: string; readonly lifetimeMs: number }
  /** Codes lead there now. `again`: to the same address as before, after a time without one. */
  | { readonly type: 'address'; readonly host: string; readonly port: number; readonly again: boolean }
  /** `again`: a page that paired before is back. */
  | { readonly type: 'paired'; readonly remote: string; readonly again: boolean }
  | { readonly type: 'lost'; readonly remote: string; readonly left: number }
  /** No phone reaches the relay; the dial continues. */
  | { readonly type: 'offline' }
  /** A failed attempt to pair; `guesses`: those of this address, which has to wait for `waitMs` now. */
  | { readonly type: 'refused'; readonly remote: string; readonly guesses: number; readonly waitMs: number };

export interface TetherServerOptions {
  readonly page: Buffer;
  /** Those of the invite: where the page may open upstream connections. */
  readonly relayUrls: readonly string[];
  readonly onEvent: (event: TetherEvent) => void;
  readonly logger: Logger;
  /** All pages carry links at once; default: the newest does. */
  readonly bond?: boolean;
  /** Default: phones. */
  readonly kind?: PageKind;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** A control link at the laptop, and where it came from. */
interface Arrival {
  readonly link: MessageLink;
  readonly listener: TetherListener;
  readonly remote: string;
}

export class TetherServer {
  private readonly clock: Clock;
  private readonly kind: PageKind;
  private readonly acceptor = new WebSocketAcceptor();
  private readonly served: ServedAddresses;
  private readonly bridges: BrowserBridges;
  private readonly secrets = new PairingSecrets();
  /** Failed attempts to pair, by address. */
  private readonly attempts = new LockOut(PAIRING_ATTEMPTS, () => undefined);
  private failed = 0;
  private readonly slots = new PairingSlots();
  /** Control links whose pairing is under way. */
  private readonly pairing = new Set<MessageLink>();
  /** By the pairing's id, also those that have not sent `joined`. */
  private readonly paired = new Map<string, PairedPage>();
  /** Where the last code led. */
  private shownAt: string | undefined;
  private codeTimer: Timer | undefined;
  /** A code was due while there was no address. */
  private isCodeDue = false;
  private closed = false;

  /** Listens nowhere yet. */
  constructor(private readonly options: TetherServerOptions) {
    const { page, relayUrls, logger, onEvent, bond, kind = PHONE, clock = systemClock } = options;
    this.clock = clock;
    this.kind = kind;
    this.bridges = new BrowserBridges(() => onEvent({ type: 'offline' }), clock, bond);
    const onUpgrade: typeof this.handleUpgrade = (...upgrade) => this.handleUpgrade(...upgrade);
    const start = kind.start && {
      view: kind.start,
      isValid: (secret: string) => this.secrets.isCode(secret, clock.now()),
    };
    this.served = new ServedAddresses({ page, relayUrls, logger, clock, onUpgrade, start });
  }

  /** Where codes lead; undefined: nowhere. */
  get address(): HostPort | undefined {
    return this.served.address;
  }

  /** Number of pages that can be asked for a link. */
  get pages(): number {
    return this.bridges.size;
  }

  /** Each of them by itself. */
  get eachPage(): readonly PageWay[] {
    return this.bridges.each;
  }

  /** Number of failed attempts to pair so far. */
  get failedAttempts(): number {
    return this.failed;
  }

  /** Lets codes lead there; one call at a time. @throws WstunError cannot-listen: nothing has changed */
  async serve(place: TetherPlace): Promise<void> {
    const hasMoved = await this.served.serve(place);
    if (hasMoved && this.address !== undefined) this.announce(this.address);
  }

  /** The machine's addresses. An earlier address where pages have paired is still served while it exists. */
  setAddresses(addresses: ReadonlySet<string>): void {
    this.served.setExisting(addresses);
  }

  /** The secret of a start file, in place of the last one: it opens one pairing, within 5 minutes. */
  newStart(): string {
    return secretToText(this.secrets.newCode(this.clock.now()));
  }

  /** Makes a new code in place of the last one, and reports it as an event. */
  showCode(): void {
    if (this.kind.start !== undefined) return;
    const { address } = this;
    this.isCodeDue = address === undefined;
    if (this.closed || address === undefined) return;
    const secret = secretToText(this.secrets.newCode(this.clock.now()));
    this.scheduleCode(CODE_LIFETIME_MS);
    this.shownAt = formatHostPort(address);
    this.options.onEvent({ type: 'code', url: `http://${this.shownAt}/#${secret}`, lifetimeMs: CODE_LIFETIME_MS });
  }

  /** Waits for a page without a limit; see `BrowserBridges.dial`. */
  dial(makeUrl: UrlMaker, signal: AbortSignal, makeHttp?: HttpTicketMaker): Promise<PageLink> {
    return this.bridges.dial({ makeUrl, makeHttp }, signal);
  }

  /** Ends all pages and their links. */
  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.codeTimer);
    this.bridges.closeAll();
    for (const page of [...this.paired.values()]) page.close();
    for (const link of this.pairing) link.abort();
    this.served.close();
  }

  // ── codes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  private announce(address: HostPort): void {
    const again = this.shownAt === formatHostPort(address);
    if (this.shownAt !== undefined) this.options.onEvent({ type: 'address', ...address, again });
    // The last code is valid for the same address. A page that paired before returns sooner than it needs a new one.
    if (!again) this.showCode();
    else if (this.isCodeDue) this.scheduleCode(NEW_CODE_AFTER_MS);
  }

  /** A new code if there is no page by then: the code on the screen has expired, or the phone did not come back. */
  private scheduleCode(ms: number): void {
    this.clock.clearTimeout(this.codeTimer);
    this.codeTimer = this.clock.setTimeout(() => {
      if (this.bridges.size === 0) this.showCode();
    }, ms);
    this.codeTimer.unref();
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private handleUpgrade(listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = request.socket.remoteAddress ?? 'unknown';
    const token = LINK_PATH.exec(request.url ?? '')?.[1];
    if (token !== undefined) return this.acceptLocal(request, socket, head, token);
    if (request.url !== '/control') return this.reject(socket, 404);
    if (this.attempts.isLocked(remote, this.clock.now())) return this.reject(socket, 429);
    if (!this.slots.acquire(remote)) return this.reject(socket, 503);
    this.acceptControl(listener, request, socket, head);
  }

  private reject(socket: Duplex, status: number): void {
    rejectUpgrade(socket, status, this.clock);
  }

  private acceptLocal(request: IncomingMessage, socket: Duplex, head: Buffer, token: string): void {
    const page = this.bridges.pageExpecting(token);
    if (page === undefined) return this.reject(socket, 404);
    let texts: TextHandler | undefined;
    this.acceptor
      .accept(request, socket, head, (text) => texts?.handleText(text))
      .then((local) => {
        texts = page.takeLocal(token, local);
        if (texts === undefined) local.abort();
      })
      .catch(() => socket.destroy());
  }

  // ── pairing ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private acceptControl(listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = request.socket.remoteAddress ?? 'unknown';
    listener.users += 1;
    this.acceptor.accept(request, socket, head).then(
      (link) => this.pair({ link, listener, remote }, request.headers.host ?? ''),
      () => {
        this.slots.release(remote);
        this.served.leave(listener);
        socket.destroy();
      },
    );
  }

  private pair(arrival: Arrival, host: string): void {
    const { link, listener, remote } = arrival;
    this.pairing.add(link);
    new PairingExchange(link, {
      host,
      clock: this.clock,
      find: (id) => this.secrets.find(id, this.clock.now()),
      claim: (secret, keys) => {
        const claim = this.secrets.claim(secret, keys.rejoin, this.clock.now());
        return claim && (() => this.adopt(arrival, claim, keys));
      },
      onFailed: (isAttempt) => {
        this.pairing.delete(link);
        this.slots.release(remote);
        this.served.leave(listener);
        if (isAttempt && !this.closed) this.noteFailedAttempt(remote);
      },
    });
  }

  private noteFailedAttempt(remote: string): void {
    this.failed += 1;
    const { failures, waitMs } = this.attempts.fail(remote, this.clock.now());
    // The name is part of the JSON event.
    const noted = { guesses: failures, waitMs };
    this.options.logger.warn({ remote, ...noted }, 'a pairing was rejected');
    this.options.onEvent({ type: 'refused', remote, ...noted });
  }

  private adopt({ link, listener, remote }: Arrival, claim: Claim, keys: PairingKeys): void {
    listener.hasPaired = true;
    this.pairing.delete(link);
    this.slots.release(remote);
    this.attempts.clear(remote);
    this.paired.get(claim.page)?.replace();
    const events: PairedPageEvents = {
      onJoined: () => {
        this.bridges.add(page);
        this.options.onEvent({ type: 'paired', remote, again: claim.kind === 'page' });
      },
      onSilent: () => this.bridges.handleSilent(page),
      onLinks: () => this.bridges.assignDuties(),
      onEnd: ({ text }) => {
        this.handleEnd(page, remote, text);
        this.served.leave(listener);
      },
    };
    const page: PairedPage = new PairedPage({ id: claim.page, keys, kind: this.kind }, link, events, this.clock);
    this.paired.set(claim.page, page);
    if (this.closed) page.close();
  }

  private handleEnd(page: PairedPage, remote: string, reason: string): void {
    if (this.paired.get(page.id) === page) this.paired.delete(page.id);
    this.bridges.remove(page);
    this.options.logger.debug({ remote, reason }, 'a page disconnected');
    if (this.closed) return;
    this.options.onEvent({ type: 'lost', remote, left: this.bridges.size });
    this.scheduleCode(NEW_CODE_AFTER_MS);
  }
}
