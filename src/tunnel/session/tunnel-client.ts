/**
 * The client's end of the tunnel: always has one session for new streams, and lets older ones end in peace. It knows
 * nothing of proxies, and leaves links to session-keeper.ts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type WireFaultName, WstunError } from '../../errors.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_RETRANSMIT_BYTES } from '../../mux/config.ts';
import { RetransmitMemory } from '../../mux/retransmit-store.ts';
import type { Logger } from '../../observability/logger.ts';
import type { SessionDialer } from '../dial/session-dialer.ts';
import { Backoff } from '../reconnect/backoff.ts';
import { isFinal, Outage, type Verdict } from '../reconnect/outage.ts';
import type { StreamOpener, Target, TunnelStream } from '../stream/stream.ts';
import { ReconnectingSession, type ReconnectingSessionEvents } from './reconnecting-session.ts';
import type { SessionDriver } from './session-driver.ts';
import type { StallInfo } from './stall-watch.ts';

/** How long a new connection waits for a session with a link before it fails: programs give up soon after. */
const SESSION_WAIT_MS = 10_000;
/** Connections that wait for a session; each is a local socket and a promise. */
const MAX_WAITING = 1024;

export interface ClientObserver {
  /**
   * A new session stands. `first` is false where an earlier one took no more streams `awayMs` ago; `streamsLost` of its
   * own were cut.
   */
  onConnected(info: {
    readonly remote: string;
    readonly first: boolean;
    readonly awayMs: number;
    readonly streamsLost: number;
  }): void;
  /** There is no link any more; `streams` streams are held. */
  onLinkLost(info: { readonly streams: number }): void;
  /** A new link carries them. */
  onResumed(info: { readonly awayMs: number; readonly streams: number }): void;
  /**
   * There is a link, but nothing comes through it, nor through others that took its place; again when more is known.
   * `onResumed` follows when something does, unless the loss of the link or the end of the session is told first.
   */
  onStalled?(info: StallInfo & { readonly streams: number }): void;
  /** The other end is shutting down: `streams` streams may end in peace, the next go to a new session. */
  onDraining?(info: { readonly streams: number }): void;
  /** The session is over, and `streams` streams with it; the next one follows, unless that is final. */
  onSessionLost(error: WstunError, info: { readonly streams: number; readonly isFinal: boolean }): void;
  /** An attempt failed; the next comes in `waitMs`. */
  onFailed(error: WstunError, waitMs: number): void;
}

export interface ClientOptions {
  /** How long a session without a link is kept, ms; default DEFAULT_RESUME_CONFIG. */
  readonly resumeWindowMs?: number;
  /** As of ReconnectingSessionOptions. */
  readonly tryBetterMs?: number;
  /** As of OutageOptions. */
  readonly once?: boolean;
  readonly removalStandsMs?: number;
}

/** Of the session before, until the next stands. */
interface Lost {
  /** From when on no streams could be opened, of the clock of `performance.now`. */
  readonly at: number;
  streams: number;
  /** That ends in peace. */
  readonly draining?: ReconnectingSession;
}

interface Waiter {
  resolve(session: SessionDriver): void;
  reject(error: WstunError): void;
}

export class TunnelClient implements StreamOpener {
  private readonly dialer: SessionDialer;
  private readonly observer: ClientObserver;
  private readonly logger: Logger;
  private readonly options: ClientOptions;
  private readonly backoff = new Backoff();
  private readonly replayMemory = new RetransmitMemory(PROCESS_RETRANSMIT_BYTES);
  private readonly stopping = new AbortController();
  private readonly keepers = new Set<ReconnectingSession>();
  private readonly waiters = new Set<Waiter>();
  private current: ReconnectingSession | undefined;
  private connectedBefore = false;
  private lost: Lost | undefined;
  private readonly outage: Outage;
  /** Before the first attempt of the next session, where the last one ended before it stood. */
  private firstWaitMs: number | undefined;
  /** The last attempt found no exit: nobody waits but for an attempt that is under way. */
  private exitAbsent = false;
  private draining = false;

  constructor(dialer: SessionDialer, observer: ClientObserver, logger: Logger, options: ClientOptions = {}) {
    this.dialer = dialer;
    this.observer = observer;
    this.logger = logger;
    this.options = options;
    this.outage = new Outage({ ...options, backoff: this.backoff });
  }

  /** Keeps a session until `close`. Rejects with a WstunError where `Outage` finds a failure final. */
  async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      const final = await this.runSession();
      if (final !== undefined && !this.stopping.signal.aborted) throw this.failWaiters(final);
    }
  }

  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    const { current } = this;
    const session = current?.isUsable ? current.driver : await this.awaitSession(signal);
    return session.open(target, signal);
  }

  /** The network has changed, or somebody asks for a new link: every session tries one now. */
  wake(): void {
    for (const keeper of this.keepers) keeper.wake();
  }

  /** A phone has joined, say: whoever waits for the next attempt tries now. Links that stand are left alone. */
  tryNow(): void {
    for (const keeper of this.keepers) keeper.tryNow();
  }

  /** Opens no more streams. What waits for a session or for a link is told so, and is no reason to wait for it. */
  drain(): void {
    this.draining = true;
    this.failWaiters(new WstunError('not-connected'));
    for (const { driver, isUsable } of this.keepers) if (!isUsable) driver.refuseOpening('not-connected');
  }

  /** Streams live on for at most `graceMs`, then everything ends. */
  async close(graceMs: number): Promise<void> {
    this.stopping.abort();
    this.drain();
    const drained = Promise.all([...this.keepers].map(({ driver }) => driver.drain()));
    const limit = new AbortController();
    await Promise.race([drained, delay(graceMs, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
    for (const keeper of this.keepers) keeper.end('session-closed');
  }

  // ── one session ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Resolves when a new session is needed, or with the error after which none could help. */
  private runSession(): Promise<WstunError | undefined> {
    const { tryBetterMs, resumeWindowMs = DEFAULT_RESUME_CONFIG.resumeWindowMs } = this.options;
    return new Promise((resolve) => {
      const keeper: ReconnectingSession = new ReconnectingSession(
        {
          dialer: this.dialer,
          resume: { ...DEFAULT_RESUME_CONFIG, resumeWindowMs },
          tryBetterMs,
          replayMemory: this.replayMemory,
          backoff: this.backoff,
          logger: this.logger,
          judge: (error) => this.judge(error, this.current === keeper),
        },
        this.eventsOf(() => keeper, resolve),
      );
      this.keepers.add(keeper);
      this.current = keeper;
      keeper.start(this.firstWaitMs);
      this.firstWaitMs = undefined;
    });
  }

  private eventsOf(
    keeper: () => ReconnectingSession,
    resolve: (final: WstunError | undefined) => void,
  ): ReconnectingSessionEvents {
    const isCurrent = (): boolean => this.current === keeper() && !this.stopping.signal.aborted;
    return {
      onStanding: () => this.handleStanding(keeper()),
      onLinkLost: () => {
        if (isCurrent()) this.observer.onLinkLost({ streams: keeper().driver.streamCount });
      },
      onResumed: (awayMs) => {
        this.outage.handleStanding();
        this.serveWaiters(keeper());
        if (awayMs === undefined || !isCurrent()) return;
        this.observer.onResumed({ awayMs, streams: keeper().driver.streamCount });
      },
      onStalled: (info) => {
        if (isCurrent()) this.observer.onStalled?.({ ...info, streams: keeper().driver.streamCount });
      },
      onFailed: (error, waitMs) => {
        if (!isCurrent()) return;
        this.noteAbsence(error);
        this.observer.onFailed(error, waitMs);
      },
      onNoMoreStreams: () => {
        if (isCurrent()) this.handleDraining(keeper());
        resolve(undefined);
      },
      onEnd: (error, isFinalAttempt) => {
        this.keepers.delete(keeper());
        if (isCurrent()) return resolve(this.handleEnd(keeper(), error, isFinalAttempt));
        this.tellOfCutStreams(keeper(), error);
        resolve(isFinalAttempt ? error : undefined);
      },
    };
  }

  private handleStanding(keeper: ReconnectingSession): void {
    this.exitAbsent = false;
    this.outage.handleStanding();
    const { lost } = this;
    this.lost = undefined;
    this.observer.onConnected({
      remote: keeper.driver.remote,
      first: !this.connectedBefore,
      awayMs: lost === undefined ? 0 : performance.now() - lost.at,
      streamsLost: lost?.streams ?? 0,
    });
    this.connectedBefore = true;
    this.serveWaiters(keeper);
  }

  private handleDraining(keeper: ReconnectingSession): void {
    this.current = undefined;
    this.lost = { at: performance.now(), streams: 0, draining: keeper };
    this.observer.onDraining?.({ streams: keeper.driver.streamCount });
  }

  /** Returns the error after which no further attempt could help, if it is one. */
  private handleEnd(keeper: ReconnectingSession, error: WstunError, isFinalAttempt: boolean): WstunError | undefined {
    this.current = undefined;
    const final = isFinalAttempt || isFinal(error.fault) ? error : undefined;
    if (!keeper.hasStood) return final ?? this.handleFailedBeginning(error);
    const streams = keeper.driver.streamsCut;
    this.lost = { at: keeper.leftAt, streams };
    if (error.fault === 'access-removed') this.outage.noteRemoval(error, performance.now());
    this.observer.onSessionLost(error, { streams, isFinal: final !== undefined });
    return final;
  }

  /** The exit took the session up and then ended it, or what it said cannot be: as good as an attempt that failed. */
  private handleFailedBeginning(error: WstunError): WstunError | undefined {
    const verdict = this.judge(error, true);
    if ('final' in verdict) return verdict.final;
    this.firstWaitMs = verdict.waitMs;
    this.observer.onFailed(error, verdict.waitMs);
    return undefined;
  }

  /** Of a session that was to end in peace. */
  private tellOfCutStreams(keeper: ReconnectingSession, error: WstunError): void {
    const streams = keeper.driver.streamsCut;
    if (streams === 0 || this.stopping.signal.aborted) return;
    if (this.lost?.draining === keeper) this.lost.streams += streams;
    this.observer.onSessionLost(error, { streams, isFinal: false });
  }

  /** Of a session that only ends in peace nothing is counted: one after the other would count twice. */
  private judge(error: WstunError, isCurrent: boolean): Verdict {
    const random = Math.random();
    return isCurrent
      ? this.outage.handleFailure(error, performance.now(), random)
      : { waitMs: this.backoff.next(random) };
  }

  /** Programs that wait are told at once where the exit is absent. */
  private noteAbsence(error: WstunError): void {
    this.exitAbsent = error.fault === 'exit-absent';
    if (this.exitAbsent) this.failWaiters(error);
  }

  // ── waiting for a session ──────────────────────────────────────────────────────────────────────────────────────────

  private serveWaiters(keeper: ReconnectingSession): void {
    this.exitAbsent = false;
    if (this.current !== keeper || !keeper.isUsable) return;
    for (const waiter of [...this.waiters]) waiter.resolve(keeper.driver);
  }

  private awaitSession(signal: AbortSignal): Promise<SessionDriver> {
    if (this.draining || this.waiters.size >= MAX_WAITING) return Promise.reject(new WstunError('not-connected'));
    const isUnderWay = this.current?.hurry(performance.now()) ?? false;
    if (this.exitAbsent && !isUnderWay) return Promise.reject(new WstunError('exit-absent'));
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.waiters.delete(waiter);
      };
      const waiter: Waiter = {
        resolve: (session) => [settle(), resolve(session)],
        reject: (error) => [settle(), reject(error)],
      };
      const timer = setTimeout(() => waiter.reject(new WstunError('not-connected')), SESSION_WAIT_MS);
      const onAbort = () => waiter.reject(new WstunError('dial-cancelled'));
      signal.addEventListener('abort', onAbort);
      this.waiters.add(waiter);
    });
  }

  private failWaiters(error: WstunError): WstunError {
    const told: WireFaultName = error.fault === 'exit-absent' ? error.fault : 'not-connected';
    for (const waiter of [...this.waiters]) waiter.reject(new WstunError(told));
    return error;
  }
}
