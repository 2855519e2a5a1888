/**
 * The ways by which a client's raw links come about: dialled from here, or carried by a phone's page; and the choice between them.
 * What runs on a link, the handshake first of all, is not known here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PAGE_FEATURE } from '../crypto/ticket.ts';
import { FAULTS, WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { Backoff } from './backoff.ts';
import type { Pass, TicketDialer } from './ticket-dialer.ts';

/** The handler of a link must be set in the turn in which it resolves. */
export interface LinkWay {
  /** @throws WstunError */
  dial(signal: AbortSignal): Promise<MessageLink>;
}

/** A way that may have nobody to ask for now; its dials wait for somebody, however long. */
export interface AskedWay extends LinkWay {
  readonly canBeAsked: boolean;
}

interface AskedLink extends MessageLink {
  /** Which of the URLs it came of. */
  readonly asked: string;
}

/** Opens links by web pages; waits for a page, however long. */
export interface PageDialer {
  /** That can be asked now. */
  readonly pages: number;
  /** @param makeUrl called for each page that is asked: a relay's URL with a fresh ticket, by a clock that is so far ahead of ours */
  dial(makeUrl: (skewMs: number) => string, signal: AbortSignal): Promise<AskedLink>;
}

export class DirectWay implements LinkWay {
  private readonly dialer: TicketDialer;
  private readonly destination: string;
  private readonly mask: { readonly mask?: 'zero' };

  /** @param sealed what the link carries is ciphertext, which needs no mask */
  constructor(dialer: TicketDialer, destination: string, sealed: boolean) {
    this.dialer = dialer;
    this.destination = destination;
    // Masks keep a page's script from forging plain text on the wire (RFC 6455 §10.3): sealed records are no one's plain text.
    this.mask = sealed ? { mask: 'zero' } : {};
  }

  dial(signal: AbortSignal): Promise<MessageLink> {
    const place = { role: 'client', destination: this.destination } as const;
    return this.dialer.dial(this.dialer.nextRelay(), place, { signal, ...this.mask });
  }
}

export class TetherWay implements AskedWay {
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
/** While a link by the second way is in use. */
const TRY_FIRST_AGAIN_MS = 30_000;
/** A link at a relay that says nothing lives for the handshake's 10 s. */
const KEEP_SPARE_MS = 5_000;

export interface PreferredWayOptions {
  /** Gives a link by the second way up when the first works again: where sessions survive their links. Default: false. */
  readonly movesBack?: boolean;
  readonly tryFirstAgainMs?: number;
}

/**
 * The first way while it works, else the second. While nobody can be asked for the second, an attempt fails with the first, as if
 * there were no other: whoever tries again waits no longer for that, and hears of a refusal.
 */
export class PreferredWay implements LinkWay {
  private readonly first: LinkWay;
  private readonly second: AskedWay;
  private readonly logger: Logger;
  private readonly movesBack: boolean;
  private readonly tryFirstAgainMs: number;
  private firstWorks = true;
  /** The latest link is, or was, by the second way. */
  private secondCarried = false;
  /** Of the first way, dialled in advance. */
  private spare: MessageLink | undefined;
  /** The latest link by the second way. */
  private bySecond: MessageLink | undefined;
  private isMovingBack = false;

  constructor(first: LinkWay, second: AskedWay, logger: Logger, options: PreferredWayOptions = {}) {
    this.first = first;
    this.second = second;
    this.logger = logger;
    this.movesBack = options.movesBack ?? false;
    this.tryFirstAgainMs = options.tryFirstAgainMs ?? TRY_FIRST_AGAIN_MS;
  }

  dial(signal: AbortSignal): Promise<MessageLink> {
    const { spare } = this;
    this.spare = undefined;
    return spare === undefined ? this.contest(signal) : Promise.resolve(spare);
  }

  private async contest(signal: AbortSignal): Promise<MessageLink> {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    try {
      return await this.firstLink(both);
    } finally {
      over.abort();
    }
  }

  /** Rejects when the first way has failed, and the second too or with nobody to be asked. */
  private firstLink(signal: AbortSignal): Promise<MessageLink> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (link: MessageLink, bySecond: boolean): void => {
        if (settled) return link.abort();
        settled = true;
        this.secondCarried = bySecond;
        resolve(link);
        if (bySecond && this.movesBack) void this.moveBack(link);
      };
      const fail = (error: unknown): void => {
        settled = true;
        reject(error);
      };
      const hasFailed = new Promise<void>((failed) => {
        const onFailed = (error: unknown): void => (this.isWorthWaiting(error) ? failed() : fail(error));
        const backoff = new Backoff();
        // The attempt that begins at once.
        backoff.next(0);
        const waits = (): number => backoff.next(Math.random());
        this.keepTrying(signal, waits, onFailed).then(
          (link) => settle(link, false),
          () => failed(),
        );
      });
      const headStart = delay(this.firstWorks ? HEAD_START_MS : 0, undefined, { signal }).catch(() => {});
      Promise.race([hasFailed, headStart])
        .then(() => {
          if (signal.aborted) throw new WstunError('dial-cancelled');
          return this.second.dial(signal);
        })
        .then(
          (link) => settle(link, true),
          async (error: unknown) => {
            await hasFailed;
            fail(error);
          },
        );
    });
  }

  /** Whether the second way may bring the link for which the first failed. */
  private isWorthWaiting(error: unknown): boolean {
    if (this.second.canBeAsked) return true;
    // The relay has let us in by the other way: it is this network (a portal, a filter) that answers, and no final word.
    return this.secondCarried && isAccessFault(error);
  }

  /** A network that lets nothing out today may do so in a minute. Rejects when the signal fires. @param waitMs before the next */
  private async keepTrying(
    signal: AbortSignal,
    waitMs: () => number,
    onFailed: (error: unknown) => void,
  ): Promise<MessageLink> {
    for (;;) {
      try {
        const link = await this.first.dial(signal);
        this.firstWorks = true;
        return link;
      } catch (error) {
        signal.throwIfAborted();
        this.firstWorks = false;
        const reason = error instanceof WstunError ? error.code : String(error);
        this.logger.debug({ reason }, 'the direct way does not work');
        onFailed(error);
      }
      await delay(waitMs(), undefined, { signal, ref: false });
    }
  }

  /** Until the first way works again: then the session comes back to `dial`, and finds the spare. One at a time. */
  private async moveBack(link: MessageLink): Promise<void> {
    this.bySecond = link;
    if (this.isMovingBack) return;
    this.isMovingBack = true;
    await delay(this.tryFirstAgainMs, undefined, { ref: false });
    const { signal } = new AbortController();
    const waits = (): number => this.tryFirstAgainMs;
    const spare = await this.keepTrying(signal, waits, () => {}).catch(() => undefined);
    this.isMovingBack = false;
    if (spare === undefined) return;
    this.spare = spare;
    this.bySecond?.abort();
    await delay(KEEP_SPARE_MS, undefined, { ref: false });
    if (this.spare !== spare) return;
    this.spare = undefined;
    spare.abort();
  }
}

function isAccessFault(error: unknown): boolean {
  return error instanceof WstunError && FAULTS[error.fault].class === 'access';
}
