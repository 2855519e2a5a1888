/**
 * The ways by which a client's raw links come about: dialled from here, or carried by a phone's page; and the choice
 * between two ways, of whatever links. What runs on a link, the handshake first of all, is not known here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PAGE_FEATURE } from '../../crypto/ticket.ts';
import { FAULTS, type FaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import { Backoff } from '../reconnect/backoff.ts';
import type { Pass, TicketDialer } from './ticket-dialer.ts';

/** The handler of a link must be set in the turn in which it resolves. */
export interface Connector<L extends MessageLink = MessageLink> {
  /** False: there is nobody to ask for now; then dials wait for somebody, however long. */
  readonly canBeAsked: boolean;
  /** @throws WstunError */
  dial(signal: AbortSignal): Promise<L>;
}

interface AskedLink extends MessageLink {
  /** Which of the URLs it came of. */
  readonly asked: string;
}

/** Opens links by web pages; waits for a page, however long. */
export interface PageDialer {
  /** That can be asked now. */
  readonly pages: number;
  /**
   * @param makeUrl called for each page that is asked: a relay's URL with a fresh ticket, by a clock that is so far
   * ahead of ours
   */
  dial(makeUrl: (skewMs: number) => string, signal: AbortSignal): Promise<AskedLink>;
}

export class DirectConnector implements Connector {
  readonly canBeAsked = true;
  private readonly dialer: TicketDialer;
  private readonly destination: string;
  private readonly mask: { readonly mask?: 'zero' };

  /** @param sealed what the link carries is ciphertext, which needs no mask */
  constructor(dialer: TicketDialer, destination: string, sealed: boolean) {
    this.dialer = dialer;
    this.destination = destination;
    // Masks keep a page's script from forging plain text on the wire (RFC 6455 §10.3): sealed records are no one's
    // plain text.
    this.mask = sealed ? { mask: 'zero' } : {};
  }

  dial(signal: AbortSignal): Promise<MessageLink> {
    const place = { role: 'client', destination: this.destination } as const;
    return this.dialer.dial(this.dialer.nextRelay(), place, { signal, ...this.mask });
  }
}

export class TetherConnector implements Connector {
  private readonly dialer: TicketDialer;
  private readonly destination: string;
  private readonly pages: PageDialer;

  constructor(dialer: TicketDialer, destination: string, pages: PageDialer) {
    this.dialer = dialer;
    this.destination = destination;
    this.pages = pages;
  }

  get canBeAsked(): boolean {
    return this.pages.pages > 0;
  }

  async dial(signal: AbortSignal): Promise<MessageLink> {
    const place = { role: 'client', destination: this.destination, features: PAGE_FEATURE } as const;
    const passes = new Map<string, Pass>();
    const makeUrl = (skewMs: number): string => {
      const pass = this.dialer.passFor(this.dialer.nextRelay(), place, Date.now() + skewMs);
      passes.set(pass.url.href, pass);
      return pass.url.href;
    };
    const link = await this.pages.dial(makeUrl, signal);
    const pass = passes.get(link.asked);
    return pass === undefined ? link : this.dialer.remember(link, pass.rotationProof);
  }
}

/** The second way begins beside the first after this much; at once where the first did not work the last time. */
const HEAD_START_MS = 1_000;
/**
 * The first way begins so long after the second where nothing came of its last link: it is the nearer one, so its
 * handshake would win each race, and the session wait for an answer that does not come. A phone that works has a link
 * by then; one that is offline does not say so.
 */
const DOUBTED_LAG_MS = 5_000;

/**
 * What a relay says to a peer whom it knows, whichever way the link comes: on a link that cannot lead to the exit
 * (docs/protocol.md §11), and in place of one (§2.2).
 */
const RELAY_WORDS: ReadonlySet<FaultName> = new Set<FaultName>([
  'exit-absent',
  'keys-rotated',
  'relay-full',
  'too-often',
]);

/** A link, and what is to be known of the way that brought it. */
export interface ChosenLink<L extends MessageLink> {
  readonly link: L;
  /** Where there is a better way than that. */
  readonly better?: ConnectorChoice<L>;
  /** Nothing came of the link: its way only seems to work. */
  readonly doubt?: () => void;
}

export interface ConnectorChoice<L extends MessageLink> {
  /** @throws WstunError */
  dial(signal: AbortSignal): Promise<ChosenLink<L>>;
}

/** For where there is no choice. */
export class SingleConnector<L extends MessageLink> implements ConnectorChoice<L> {
  private readonly way: Connector<L>;

  constructor(way: Connector<L>) {
    this.way = way;
  }

  async dial(signal: AbortSignal): Promise<ChosenLink<L>> {
    return { link: await this.way.dial(signal) };
  }
}

/**
 * The first way while it works, else the second. While nobody can be asked for the second, an attempt fails with the
 * first, as if there were no other: whoever tries again waits no longer for that, and hears of a refusal.
 *
 * A way is judged by the links that it brings: what it takes for a link must be all that shows whether a network lets
 * it be used.
 */
export class PreferredConnector<L extends MessageLink> implements ConnectorChoice<L> {
  private readonly first: Connector<L>;
  private readonly second: Connector<L>;
  private readonly logger: Logger;
  private firstWorks = true;
  /** Nothing came of the latest link by the first way. */
  private firstDoubted = false;
  /** The latest link is, or was, by the second way. */
  private secondCarried = false;

  constructor(first: Connector<L>, second: Connector<L>, logger: Logger) {
    this.first = first;
    this.second = second;
    this.logger = logger;
  }

  async dial(signal: AbortSignal): Promise<ChosenLink<L>> {
    const { link, bySecond } = await new LinkRace(
      {
        first: (over) => this.tryFirst(over),
        second: (over) => this.second.dial(over),
        headStartMs: this.firstWorks ? HEAD_START_MS : 0,
        lagMs: this.firstDoubted && this.second.canBeAsked ? DOUBTED_LAG_MS : 0,
        isFinal: (error) => this.isFinal(error),
      },
      signal,
    ).run();
    return bySecond ? this.secondChoice(link) : this.firstChoice(link);
  }

  private firstChoice(link: L): ChosenLink<L> {
    this.secondCarried = false;
    this.firstDoubted = false;
    const doubt = (): void => {
      this.firstWorks = false;
      this.firstDoubted = true;
    };
    return { link, doubt };
  }

  private secondChoice(link: L): ChosenLink<L> {
    this.secondCarried = true;
    // Also where it was only slower: it has lost by its head start.
    this.firstWorks = false;
    return { link, better: { dial: async (signal) => this.firstChoice(await this.tryFirst(signal)) } };
  }

  private async tryFirst(signal: AbortSignal): Promise<L> {
    try {
      const link = await this.first.dial(signal);
      this.firstWorks = true;
      return link;
    } catch (error) {
      if (!signal.aborted) this.noteFailure(error);
      throw error;
    }
  }

  private noteFailure(error: unknown): void {
    this.firstWorks = isRelaysWord(error);
    if (this.firstWorks) return;
    const reason = error instanceof WstunError ? error.code : String(error);
    this.logger.debug({ reason }, 'the direct connection failed');
  }

  /** Whether the second way cannot bring the link for which the first failed with that. */
  private isFinal(error: unknown): boolean {
    if (isRelaysWord(error)) return true;
    if (this.second.canBeAsked) return false;
    // The relay has let us in by the other way: it is this network (a portal, a filter) that answers, and no final
    // word.
    return !(this.secondCarried && isAccessFault(error));
  }
}

interface Contestants<L extends MessageLink> {
  first(signal: AbortSignal): Promise<L>;
  second(signal: AbortSignal): Promise<L>;
  /** The second begins so long after the dial, at the latest. */
  readonly headStartMs: number;
  /** The first begins so long after the dial, at the latest. */
  readonly lagMs: number;
  /** Whether the second cannot bring the link for which the first failed with that. */
  isFinal(error: unknown): boolean;
}

interface Won<L extends MessageLink> {
  readonly link: L;
  readonly bySecond: boolean;
}

/**
 * One dial: either way begins when the other has failed, or its time has come; the first is tried on meanwhile. The
 * first link wins. Fails when both ways have, and with the word of a relay, which either way would bring.
 */
class LinkRace<L extends MessageLink> {
  private readonly ways: Contestants<L>;
  private readonly over = new AbortController();
  private readonly signal: AbortSignal;
  private headStart: NodeJS.Timeout | undefined;
  private lag: NodeJS.Timeout | undefined;
  private firstTried = false;
  private secondAsked = false;
  private firstFailed = false;
  private secondError: unknown;
  private resolve: (won: Won<L>) => void = () => {};
  private reject: (error: unknown) => void = () => {};

  constructor(ways: Contestants<L>, signal: AbortSignal) {
    this.ways = ways;
    this.signal = AbortSignal.any([signal, this.over.signal]);
  }

  async run(): Promise<Won<L>> {
    const { signal, ways } = this;
    try {
      return await new Promise((resolve, reject) => {
        [this.resolve, this.reject] = [resolve, reject];
        const onAbort = (): void => reject(new WstunError('dial-cancelled'));
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        this.headStart = setTimeout(() => this.askSecond(), ways.headStartMs);
        if (ways.lagMs > 0) this.lag = setTimeout(() => this.tryFirst(), ways.lagMs);
        else this.tryFirst();
      });
    } finally {
      clearTimeout(this.headStart);
      clearTimeout(this.lag);
      this.over.abort();
    }
  }

  private tryFirst(): void {
    if (this.firstTried || this.signal.aborted) return;
    this.firstTried = true;
    clearTimeout(this.lag);
    void this.keepTryingFirst();
  }

  /** A network that lets nothing out today may do so in a minute. */
  private async keepTryingFirst(): Promise<void> {
    const { signal } = this;
    const backoff = new Backoff();
    while (!signal.aborted) {
      const waitMs = backoff.next(Math.random());
      if (waitMs > 0) await delay(waitMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      await this.ways.first(signal).then(
        (link) => this.handleLink(link, false),
        (error: unknown) => this.handleFirstFailed(error),
      );
    }
  }

  private askSecond(): void {
    if (this.secondAsked || this.signal.aborted) return;
    this.secondAsked = true;
    clearTimeout(this.headStart);
    this.ways.second(this.signal).then(
      (link) => this.handleLink(link, true),
      (error: unknown) => this.handleSecondFailed(error),
    );
  }

  private handleLink(link: L, bySecond: boolean): void {
    if (this.signal.aborted) return link.abort();
    this.resolve({ link, bySecond });
    this.over.abort();
  }

  private handleFirstFailed(error: unknown): void {
    if (this.ways.isFinal(error)) return this.reject(error);
    this.firstFailed = true;
    if (this.secondError !== undefined) return this.reject(this.secondError);
    this.askSecond();
  }

  private handleSecondFailed(error: unknown): void {
    if (this.firstFailed || isRelaysWord(error)) return this.reject(error);
    this.secondError = error;
    this.tryFirst();
  }
}

function isAccessFault(error: unknown): boolean {
  return error instanceof WstunError && FAULTS[error.fault].class === 'access';
}

function isRelaysWord(error: unknown): boolean {
  return error instanceof WstunError && RELAY_WORDS.has(error.fault);
}
