/**
 * How many links a client's session has, and by which ways: dials more while they are of use, replaces those that this
 * network is about to stop, and leaves those that are of no use (docs/protocol.md §10.2). With `ways` it keeps a link
 * on each of them. It does not resume a session without a link: reconnecting-session.ts does.
 */
import type { Clock, Timer } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { DEFAULT_MUX_CONFIG } from '../../mux/config.ts';
import { MOST_BY_ITSELF } from '../../mux/links/link-demand.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionRequest } from '../../protocol/session-request.ts';
import type { SessionPlace } from '../dial/connectors.ts';
import type { SessionDialer, SessionLink, Way } from '../dial/session-dialer.ts';
import type { EndedLink, LearntLimit, LinkLimits, LinkUse } from '../reconnect/link-limits.ts';
import type { SessionDriver } from './session-driver.ts';
import { type LinksOnWays, SessionWays } from './session-ways.ts';

/** How many links a session has: as many as are of use, or always so many, 1 to 8. */
export type LinkCount = 'auto' | number;

/** Between two new links that are not to replace others, where no number is given, ms. */
const SPACING_MS = 2_000;
/** After a failed attempt, ms; doubles up to the second. */
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 60_000;
/** The same where attempts end the only link: each costs the session a gap. */
const LONGEST_SINGLE_WAIT_MS = 3_600_000;

/** A link that is lost sooner than this, ms, is like an attempt that failed. */
const SHORT_LIFE_MS = 1_000;

/** Where links may carry no more than this, bytes, so many share the work: each lasts some round trips. */
const TIGHT_BYTES = 512 * 1024;
const TIGHT_LINKS = 8;
/** Attempts at once. */
const MOST_ATTEMPTS = 8;

interface Attempt {
  /** '' where that is left open. */
  readonly way: string;
  /** How many links the session had when it began. */
  readonly links: number;
}

export interface ExtraLinksOptions {
  readonly dialer: SessionDialer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly links: LinkCount;
  /** Finds all ways to the exit; undefined: only the better one is used, and another stands by. */
  readonly findWays?: (() => Promise<readonly Way[]>) | undefined;
  /** The session's own link is by the fallback. Without `ways` no other link is by it. */
  isByFallback(): boolean;
  /** A link by the preferred connector has joined a session whose own link is by the fallback. */
  onMoved(opened: SessionLink): void;
  /** Of this network; shared by the sessions of a client. */
  readonly limits: LinkLimits;
  /** Called as late as possible. */
  request(): SessionRequest;
  /** Where the session is: other links go by the same relay. */
  place?(): SessionPlace | undefined;
  /** A link by a better relay is to join it: one less than it may have is kept. */
  needsRoom?(): boolean;
  /** Something was learnt of this network. */
  onLimit(limit: LearntLimit): void;
}

export class ExtraLinks {
  private wanted: number;
  private readonly attempts = new Map<AbortController, Attempt>();
  private readonly ways: SessionWays | undefined;
  private timer: Timer | undefined;
  private failures = 0;
  /** Of the latest failed attempt. */
  private failedFor: string | undefined;
  /** When the latest failure was, by the clock. */
  private pausedAt = Number.NEGATIVE_INFINITY;
  /** No attempt before this, by the clock. */
  private notBefore = Number.NEGATIVE_INFINITY;
  /** What the session was told of limits; undefined: nothing yet. */
  private use: LinkUse | undefined;
  private stopped = false;

  constructor(
    private readonly driver: SessionDriver,
    private readonly options: ExtraLinksOptions,
  ) {
    const { links, findWays, clock } = options;
    this.wanted = links === 'auto' ? 1 : links;
    this.ways = findWays && new SessionWays(findWays, clock, () => this.handleChange());
  }

  /** The session is established: the exit is told what is known of this network. */
  handleEstablished(): void {
    // What was told before could not be sent: the exit was not known to understand it.
    this.use = undefined;
    this.followLimits();
    this.ways?.look();
    this.handleChange();
  }

  /** There may be another way now, such as one more phone. */
  handleNewWay(): void {
    this.ways?.look();
  }

  /** What was known of the network is forgotten. */
  handleNetworkChanged(): void {
    this.failures = 0;
    this.notBefore = Number.NEGATIVE_INFINITY;
    this.followLimits();
    this.ways?.handleNetworkChanged();
  }

  /** The session has a link more or less, or can have several now. */
  handleChange(): void {
    if (this.stopped) return;
    const { ageMs } = this.options.limits.use;
    const onWays = this.driver.stayingWays(ageMs);
    this.ways?.handleLinks(countsOf(onWays), !isLimited(this.options.limits.use));
    this.dialUnusedWays();
    const target = this.targetWith(onWays);
    const staying = onWays.length;
    for (let missing = this.missing(target - staying); missing > 0; missing -= 1) void this.dialOneMore();
    if (staying >= target) this.driver.leaveAged(ageMs);
    if (staying > target && this.attempts.size === 0) this.driver.leaveNewestLink(this.ways && mostFrequent(onWays));
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
    for (const attempt of this.attempts.keys()) attempt.abort();
  }

  /** A link carries the session alone, and the exit has dropped all others: it has room again, if it had none. */
  handleResumed(): void {
    if (this.failedFor === 'too-many-links') {
      this.failures = 0;
      this.notBefore = Number.NEGATIVE_INFINITY;
      this.failedFor = undefined;
    }
    this.judge();
    this.handleChange();
  }

  /** Links were left for another one because nothing came on them, and nothing has come since. */
  handleFroze(links: readonly EndedLink[]): void {
    for (const link of links) this.handleEnded(link);
    this.judge();
  }

  /** A link has ended that was still wanted. */
  handleEnded(link: EndedLink): void {
    // An exit that knows one link only cannot be left in time, so there is nothing to learn.
    if (!this.driver.knowsLinks) return;
    const { limits, clock } = this.options;
    if (link.how === 'lost' && this.hasEndedOnlyLink()) return this.pause(LONGEST_SINGLE_WAIT_MS);
    // Where all links are lost at once, as many are not to be dialled as fast as that.
    if (link.how === 'lost' && link.ageMs < SHORT_LIFE_MS && !isLimited(limits.use)) this.pause(LONGEST_WAIT_MS);
    limits.handleEnded(link, clock.now());
  }

  /** Some networks allow one connection at a time to a host: an attempt at a second one ends the first. */
  private hasEndedOnlyLink(): boolean {
    // Where others were lost just before, attempts are to replace them, and all have one cause.
    const [oldest] = this.attempts.values();
    return this.driver.linkCount === 1 && oldest?.links === 1;
  }

  /** The session has no link, and another could not be opened. */
  handleUnreachable(): void {
    this.options.limits.handleUnreachable();
  }

  /** A link was opened: what do the ends of the latest ones tell? */
  private judge(): void {
    const { limits, onLimit, clock } = this.options;
    const limit = limits.handleOpened(clock.now());
    this.followLimits();
    if (limit !== undefined) onLimit(limit);
  }

  /** What is known of the network may have changed, by another session of this client, too. */
  private followLimits(): void {
    const { use } = this.options.limits;
    if (use === this.use || (this.use === undefined && !isLimited(use))) return;
    this.use = use;
    this.driver.limitLinks(use);
  }

  /** The session is over. */
  stop(): void {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    for (const attempt of this.attempts.keys()) attempt.abort();
  }

  /** @param onWays of the links that stay */
  private targetWith(onWays: readonly string[]): number {
    const { received, sent } = this.options.limits.use;
    const isTight = Math.min(received, sent) < TIGHT_BYTES;
    const asked = this.options.links === 'auto' && isTight ? TIGHT_LINKS : this.wanted;
    const wanted = this.options.needsRoom?.() ? Math.min(asked, DEFAULT_MUX_CONFIG.maxLinks - 1) : asked;
    return this.ways === undefined ? wanted : Math.max(wanted, new Set(onWays).size);
  }

  private get mayDial(): boolean {
    return this.driver.isAttached && this.driver.canJoin && this.attempts.size < MOST_ATTEMPTS;
  }

  /** @param lacking how many links less than the target */
  private missing(lacking: number): number {
    if (!this.mayDial || this.ways?.areKnown === false || this.options.clock.now() < this.notBefore) return 0;
    const missing = lacking - this.attempts.size;
    return this.isSpaced ? Math.min(missing, 1) : missing;
  }

  private dialUnusedWays(): void {
    const { ways } = this;
    while (ways !== undefined && this.mayDial) {
      const way = ways.unused(this.linksOnWays());
      if (way === undefined) return;
      void this.dial(way, way.name);
    }
  }

  /** How many links and attempts each way has. */
  private linksOnWays(): LinksOnWays {
    return countsOf([...this.driver.stayingWays(this.options.limits.use.ageMs), ...this.waysOfAttempts()]);
  }

  private waysOfAttempts(): string[] {
    return [...this.attempts.values()].map(({ way }) => way);
  }

  /** Growth by itself is slow. Links that replace others, and those that were asked for, are not. */
  private get isSpaced(): boolean {
    return this.options.links === 'auto' && !isLimited(this.options.limits.use);
  }

  private dialOneMore(): Promise<void> {
    const way = this.ways?.leastUsed(this.linksOnWays());
    if (this.isSpaced) this.notBefore = this.options.clock.now() + SPACING_MS;
    return this.dial(way ?? this.options.dialer, way?.name ?? '');
  }

  private async dial(dialer: SessionDialer, way: string): Promise<void> {
    const attempt = new AbortController();
    const beganAt = this.options.clock.now();
    this.attempts.set(attempt, { way, links: this.driver.linkCount });
    try {
      const opened = await dialer.dial(() => this.options.request(), attempt.signal, 'further', this.options.place?.());
      this.attempts.delete(attempt);
      if (attempt.signal.aborted) opened.link.abort();
      else this.handleOpened(opened, way, beganAt);
    } catch (cause) {
      this.attempts.delete(attempt);
      if (!attempt.signal.aborted) this.handleFailed(cause, way, beganAt);
    }
  }

  private handleOpened(opened: SessionLink, way: string, beganAt: number): void {
    const { link, peerReceived, better } = opened;
    const isForeign = this.ways === undefined && better !== undefined && !this.options.isByFallback();
    // Reports a change, if it succeeds.
    const isBetter = this.ways === undefined && better === undefined && this.options.isByFallback();
    if (!isForeign && this.driver.joinLink(link, peerReceived, way === '' ? undefined : way)) {
      if (isBetter) this.options.onMoved(opened);
      this.failures = 0;
      this.judge();
      this.options.logger.debug({ way: link.remote, links: this.driver.linkCount }, 'one more link');
      return;
    }
    link.abort();
    this.handleFailed(new WstunError(isForeign ? 'link-slow' : 'too-many-links'), way, beganAt);
  }

  private handleFailed(cause: unknown, way: string, beganAt: number): void {
    const { logger } = this.options;
    const fault = cause instanceof WstunError ? cause.fault : String(cause);
    logger.debug({ fault, way, links: this.driver.linkCount }, 'one more link could not be opened');
    this.failedFor = fault;
    // Attempts that began together fail together: that is one failure.
    if (way === '' && beganAt >= this.pausedAt) this.pause(LONGEST_WAIT_MS);
    else if (way !== '') this.ways?.handleFailed(way, fault === 'session-unknown');
    this.handleChange();
  }

  private pause(longestMs: number): void {
    const { clock } = this.options;
    this.pausedAt = clock.now();
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** this.failures, longestMs) * (0.5 + clock.random());
    this.failures += 1;
    this.notBefore = clock.now() + waitMs;
  }

  /** For the next attempt, for links that become too old, and for what is to be forgotten of the network. */
  private setTimer(): void {
    const { clock, limits } = this.options;
    const now = clock.now();
    const agedAt = this.driver.nextAgedAt(limits.use.ageMs);
    const wayAt = this.ways?.nextAt(this.linksOnWays()) ?? Number.POSITIVE_INFINITY;
    const forgetsAt = Math.max(now, limits.forgetsAt);
    const at = Math.min(agedAt > now ? agedAt : Number.POSITIVE_INFINITY, this.nextAttemptAt(now), wayAt, forgetsAt);
    clock.clearTimeout(this.timer);
    this.timer = undefined;
    if (at === Number.POSITIVE_INFINITY || this.stopped) return;
    this.timer = clock.setTimeout(() => this.handleTimeout(), Math.max(0, at - now));
    this.timer.unref();
  }

  private handleTimeout(): void {
    const { limits, clock } = this.options;
    limits.handleTimeout(clock.now());
    this.followLimits();
    this.ways?.handleTimeout();
    this.handleChange();
  }

  private nextAttemptAt(now: number): number {
    const isWaiting = this.notBefore > now && this.driver.isAttached;
    return isWaiting ? this.notBefore : Number.POSITIVE_INFINITY;
  }
}

function isLimited(use: LinkUse): boolean {
  return Math.min(use.received, use.sent, use.ageMs, use.idleMs) < Number.POSITIVE_INFINITY;
}

function countsOf(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function mostFrequent(names: readonly string[]): string | undefined {
  return [...countsOf(names)].sort(([, a], [, b]) => b - a)[0]?.[0];
}
