/**
 * The paired pages. The newest that responds carries the links, and the others are asked if it fails or is slow; or all
 * of them carry links at once.
 */
import { AbortableWait } from '../../async/abortable.ts';
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { ConnectionRace } from '../../net/connection-race.ts';
import { DUTY, type Duty } from '../shared/messages.ts';
import type { HttpTicket } from './page-http-link.ts';
import { OFFLINE } from './page-kind.ts';
import type { PageLink, PageTickets, PairedPage } from './paired-page.ts';
import { OFFLINE_RETRY_MS, STAGGER_MS } from './tether-limits.ts';

/** Makes a relay's URL with a new ticket for a page whose clock is `skewMs` ahead of this machine's. */
export type UrlMaker = (skewMs: number) => string;

/** The same for an HTTP link. */
export type HttpTicketMaker = (skewMs: number) => HttpTicket;

export interface TicketMakers {
  readonly makeUrl: UrlMaker;
  /** Undefined: only WebSockets are wanted. */
  readonly makeHttp?: HttpTicketMaker | undefined;
}

/** One page, as of `BrowserBridges.dial`. */
export interface PageWay {
  readonly name: string;
  /** @throws WstunError as `PairedPage.open` */
  dial(makeUrl: UrlMaker, signal: AbortSignal, makeHttp?: HttpTicketMaker): Promise<PageLink>;
}

export class BrowserBridges {
  /** The newest first. */
  private pages: PairedPage[] = [];
  private readonly waiting = new Set<AbortableWait<void>>();

  /**
   * @param onOffline no page reaches the relay; called once for each dial, which continues
   * @param isBonded all pages may carry links at once
   */
  constructor(
    private readonly onOffline: () => void,
    private readonly clock: Clock,
    private readonly isBonded = false,
  ) {}

  get size(): number {
    return this.pages.length;
  }

  /** Unless they are used together, the newest page takes over the links of the others: sessions survive that. */
  add(page: PairedPage): void {
    this.pages = [page, ...this.pages];
    if (!this.isBonded) for (const other of this.pages.slice(1)) other.endLinks();
    for (const wait of [...this.waiting]) wait.resolve();
    this.assignDuties();
  }

  remove(page: PairedPage): void {
    this.pages = this.pages.filter((other) => other !== page);
    this.assignDuties();
  }

  /** A silent page keeps its links while no other page responds. */
  handleSilent(page: PairedPage): void {
    if (this.pages.some((other) => other !== page && other.isResponsive)) page.endLinks();
  }

  pageExpecting(token: string): PairedPage | undefined {
    return this.pages.find((page) => page.expects(token));
  }

  assignDuties(): void {
    const anyActive = this.pages.some(({ isActive }) => isActive);
    for (const page of this.pages) page.setDuty(dutyOf(page, anyActive));
  }

  closeAll(): void {
    for (const page of this.pages) page.close();
  }

  /** Waits for a page that reaches the relay. @throws WstunError of `PairedPage.open`, dial-cancelled */
  async dial(makers: TicketMakers, signal: AbortSignal): Promise<PageLink> {
    let isReported = false;
    for (;;) {
      if (this.pages.length === 0) await this.nextPage(signal);
      try {
        return await new PageRace(this.inOrder(), makers, signal, this.clock).run();
      } catch (error) {
        const fault = error instanceof WstunError ? error.fault : 'internal';
        // Only the pages are gone: the next one may join at any moment.
        if (fault === 'link-lost' && this.pages.length === 0) continue;
        if (!OFFLINE.has(fault)) throw error;
      }
      if (!isReported) this.onOffline();
      isReported = true;
      await pause(this.clock, OFFLINE_RETRY_MS * (0.5 + this.clock.random()), signal);
    }
  }

  /** Each of the pages by itself. */
  get each(): readonly PageWay[] {
    return this.pages.map((page) => ({
      name: page.name,
      dial: (makeUrl, signal, makeHttp) => page.open(ticketsFor(page, { makeUrl, makeHttp }), signal),
    }));
  }

  private inOrder(): PairedPage[] {
    const responsive = this.pages.filter(({ isResponsive }) => isResponsive);
    return [...responsive, ...this.pages.filter((page) => !responsive.includes(page))];
  }

  private async nextPage(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    const wait = new AbortableWait<void>({ clock: this.clock, signal, onSettled: () => this.waiting.delete(wait) });
    this.waiting.add(wait);
    return wait.promise;
  }
}

/** @throws WstunError dial-cancelled */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new AbortableWait<void>({ clock, signal, limitMs: ms, onExpired: (wait) => wait.resolve() }).promise;
}

function ticketsFor({ skewMs }: PairedPage, { makeUrl, makeHttp }: TicketMakers): PageTickets {
  return { url: makeUrl(skewMs), http: makeHttp && (() => makeHttp(skewMs)) };
}

function dutyOf(page: PairedPage, anyActive: boolean): Duty {
  if (page.isActive) return DUTY.active;
  return anyActive ? DUTY.standby : DUTY.idle;
}

/** One dial: the pages are asked one after the other, like addresses in RFC 8305; the first link wins. */
class PageRace {
  private readonly race: ConnectionRace<PairedPage>;
  private readonly signal: AbortSignal;
  private readonly over = new AbortController();
  private stagger: Timer | undefined;

  constructor(
    pages: readonly PairedPage[],
    private readonly makers: TicketMakers,
    signal: AbortSignal,
    private readonly clock: Clock,
  ) {
    this.race = new ConnectionRace(pages, { attemptDelayMs: STAGGER_MS, maxAttempts: pages.length });
    this.signal = AbortSignal.any([signal, this.over.signal]);
  }

  async run(): Promise<PageLink> {
    try {
      // There may be no page any more: one can be removed in the turn in which it joined.
      return await new Promise((resolve, reject) => this.startNext(resolve, reject, new WstunError('link-lost')));
    } finally {
      this.clock.clearTimeout(this.stagger);
      this.over.abort();
    }
  }

  private startNext(resolve: (link: PageLink) => void, reject: (error: unknown) => void, lastError: unknown): void {
    this.clock.clearTimeout(this.stagger);
    const now = this.clock.now();
    const page = this.race.poll(now);
    const nextAt = this.race.nextTimeout();
    if (nextAt < Number.POSITIVE_INFINITY)
      this.stagger = this.clock.setTimeout(() => this.startNext(resolve, reject, lastError), Math.max(0, nextAt - now));
    if (page === undefined) {
      if (this.race.isLost) reject(lastError);
      return;
    }
    page.open(ticketsFor(page, this.makers), this.signal).then(
      // A request that `over` has cancelled never resolves, so there is only one winner.
      (link) => resolve(link),
      (error: unknown) => {
        this.race.handleFailed();
        this.startNext(resolve, reject, error);
      },
    );
  }
}
