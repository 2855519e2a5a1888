/**
 * Keeps one session of a client alive while links come and go: dials, has the exit begin or resume it, waits longer
 * after each failure, and tries a second link beside one that stalls or is not by the preferred connector. Streams
 * notice nothing of it.
 *
 * The caller decides which failures are final, and what to do when the session is over.
 */
import { randomBytes } from 'node:crypto';
import { type Clock, systemClock, type Timer } from '../../clock.ts';
import { type FaultName, type WireFaultName, WstunError } from '../../errors.ts';
import { DEFAULT_MUX_CONFIG, type MuxConfig } from '../../mux/config.ts';
import type { ResumeConfig } from '../../mux/links/resume-config.ts';
import type { RetransmitMemory } from '../../mux/links/retransmit-store.ts';
import type { Histogram } from '../../observability/histogram.ts';
import type { Logger } from '../../observability/logger.ts';
import type { ToldRelays } from '../../protocol/relays.ts';
import { SESSION_ID_BYTES, type SessionRequest } from '../../protocol/session-request.ts';
import type { SessionDialer, SessionLink, Way } from '../dial/session-dialer.ts';
import { type Backoff, hasLasted } from '../reconnect/backoff.ts';
import { InterruptibleDelay } from '../reconnect/interruptible-delay.ts';
import type { EndedLink, LearntLimit, LinkLimits } from '../reconnect/link-limits.ts';
import type { FailureDecision } from '../reconnect/outage.ts';
import { BetterConnector } from './better-connector.ts';
import { ExtraLinks, type LinkCount } from './extra-links.ts';
import { SessionDriver } from './session-driver.ts';
import { SessionRelays } from './session-relays.ts';
import { StallFollower } from './stall-follower.ts';
import type { StallPatience } from './stall-patience.ts';
import type { StallInfo } from './stall-watch.ts';

/** An attempt that took so long without a TCP connection reached no relay: a long wait would spare none. */
const UNREACHED_MS = 3_000;
const UNREACHED_WAIT_MS = 1_000;
/** For an exit that accepts the session and then sends no HELLO. */
const HELLO_LIMIT_MS = 10_000;
/** Waiting programs trigger the next attempt at once, but no more often than this. */
const TRIGGER_MS = 1_000;
/** Where the last attempt was refused, which counts against an address that others may share, or came too often. */
const TRIGGER_REFUSED_MS = 5_000;
const SELDOM_TRIGGERED: ReadonlySet<FaultName> = new Set(['relay-refused', 'relay-full', 'too-often']);

/** A change of links that takes no longer is not reported as a loss. */
const UNNOTICED_CHANGE_MS = 1_000;

/** The exit's answers after which no attempt can resume the session. */
const SESSION_FAULTS: ReadonlySet<FaultName> = new Set(['session-unknown', 'session-expired', 'session-gap']);

export interface ReconnectingSessionOptions {
  readonly dialer: SessionDialer;
  readonly resume: ResumeConfig;
  readonly replayMemory: RetransmitMemory;
  /** Shared by the sessions of a client: they use the same relays. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  /** How many links at once: `auto` where more than one is of use. Default: auto. */
  readonly links?: LinkCount | undefined;
  /** Finds all ways to the exit, to use them at once; default: the better one carries, and another stands by. */
  readonly findWays?: (() => Promise<readonly Way[]>) | undefined;
  /** What this network does to links; shared by the sessions of a client. */
  readonly limits: LinkLimits;
  /** How soon a link that carries nothing is left for another relay; shared as well. Default: no sooner. */
  readonly patience?: StallPatience | undefined;
  /** While the link is not by the preferred connector, that is tried each time this has passed; default 30 s. */
  readonly tryBetterMs?: number | undefined;
  /** Of attempts that got a link. Default: they are not timed. */
  readonly dialTime?: Histogram | undefined;
  /** What follows from a failed attempt. */
  decide(error: WstunError): FailureDecision;
}

export interface ReconnectingSessionEvents {
  /** The peer's HELLO was received: streams can be opened. */
  onEstablished(): void;
  /** Not where the exit has let the link go for the next one, unless that takes long or does not come. */
  onLinkLost(): void;
  /** There is a link again. @param awayMs undefined where there was no `onLinkLost` */
  onResumed(awayMs: number | undefined): void;
  /** Nothing comes through the link; again when more is known. `onResumed`, the loss or the end follows. */
  onStalled(info: StallInfo): void;
  /** An attempt failed while there was no link; the next follows in `waitMs`. */
  onFailed(error: WstunError, waitMs: number): void;
  /** Something was learnt of this network: it stops links after a while. */
  onLimit(limit: LearntLimit): void;
  /** The exit knows these relays, which were not checked. */
  onRelays(told: ToldRelays): void;
  /** It takes no more streams; the open ones go on, and links are kept for them. */
  onNoMoreStreams(): void;
  /** The last call. `error` says why; final where `decide` has said so. */
  onEnd(error: WstunError, isFinal: boolean): void;
}

/**
 * Why to dial at once.
 * - `network-changed`, `requested`: the current link may be dead, so another is dialled beside it.
 * - `new-connector`: there is one that the last attempt did not have; a current link is left alone.
 * - `stream-waiting`: a program waits for the session.
 */
export type ReconnectReason = 'network-changed' | 'requested' | 'new-connector' | 'stream-waiting';

/** How far the session has come. */
type Phase =
  /** No exit has answered: the next link begins a session. */
  | { readonly kind: 'new' }
  /** An exit has it, and later links resume it; its HELLO is awaited. */
  | { readonly kind: 'begun'; readonly helloLimit: Timer }
  | { readonly kind: 'established' };

/** Why a link is dialled: there is none, or it stalls. `better`: it goes on if this attempt fails. */
type DialReason = 'none' | 'stalled' | 'better';

/** The search for a link. */
type Search =
  | { readonly kind: 'idle' }
  /** Between two attempts. */
  | { readonly kind: 'waiting' }
  /** The exit was not asked yet. */
  | { readonly kind: 'dialing'; readonly abort: AbortController; readonly why: DialReason }
  /** The exit was asked to let a link join one that stalls: that goes on until it has answered. */
  | { readonly kind: 'joining'; readonly abort: AbortController }
  /** The exit was asked, and lets the old link go before its answer is here: the loss of that may be no loss. */
  | { readonly kind: 'asking'; readonly abort: AbortController; readonly hadLink: boolean; lossUnreported: boolean };

const NEW: Phase = { kind: 'new' };
const ESTABLISHED: Phase = { kind: 'established' };
/** Of the link that carries the session, or the latest of several. */
interface LinkLife {
  readonly since: number;
  readonly isByFallback: boolean;
  noteLost: SessionLink['noteLost'];
}

const IDLE: Search = { kind: 'idle' };
const WAITING: Search = { kind: 'waiting' };

export class ReconnectingSession {
  readonly driver: SessionDriver;
  /** When the session was left without a link, by its clock. */
  lostAt = 0;
  private readonly clock: Clock;
  private readonly pause: InterruptibleDelay;
  private readonly stall: StallFollower;
  private readonly better: BetterConnector;
  private readonly extraLinks: ExtraLinks;
  private readonly relays: SessionRelays;
  private id = randomBytes(SESSION_ID_BYTES);
  private phase: Phase = NEW;
  private search: Search = IDLE;
  /** The current link may be dead: another is wanted beside it. */
  private linkDoubted = false;
  private life: LinkLife = { since: 0, isByFallback: false, noteLost: undefined };
  private triggeredAt = Number.NEGATIVE_INFINITY;
  private lastFault: FaultName | undefined;
  private finalError: WstunError | undefined;

  constructor(
    private readonly options: ReconnectingSessionOptions,
    private readonly events: ReconnectingSessionEvents,
  ) {
    const { resume, replayMemory, logger, clock = systemClock } = options;
    this.clock = clock;
    this.pause = new InterruptibleDelay(clock);
    this.better = new BetterConnector(clock, options.tryBetterMs, () => void this.findLink());
    const mux: MuxConfig = { ...DEFAULT_MUX_CONFIG, role: 'client' };
    this.driver = new SessionDriver(
      { mux, resume, replayMemory, logger, clock },
      {
        onEstablished: () => this.handleEstablished(),
        onNoMoreStreams: () => this.handleNoMoreStreams(),
        onLinkLost: () => this.handleLinkLost(),
        onLinkCount: () => this.extraLinks.handleChange(),
        onLinkEnded: (link) => this.handleLinkEnded(link),
        onLinksWanted: (wanted) => this.extraLinks.want(wanted),
        onLinkStalled: () => this.handleStalled(),
        onRelays: (told) => this.events.onRelays(told),
        onEnd: (fault) => this.handleEnd(fault),
      },
    );
    this.extraLinks = new ExtraLinks(this.driver, {
      ...{ dialer: options.dialer, clock, logger, links: options.links ?? 'auto', limits: options.limits },
      findWays: options.findWays,
      isByFallback: () => this.life.isByFallback,
      onMoved: (opened) => this.handleMoved(opened),
      onLimit: (limit) => this.events.onLimit(limit),
      request: () => this.joinRequest(),
      place: () => this.relays.place,
      needsRoom: () => this.relays.hasBetter,
    });
    this.relays = new SessionRelays({
      ...{ driver: this.driver, dialer: options.dialer, clock, logger },
      patience: options.findWays === undefined ? options.patience : undefined,
      request: () => this.joinRequest(),
      onMoved: (opened) => this.handleBetterRelay(opened),
      onFroze: (ended) => this.extraLinks.handleFroze(ended),
    });
    this.stall = new StallFollower(this.driver.supervisor, clock, {
      onStalled: (info) => void (this.wasEstablished && this.events.onStalled(info)),
      onOver: (silentMs) => this.handleStallOver(silentMs),
      onMayChange: () => {
        this.options.backoff.reset();
        this.pause.interrupt();
        this.abortBetterAttempt();
        void this.findLink();
      },
    });
  }

  /** The exit's HELLO was received, now or before the end. */
  get wasEstablished(): boolean {
    return this.phase.kind === 'established';
  }

  /** Streams can be opened on it now. */
  get isUsable(): boolean {
    return this.wasEstablished && this.driver.isAttached;
  }

  /** An attempt is under way. */
  get isDialing(): boolean {
    return this.currentAttempt() !== undefined;
  }

  /** Until when its streams wait for a link, by its clock; undefined while it has one, or if there is no session. */
  get heldUntil(): number | undefined {
    const { isOver, isAttached } = this.driver;
    if (isOver || isAttached || !this.wasEstablished) return undefined;
    return this.lostAt + this.options.resume.resumeWindowMs;
  }

  /** @param waitMs before the first attempt; default as after a loss */
  start(waitMs?: number): void {
    void this.findLink(waitMs);
  }

  /** True if an attempt is under way, or follows at once. */
  reconnectNow(reason: ReconnectReason): boolean {
    switch (reason) {
      case 'network-changed':
      case 'requested':
        this.doubtLink();
        break;
      case 'new-connector':
        this.extraLinks.handleNewWay();
        this.pause.interrupt();
        break;
      case 'stream-waiting':
        return this.triggerAttempt();
    }
    return true;
  }

  /** There may be other relays now. */
  followRelays(): void {
    this.relays.follow();
  }

  /** Ends the session for good; the exit is told if there is a link. */
  end(fault: WireFaultName): void {
    this.driver.end(fault);
  }

  private doubtLink(): void {
    this.options.backoff.reset();
    this.better.reset();
    this.relays.handleNetworkChanged();
    this.extraLinks.handleNetworkChanged();
    this.stall.watch.handleNetworkChanged();
    this.linkDoubted = true;
    this.currentAttempt()?.abort();
    this.pause.interrupt();
    void this.findLink();
  }

  private triggerAttempt(): boolean {
    const now = this.clock.now();
    if (now - this.triggeredAt < triggerSpacing(this.lastFault)) return this.currentAttempt() !== undefined;
    this.triggeredAt = now;
    this.pause.interrupt();
    return true;
  }

  // ── the session's events ───────────────────────────────────────────────────────────────────────────────────────────

  private handleEstablished(): void {
    this.clearHelloLimit();
    this.phase = ESTABLISHED;
    this.extraLinks.handleEstablished();
    this.events.onEstablished();
  }

  private handleNoMoreStreams(): void {
    this.events.onNoMoreStreams();
    void this.driver.drain().then(() => this.driver.end('session-closed'));
  }

  private handleLinkEnded(link: EndedLink): void {
    // The exit lets the old links go for the one that was asked for.
    if (this.search.kind !== 'asking' || link.how !== 'lost') this.extraLinks.handleEnded(link);
  }

  private handleStalled(): void {
    this.relays.handleStalled();
    this.stall.handleStalled();
  }

  private handleStallOver(silentMs: number | undefined): void {
    const { search } = this;
    const isNeedless = this.relays.isHurried && search.kind === 'dialing' && search.why === 'stalled';
    if (isNeedless) search.abort.abort();
    this.relays.handleStallOver();
    if (silentMs !== undefined) this.events.onResumed(silentMs);
  }

  private handleLinkLost(): void {
    this.lostAt = this.clock.now();
    this.extraLinks.handleLost();
    this.relays.handleLost();
    this.noteLoss(this.lostAt - this.life.since);
    this.better.set(undefined);
    this.abortBetterAttempt();
    if (this.search.kind === 'asking' && this.search.hadLink) this.search.lossUnreported = true;
    else this.reportLoss();
    void this.findLink();
  }

  private noteLoss(livedMs: number): void {
    const lasted = hasLasted(livedMs);
    this.life.noteLost?.(lasted);
    this.life.noteLost = undefined;
    if (!this.life.isByFallback) this.better.noteLost(lasted);
    if (this.options.backoff.handleLost(livedMs)) this.pause.interrupt();
  }

  private handleEnd(fault: WireFaultName): void {
    this.clearHelloLimit();
    this.stall.end();
    this.relays.stop();
    this.extraLinks.stop();
    this.better.set(undefined);
    // The exit has ended a session that had a link; the loss of a link is counted when it happens.
    if (this.life.since > this.lostAt) {
      this.lostAt = this.clock.now();
      this.options.backoff.handleLost(this.lostAt - this.life.since);
    }
    if (this.search.kind === 'asking') this.search.lossUnreported = false;
    this.currentAttempt()?.abort();
    this.pause.interrupt();
    this.events.onEnd(this.finalError ?? new WstunError(fault), this.finalError !== undefined);
  }

  private clearHelloLimit(): void {
    if (this.phase.kind === 'begun') this.clock.clearTimeout(this.phase.helloLimit);
  }

  // ── attempts ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private get wantsLink(): boolean {
    return !this.driver.isOver && (this.needsLink || this.better.isDue);
  }

  /** By any connector. */
  private get needsLink(): boolean {
    return !this.driver.isAttached || this.linkDoubted || this.stall.wantsChange;
  }

  /** The attempt that is under way. */
  private currentAttempt(): AbortController | undefined {
    switch (this.search.kind) {
      case 'idle':
      case 'waiting':
        return undefined;
      case 'dialing':
      case 'joining':
      case 'asking':
        return this.search.abort;
    }
  }

  /** An attempt that the session does not need, while the exit was not asked: another connector may be faster. */
  private abortBetterAttempt(): void {
    if (this.search.kind === 'dialing' && this.search.why === 'better') this.search.abort.abort();
  }

  private async findLink(firstWaitMs?: number): Promise<void> {
    if (this.search.kind !== 'idle') return;
    this.search = WAITING;
    let waitMs = firstWaitMs ?? (this.needsLink ? this.options.backoff.next(this.clock.random()) : 0);
    while (this.wantsLink) {
      await this.pause.wait(waitMs);
      if (!this.wantsLink) break;
      waitMs = await this.tryOnce(this.needsLink ? undefined : this.better.dialer);
    }
    this.search = IDLE;
  }

  /** Returns the wait before the next attempt. @param better for a session that has a link */
  private async tryOnce(better: SessionDialer | undefined): Promise<number> {
    const why = this.reasonFor(better);
    this.linkDoubted = false;
    const since = this.clock.now();
    const abort = new AbortController();
    this.search = { kind: 'dialing', abort, why };
    try {
      const dialer = better ?? this.options.dialer;
      const link = await dialer.dial(() => this.request(abort), abort.signal, undefined, this.relays.place);
      this.options.dialTime?.observe((this.clock.now() - since) / 1000);
      this.use(link);
      this.lastFault = undefined;
      return 0;
    } catch (cause) {
      this.driver.releaseAcknowledgements();
      this.extraLinks.handleChange();
      this.reportUnreportedLoss();
      // The network has changed, the session is over, or the attempt is not needed any more.
      if (abort.signal.aborted) return 0;
      if (this.isJoining && this.mayStillResume(cause)) return 0;
      const error = cause instanceof WstunError ? cause : new WstunError('internal', String(cause));
      if (better !== undefined) this.better.noteFailed();
      if (better !== undefined && this.isStillCarried(error)) return 0;
      return this.handleFailure(error, this.clock.now() - since);
    } finally {
      this.search = WAITING;
      this.better.set(this.better.dialer);
    }
  }

  private reasonFor(better: SessionDialer | undefined): DialReason {
    if (better !== undefined) return 'better';
    return this.driver.isAttached && !this.linkDoubted ? 'stalled' : 'none';
  }

  private get isJoining(): boolean {
    return this.search.kind === 'joining';
  }

  private mayStillResume(cause: unknown): boolean {
    return cause instanceof WstunError && this.relays.handleNotJoined(cause);
  }

  private joinRequest(): SessionRequest {
    return { kind: 'join', id: this.id, received: this.driver.received };
  }

  private request(abort: AbortController): SessionRequest {
    if (this.relays.joins) {
      this.search = { kind: 'joining', abort };
      return this.joinRequest();
    }
    const isNew = this.phase.kind === 'new';
    // An exit that received a first request whose answer was lost has a session of that name already.
    if (isNew) this.id = randomBytes(SESSION_ID_BYTES);
    this.search = { kind: 'asking', abort, hadLink: this.driver.isAttached, lossUnreported: false };
    this.driver.holdAcknowledgements();
    return { kind: isNew ? 'begin' : 'resume', id: this.id, received: this.driver.received };
  }

  /** The session goes on by the preferred connector alone, without a gap: the fallback may cost money. */
  private handleMoved(opened: SessionLink): void {
    this.beginLife({ ...opened, better: undefined });
    this.driver.leaveAllBut(opened.link);
  }

  /** The same by a better relay: the session is leaving its other links already. */
  private handleBetterRelay(opened: SessionLink): void {
    this.options.logger.debug({ remote: opened.link.remote }, 'the session goes by a better relay');
    this.beginLife(opened);
  }

  /** The link carries the session from now on. */
  private beginLife({ link, better, noteLost }: Pick<SessionLink, 'link' | 'better' | 'noteLost'>): void {
    const now = this.clock.now();
    if (this.life.since > this.lostAt) this.options.backoff.handleLeft(now - this.life.since);
    this.life = { since: now, isByFallback: better !== undefined, noteLost };
    // The exit lets the old link go before its answer is here: sessions that end with their link stay where they are.
    const mayMove = this.options.resume.resumeWindowMs > 0 && this.options.findWays === undefined;
    this.better.set(mayMove ? better : undefined);
    this.relays.handleLink(link);
  }

  /** Whatever the exit was asked for. */
  private use(opened: SessionLink): void {
    if (this.driver.isOver) return opened.link.abort();
    const isAway = this.phase.kind !== 'new' && !this.driver.isAttached;
    if (this.isJoining ? !this.takeOver(opened) : !this.attach(opened)) return opened.link.abort();
    this.extraLinks.handleResumed();
    if (isAway && this.wasEstablished) this.reportResumed(this.life.since - this.lostAt);
  }

  /** It takes the place of a link that stalls, and what still comes on that is not lost. */
  private takeOver(opened: SessionLink): boolean {
    const { place } = this.relays;
    const stalled = this.driver.linkStates;
    if (!this.driver.moveToLink(opened.link, opened.peerReceived)) {
      this.relays.handleNotJoined(new WstunError('too-many-links'));
      return false;
    }
    this.stall.handleLink();
    this.beginLife(opened);
    // What came meanwhile has told already that it carries.
    if (place?.isStalled) this.relays.handleLeft(stalled, place.relay);
    return true;
  }

  private attach(opened: SessionLink): boolean {
    // Where the relay is another one, it was not the network that ended the link.
    const { place, isHurried } = this.relays;
    const relay = place?.relay;
    const isLeft = isHurried && place?.isStalled === true && this.search.kind === 'asking' && this.search.hadLink;
    if (!this.driver.attachLink(opened.link, opened)) return false;
    if (this.phase.kind === 'new') {
      const helloLimit = this.clock.setTimeout(() => this.driver.end('peer-silent'), HELLO_LIMIT_MS);
      this.phase = { kind: 'begun', helloLimit };
    }
    this.stall.handleLink();
    this.beginLife(opened);
    if (relay !== undefined && relay !== this.relays.place?.relay) this.extraLinks.handleUnreachable();
    if (isLeft && relay !== undefined) this.relays.handleLeft([], relay);
    return true;
  }

  // ── reports ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private reportResumed(awayMs: number): void {
    if (awayMs > UNNOTICED_CHANGE_MS) this.reportUnreportedLoss();
    const wasUnnoticed = this.takeUnreportedLoss();
    this.events.onResumed(wasUnnoticed ? undefined : awayMs);
  }

  private reportUnreportedLoss(): void {
    if (this.takeUnreportedLoss()) this.reportLoss();
  }

  private takeUnreportedLoss(): boolean {
    if (this.search.kind !== 'asking' || !this.search.lossUnreported) return false;
    this.search.lossUnreported = false;
    return true;
  }

  private reportLoss(): void {
    this.stall.watch.handleLossReported();
    if (this.wasEstablished) this.events.onLinkLost();
  }

  // ── failures ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private handleFailure(error: WstunError, tookMs: number): number {
    if (this.driver.isOver) return 0;
    this.lastFault = error.fault;
    if (this.isStillCarried(error)) {
      this.options.logger.debug({ fault: error.fault }, 'a second link could not be opened');
      this.stall.watch.handleFailed(error);
      return this.options.backoff.next(this.clock.random());
    }
    this.extraLinks.handleUnreachable();
    if (this.phase.kind !== 'new' && SESSION_FAULTS.has(error.fault)) {
      // The exit is there, and said so under its keys: the next session need not wait, unless this happens repeatedly.
      this.options.backoff.handleLost(0);
      return this.endWith(error.fault as WireFaultName);
    }
    const decision = this.options.decide(error);
    if ('final' in decision) {
      this.finalError = decision.final;
      return this.endWith('link-lost');
    }
    const waitMs = shortenedWait(error, tookMs, decision.waitMs);
    this.events.onFailed(error, waitMs);
    return waitMs;
  }

  /** By the old link, although the attempt failed. */
  private isStillCarried(error: WstunError): boolean {
    // An exit that does not know the session has said so under its keys: the old link leads nowhere.
    return this.driver.isAttached && error.fault !== 'session-unknown';
  }

  private endWith(fault: WireFaultName): number {
    this.driver.end(fault);
    return 0;
  }
}

function shortenedWait({ fault }: WstunError, tookMs: number, waitMs: number): number {
  return fault === 'relay-unreachable' && tookMs >= UNREACHED_MS ? Math.min(waitMs, UNREACHED_WAIT_MS) : waitMs;
}

function triggerSpacing(lastFault: FaultName | undefined): number {
  return lastFault !== undefined && SELDOM_TRIGGERED.has(lastFault) ? TRIGGER_REFUSED_MS : TRIGGER_MS;
}
