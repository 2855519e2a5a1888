/** Assembles the lists that an exit announces, and limits their rate. What comes faster waits at the exit. */
import type { Clock, Timer } from '../clock.ts';
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';
import type { ControlHandler } from '../transport/control-link.ts';
import { type ControlMessage, MAX_ANNOUNCED_KEYS } from '../transport/control-messages.ts';
import type { LinkCloseReason, MessageLink } from '../transport/message-link.ts';

/** Lists that are used: an access list changes seldom, or a few times in a row by hand. */
const LISTS: RateLimit = { perSecond: 1, burst: 4 };
/** Lists that are read: the longest takes 5 ms. An older exit may send two a second while its file changes. */
const LISTS_READ: RateLimit = { perSecond: 4, burst: 8 };
/** Any messages, pings too. The longest list has ten; a sender that writes one for each key sends 10,000. */
const MESSAGES: RateLimit = { perSecond: 200, burst: 2_000 };
/** So many tiny messages fit one read, before a pause. Beyond, the link is aborted: pausing does not slow it down. */
const MAX_OWED_MESSAGES = 4_000;

/** Until the link is read again at the latest: it must not seem silent. */
const MAX_PAUSE_MS = 5_000;

/** Of one exit, whichever control link it has: a new link must not start with a new budget. */
export class AnnouncementLimiters {
  readonly lists: TokenBucket;
  readonly listsRead: TokenBucket;
  readonly messages: TokenBucket;

  constructor(now: number) {
    this.lists = new TokenBucket(LISTS, now);
    this.listsRead = new TokenBucket(LISTS_READ, now);
    this.messages = new TokenBucket(MESSAGES, now);
  }
}

export interface AnnouncementEvents {
  onList(keys: readonly string[]): void;
  /** The exit cannot come to the other relay of the call with that token. */
  onUnreached(token: string): void;
  /** The last call. */
  onEnd(reason: LinkCloseReason): void;
}

export class Announcements implements ControlHandler {
  private keys: string[] = [];
  /** Complete, and not used yet. */
  private next: readonly string[] | undefined;
  private turn: Timer | undefined;
  private pause: Timer | undefined;

  constructor(
    private readonly link: MessageLink,
    private readonly limiters: AnnouncementLimiters,
    private readonly events: AnnouncementEvents,
    private readonly clock: Clock,
  ) {}

  handlePing(): boolean {
    return this.noteMessage();
  }

  handleControl(message: ControlMessage): boolean {
    if (message.type === 'unreached') this.events.onUnreached(message.token);
    if (message.type === 'unreached') return this.noteMessage();
    if (message.type !== 'bearers') return false;
    this.keys.push(...message.keys);
    if (this.keys.length > MAX_ANNOUNCED_KEYS) return false;
    if (!message.more) this.complete();
    return this.noteMessage();
  }

  handleEnd(reason: LinkCloseReason): void {
    this.clock.clearTimeout(this.turn);
    this.clock.clearTimeout(this.pause);
    this.events.onEnd(reason);
  }

  private complete(): void {
    this.limiters.listsRead.spend(this.clock.now());
    this.next = this.keys;
    this.keys = [];
    if (this.turn === undefined) this.useNext();
  }

  private useNext(): void {
    this.turn = undefined;
    const list = this.next;
    const now = this.clock.now();
    if (list === undefined) return;
    if (this.limiters.lists.acquire(now)) {
      this.next = undefined;
      this.events.onList(list);
    } else {
      this.turn = this.clock.setTimeout(() => this.useNext(), this.limiters.lists.waitMs(now)).unref();
    }
  }

  /** Pauses the link if the exit sends too fast. False: it has sent far more than it may. */
  private noteMessage(): boolean {
    const now = this.clock.now();
    const owed = this.limiters.messages.spend(now);
    if (owed > MAX_OWED_MESSAGES) return false;
    const waitMs = Math.max(this.limiters.messages.waitMs(now), this.limiters.listsRead.waitMs(now));
    if (waitMs === 0 || this.pause !== undefined) return true;
    const pauseMs = Math.min(waitMs, MAX_PAUSE_MS);
    this.link.pause();
    this.pause = this.clock.setTimeout(() => {
      this.pause = undefined;
      this.link.resume();
    }, pauseMs);
    this.pause.unref();
    return true;
  }
}
