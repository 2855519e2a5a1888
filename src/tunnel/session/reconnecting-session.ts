/**
 * Keeps one session of a client alive while links come and go: dials, has the exit begin or resume it, waits longer
 * after each failure, and tries a second link beside one that stalls, or whose way is not the best. Streams know
 * nothing of it.
 *
 * Which failures are final is asked of the caller; what to do when the session is over is the caller's too.
 */
import { randomBytes } from 'node:crypto';
import { type FaultName, type WireFaultName, WstunError } from '../../errors.ts';
import { DEFAULT_MUX_CONFIG, type ResumeConfig } from '../../mux/config.ts';
import type { RetransmitMemory } from '../../mux/retransmit-store.ts';
import type { Logger } from '../../observability/logger.ts';
import { SESSION_ID_BYTES, type SessionRequest } from '../../protocol/session-request.ts';
import type { SessionDialer, SessionLink } from '../dial/session-dialer.ts';
import type { Backoff } from '../reconnect/backoff.ts';
import { InterruptibleDelay } from '../reconnect/interruptible-delay.ts';
import type { Verdict } from '../reconnect/outage.ts';
import { SessionDriver } from './session-driver.ts';
import { StallFollower } from './stall-follower.ts';
import type { StallInfo } from './stall-watch.ts';

/** An attempt that took so long before TCP stood was heard by nobody: there is no relay to be spared. */
const UNHEARD_MS = 3_000;
const UNHEARD_WAIT_MS = 1_000;
/** An exit that lets us in and then says nothing. */
const HELLO_LIMIT_MS = 10_000;
/** Programs that ask for a connection hurry the next attempt, but no more often than this. */
const HURRY_MS = 1_000;
/** Where the last was refused, which counts against an address that others may share, or came too often. */
const HURRY_REFUSED_MS = 5_000;
const SELDOM_HURRIED: ReadonlySet<FaultName> = new Set<FaultName>(['relay-refused', 'relay-full', 'too-often']);

/** A link is as good until then, and a way that does not work costs a dial each time. */
const TRY_BETTER_MS = 30_000;

/** A change of links that takes no longer is no loss that anybody would notice. */
const QUIET_CHANGE_MS = 1_000;

/** What an exit says of a session that it is to resume, and no further attempt for this session could help. */
const SESSION_FAULTS: ReadonlySet<FaultName> = new Set<FaultName>([
  'session-unknown',
  'session-expired',
  'session-gap',
]);

export interface ReconnectingSessionOptions {
  readonly dialer: SessionDialer;
  readonly resume: ResumeConfig;
  readonly replayMemory: RetransmitMemory;
  /** Shared by the sessions of a client: they are at the same relays. */
  readonly backoff: Backoff;
  readonly logger: Logger;
  /** After this, and then again and again, a link that has a better way gives that a try, ms; default TRY_BETTER_MS. */
  readonly tryBetterMs?: number | undefined;
  /** What follows from a failed attempt. */
  judge(error: WstunError): Verdict;
}

export interface ReconnectingSessionEvents {
  /** The peer's HELLO has come: streams can be opened. */
  onStanding(): void;
  /**
   * Not where the exit let the link go for the next one, whose answer is on its way; unless that takes long, or does
   * not come.
   */
  onLinkLost(): void;
  /** There is a link again. @param awayMs undefined where there was no `onLinkLost` */
  onResumed(awayMs: number | undefined): void;
  /**
   * There is a link, and nothing comes through it; again when more is known. `onResumed` follows, or the loss or the
   * end is told.
   */
  onStalled(info: StallInfo): void;
  /** An attempt failed while there was no link; the next comes in `waitMs`. */
  onFailed(error: WstunError, waitMs: number): void;
  /** It takes no more streams; those that live go on, and links are kept for them. */
  onNoMoreStreams(): void;
  /** The last call. `error` says why; final where `judge` has said so. */
  onEnd(error: WstunError, isFinal: boolean): void;
}

export class ReconnectingSession {
  readonly driver: SessionDriver;
  private readonly options: ReconnectingSessionOptions;
  private readonly events: ReconnectingSessionEvents;
  private id = randomBytes(SESSION_ID_BYTES);
  /** The exit has it: later links resume it. */
  private begun = false;
  private standing = false;
  private attachedAt = 0;
  /** When the session was left without a link. */
  private lostAt = 0;
  private seeking = false;
  /** Another link is wanted although there is one. */
  private wantsSecond = false;
  private hurriedAt = Number.NEGATIVE_INFINITY;
  /** The way that is better than that of the present link, if there is one. */
  private better: SessionDialer | undefined;
  private wantsBetter = false;
  private betterTimer: NodeJS.Timeout | undefined;
  private attempting: AbortController | undefined;
  /** The attempt, while it is one by the better way that has asked the exit for nothing yet. */
  private probing: AbortController | undefined;
  /** The exit was asked for the next link while there was one: it lets that go before its answer is here. */
  private changing = false;
  /** The link went meanwhile. */
  private untoldLoss = false;
  private lastFault: FaultName | undefined;
  private readonly pause = new InterruptibleDelay();
  private finalError: WstunError | undefined;
  private readonly stall: StallFollower;
  private helloLimit: NodeJS.Timeout | undefined;

  constructor(options: ReconnectingSessionOptions, events: ReconnectingSessionEvents) {
    this.options = options;
    this.events = events;
    this.driver = new SessionDriver({
      mux: { ...DEFAULT_MUX_CONFIG, role: 'client' },
      resume: options.resume,
      replayMemory: options.replayMemory,
      logger: options.logger,
      onEstablished: () => this.handleEstablished(),
      onNoMoreStreams: () => this.handleNoMoreStreams(),
      onLinkLost: () => this.handleLinkLost(),
      onLinkStalled: () => this.stall.handleStalled(),
      onEnd: (fault) => this.handleEnd(fault),
    });
    this.stall = new StallFollower(this.driver, {
      onStalled: (info) => {
        if (this.standing) this.events.onStalled(info);
      },
      onOver: (silentMs) => {
        if (silentMs !== undefined) this.events.onResumed(silentMs);
      },
      onMayChange: () => this.changeLink(),
    });
  }

  /** The exit's HELLO has come, once. */
  get hasStood(): boolean {
    return this.standing;
  }

  /** Streams can be opened on it now. */
  get isUsable(): boolean {
    return this.standing && this.driver.isAttached;
  }

  /** @param waitMs before the first attempt; default as after a loss */
  start(waitMs?: number): void {
    void this.seek(waitMs);
  }

  /** When the session was left without a link, of the clock of `performance.now`. */
  get leftAt(): number {
    return this.lostAt;
  }

  /** The network has changed, or somebody asks: what links there are is doubted, and the next attempt comes at once. */
  wake(): void {
    this.options.backoff.reset();
    this.stall.handleWake();
    this.wantsSecond = true;
    this.attempting?.abort();
    this.pause.cut();
    void this.seek();
  }

  /** There is a way that there was not at the last attempt: the next one waits for nothing. */
  tryNow(): void {
    this.pause.cut();
  }

  /** A program waits. True if an attempt is under way now. */
  hurry(now: number): boolean {
    const isSeldom = this.lastFault !== undefined && SELDOM_HURRIED.has(this.lastFault);
    const spacing = isSeldom ? HURRY_REFUSED_MS : HURRY_MS;
    if (now - this.hurriedAt < spacing) return this.attempting !== undefined;
    this.hurriedAt = now;
    this.pause.cut();
    return true;
  }

  /** Ends the session for good; the exit is told if there is a link. */
  end(fault: WireFaultName): void {
    this.driver.end(fault);
  }

  // ── the session's events ───────────────────────────────────────────────────────────────────────────────────────────

  private handleEstablished(): void {
    clearTimeout(this.helloLimit);
    this.standing = true;
    this.events.onStanding();
  }

  private handleNoMoreStreams(): void {
    this.events.onNoMoreStreams();
    void this.driver.drain().then(() => this.driver.end('session-closed'));
  }

  private handleLinkLost(): void {
    this.lostAt = performance.now();
    if (this.options.backoff.handleLost(this.lostAt - this.attachedAt)) this.pause.cut();
    this.forgetBetter();
    this.probing?.abort();
    if (this.changing) this.untoldLoss = true;
    else this.tellOfLoss();
    void this.seek();
  }

  /** The link stalls: another is tried beside it. */
  private changeLink(): void {
    this.options.backoff.reset();
    this.pause.cut();
    this.probing?.abort();
    void this.seek();
  }

  private handleEnd(fault: WireFaultName): void {
    clearTimeout(this.helloLimit);
    this.stall.end();
    this.forgetBetter();
    // Of a session that the exit ended; the loss of a link was counted when it came.
    if (this.attachedAt > this.lostAt) {
      this.lostAt = performance.now();
      this.options.backoff.handleLost(this.lostAt - this.attachedAt);
    }
    this.untoldLoss = false;
    this.attempting?.abort();
    this.pause.cut();
    this.events.onEnd(this.finalError ?? new WstunError(fault), this.finalError !== undefined);
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  private get wantsLink(): boolean {
    return !this.driver.isOver && (this.needsLink || this.wantsBetter);
  }

  /** By whichever way it comes. */
  private get needsLink(): boolean {
    return !this.driver.isAttached || this.wantsSecond || this.stall.wantsChange;
  }

  private async seek(firstWaitMs?: number): Promise<void> {
    if (this.seeking) return;
    this.seeking = true;
    let waitMs = firstWaitMs ?? (this.needsLink ? this.options.backoff.next(Math.random()) : 0);
    while (this.wantsLink) {
      await this.pause.wait(waitMs);
      if (!this.wantsLink) break;
      waitMs = await this.attempt(this.needsLink ? undefined : this.better);
    }
    this.seeking = false;
  }

  /**
   * Returns how long to wait before the next, if one is needed. @param better by that alone, for a link that need not
   * come
   */
  private async attempt(better: SessionDialer | undefined): Promise<number> {
    this.wantsSecond = false;
    const since = performance.now();
    const attempting = new AbortController();
    this.attempting = attempting;
    if (better !== undefined) this.probing = attempting;
    try {
      const { dialer } = this.options;
      this.attach(await (better ?? dialer).dial(() => this.request(), attempting.signal));
      this.lastFault = undefined;
      return 0;
    } catch (cause) {
      this.driver.releaseAcknowledgements();
      this.tellLoss();
      // Begun on a network that is no more, for a session that is over, or while there was a link.
      if (attempting.signal.aborted) return 0;
      const error = cause instanceof WstunError ? cause : new WstunError('internal', String(cause));
      if (better !== undefined && this.isCarried(error)) return 0;
      return this.handleFailure(error, performance.now() - since);
    } finally {
      this.attempting = undefined;
      this.probing = undefined;
      this.changing = false;
      this.awaitBetter();
    }
  }

  /** Some time from now the better way is tried, if there is one. */
  private awaitBetter(): void {
    clearTimeout(this.betterTimer);
    this.wantsBetter = false;
    if (this.better === undefined) return;
    this.betterTimer = setTimeout(() => {
      this.wantsBetter = true;
      void this.seek();
    }, this.options.tryBetterMs ?? TRY_BETTER_MS).unref();
  }

  private forgetBetter(): void {
    this.better = undefined;
    this.awaitBetter();
  }

  private request(): SessionRequest {
    // An exit that heard a first request, but not we its answer, has a session of that name already.
    if (!this.begun) this.id = randomBytes(SESSION_ID_BYTES);
    // An exit that hears it lets the old link go: should that be lost now, nothing comes sooner than the answer.
    this.probing = undefined;
    this.changing = this.driver.isAttached;
    this.driver.holdAcknowledgements();
    return { kind: this.begun ? 'resume' : 'begin', id: this.id, received: this.driver.received };
  }

  private attach({ link, peerReceived, saidReceived, better }: SessionLink): void {
    if (this.driver.isOver) return link.abort();
    const wasAway = this.begun && !this.driver.isAttached;
    if (!this.driver.attachLink(link, { peerReceived, saidReceived })) return link.abort();
    if (!this.begun) this.helloLimit = setTimeout(() => this.driver.end('peer-silent'), HELLO_LIMIT_MS);
    this.begun = true;
    this.stall.handleLink();
    // The exit lets the old link go before its answer is here: streams that do not outlive their link stay where they
    // are.
    this.better = this.options.resume.resumeWindowMs > 0 ? better : undefined;
    this.attachedAt = performance.now();
    if (wasAway && this.standing) this.tellResumed(this.attachedAt - this.lostAt);
  }

  private tellResumed(awayMs: number): void {
    if (awayMs > QUIET_CHANGE_MS) this.tellLoss();
    const wasQuiet = this.untoldLoss;
    this.untoldLoss = false;
    this.events.onResumed(wasQuiet ? undefined : awayMs);
  }

  private tellLoss(): void {
    if (!this.untoldLoss) return;
    this.untoldLoss = false;
    this.tellOfLoss();
  }

  private tellOfLoss(): void {
    this.stall.handleLossTold();
    if (this.standing) this.events.onLinkLost();
  }

  private handleFailure(error: WstunError, tookMs: number): number {
    if (this.driver.isOver) return 0;
    this.lastFault = error.fault;
    if (this.isCarried(error)) {
      // Nobody need know.
      this.options.logger.debug({ fault: error.fault }, 'a second link could not be opened');
      this.stall.handleFailed(error);
      return this.options.backoff.next(Math.random());
    }
    if (this.begun && SESSION_FAULTS.has(error.fault)) return this.endBy(error.fault as WireFaultName);
    const verdict = this.options.judge(error);
    if ('final' in verdict) return this.giveUp(verdict.final);
    const waitMs = settledWait(error, tookMs, verdict.waitMs);
    this.events.onFailed(error, waitMs);
    return waitMs;
  }

  /** By the old link, whatever came of the new one. */
  private isCarried(error: WstunError): boolean {
    // An exit that does not know the session has said so under its keys: the old link, though it seems to stand, leads
    // nowhere.
    return this.driver.isAttached && error.fault !== 'session-unknown';
  }

  /**
   * The exit is there, and said under its keys that the session is over: the next need not wait, but for an exit that
   * keeps saying so.
   */
  private endBy(fault: WireFaultName): number {
    this.options.backoff.handleLost(0);
    this.driver.end(fault);
    return 0;
  }

  private giveUp(error: WstunError): number {
    this.finalError = error;
    this.driver.end('link-lost');
    return 0;
  }
}

function settledWait({ fault }: WstunError, tookMs: number, waitMs: number): number {
  return fault === 'relay-unreachable' && tookMs >= UNHEARD_MS ? Math.min(waitMs, UNHEARD_WAIT_MS) : waitMs;
}
