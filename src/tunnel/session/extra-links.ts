/**
 * How many links a client's session has: dials more while they are of use, replaces those that this network is about to
 * stop, and leaves those that are of no use (docs/protocol.md §10.2). It does not resume a session without a link:
 * reconnecting-session.ts does.
 */
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { MOST_BY_ITSELF } from '../../mux/links/link-demand.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { MessageLink } from '../../transport/message-link.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';
import type { EndedLink, LearntLimit, LinkLimits } from '../reconnect/link-limits.ts';
import type { SessionDriver } from './session-driver.ts';

/** How many links a session has: as many as are of use, or always so many, 1 to 8. */
export type LinkCount = 'auto' | number;

/** Between two new links that are not to replace others, where no number is given, ms. */
const SPACING_MS = 2_000;
/** After a failed attempt, ms; doubles up to the second. */
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60_000;

/** A link that is lost sooner than this, ms, is like an attempt that failed. */
const SHORT_LIFE_MS = 1_000;

/** Where links may carry no more than this, bytes, so many share the work: each lasts some round trips. */
const TIGHT_BYTES = 512 * 1024;
const TIGHT_LINKS = 8;
/** Attempts at once. */
const MOST_ATTEMPTS = 8;

export interface ExtraLinksOptions {
  readonly dialer: SessionDialer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly links: LinkCount;
  /** Of this network; shared by the sessions of a client. */
  readonly limits: LinkLimits;
  /** Called as late as possible. */
  request(): SessionRequest;
  /** Something was learnt of this network. */
  onLimit(limit: LearntLimit): void;
}

export class ExtraLinks {
  private wanted: number;
  private readonly attempts = new Set<AbortController>();
  private timer: Timer | undefined;
  private failures = 0;
  /** No attempt before this, by the clock. */
  private notBefore = Number.NEGATIVE_INFINITY;
  private stopped = false;

  constructor(
    private readonly driver: SessionDriver,
    private readonly options: ExtraLinksOptions,
  ) {
    this.wanted = options.links === 'auto' ? 1 : options.links;
  }

  /** The session is established: the exit is told what is known of this network. */
  handleEstablished(): void {
    const { use } = this.options.limits;
    if (isLimited(use)) this.driver.limitLinks(use);
    this.handleChange();
  }

  /** The session has a link more or less, or can have several now. */
  handleChange(): void {
    if (this.stopped) return;
    const { ageMs } = this.options.limits.use;
    const staying = this.driver.stayingLinks(ageMs);
    for (let missing = this.missing(staying); missing > 0; missing -= 1) void this.dial();
    if (staying >= this.target) this.driver.leaveAged(ageMs);
    if (staying > this.target && this.attempts.size === 0) this.driver.leaveNewestLink();
    this.setTimer();
  }

  /** So many are of use. No effect where the number is given. */
  want(wanted: number): void {
    if (this.options.links !== 'auto') return;
    this.wanted = Math.max(1, Math.min(MOST_BY_ITSELF, wanted));
    this.handleChange();
  }

  /** The session has no link any more: the attempt to resume it takes the place of those to join it. */
  handleLost(): void {
    for (const attempt of this.attempts) attempt.abort();
  }

  /** A link has ended that was still wanted. */
  handleEnded(link: EndedLink): void {
    const { limits } = this.options;
    // Where all links are lost at once, as many are not to be dialled as fast as that.
    if (link.how === 'lost' && link.ageMs < SHORT_LIFE_MS && !isLimited(limits.use)) this.pause();
    const limit = limits.handleEnded(link);
    if (limit === undefined) return;
    this.driver.limitLinks(limits.use);
    this.options.onLimit(limit);
  }

  /** The session is over. */
  stop(): void {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    for (const attempt of this.attempts) attempt.abort();
  }

  private get target(): number {
    const { received, sent } = this.options.limits.use;
    const isTight = Math.min(received, sent) < TIGHT_BYTES;
    return this.options.links === 'auto' && isTight ? TIGHT_LINKS : this.wanted;
  }

  private missing(staying: number): number {
    const { isAttached, canJoin } = this.driver;
    if (!isAttached || !canJoin || this.options.clock.now() < this.notBefore) return 0;
    const missing = Math.min(this.target, MOST_ATTEMPTS) - staying - this.attempts.size;
    return this.isSpaced ? Math.min(missing, 1) : missing;
  }

  /** Growth by itself is slow. Links that replace others, and those that were asked for, are not. */
  private get isSpaced(): boolean {
    return this.options.links === 'auto' && !isLimited(this.options.limits.use);
  }

  private async dial(): Promise<void> {
    const { dialer, clock } = this.options;
    const attempt = new AbortController();
    this.attempts.add(attempt);
    if (this.isSpaced) this.notBefore = clock.now() + SPACING_MS;
    try {
      const { link, peerReceived } = await dialer.dial(() => this.options.request(), attempt.signal);
      this.attempts.delete(attempt);
      this.join(link, peerReceived, attempt.signal);
    } catch (cause) {
      this.attempts.delete(attempt);
      if (!attempt.signal.aborted) this.handleFailed(cause);
    }
  }

  private join(link: MessageLink, peerReceived: number, { aborted }: AbortSignal): void {
    // Reports a change, if it succeeds.
    if (!aborted && this.driver.joinLink(link, peerReceived)) {
      this.failures = 0;
      return;
    }
    link.abort();
    if (!aborted) this.handleFailed(new WstunError('too-many-links'));
  }

  private handleFailed(cause: unknown): void {
    const { logger } = this.options;
    const fault = cause instanceof WstunError ? cause.fault : String(cause);
    logger.debug({ fault, links: this.driver.linkCount }, 'one more link could not be opened');
    this.pause();
    this.handleChange();
  }

  private pause(): void {
    const { clock } = this.options;
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** this.failures, LONGEST_WAIT_MS) * (0.5 + clock.random());
    this.failures += 1;
    this.notBefore = clock.now() + waitMs;
  }

  /** For the next attempt, and for links that become too old. */
  private setTimer(): void {
    const { clock, limits } = this.options;
    const now = clock.now();
    const agedAt = this.driver.nextAgedAt(limits.use.ageMs);
    const at = Math.min(agedAt > now ? agedAt : Number.POSITIVE_INFINITY, this.nextAttemptAt(now));
    clock.clearTimeout(this.timer);
    this.timer = undefined;
    if (at === Number.POSITIVE_INFINITY || this.stopped) return;
    this.timer = clock.setTimeout(() => this.handleChange(), at - now);
    this.timer.unref();
  }

  private nextAttemptAt(now: number): number {
    const isWaiting = this.notBefore > now && this.driver.isAttached;
    return isWaiting ? this.notBefore : Number.POSITIVE_INFINITY;
  }
}

function isLimited(use: LinkLimits['use']): boolean {
  return Math.min(use.received, use.sent, use.ageMs, use.idleMs) < Number.POSITIVE_INFINITY;
}
