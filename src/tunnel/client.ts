/**
 * The client's end of the tunnel: always has one session for new streams, and lets older ones end in peace. It knows nothing of
 * proxies, and leaves links to session-keeper.ts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { FAULTS, type WireFaultName, WstunError } from '../errors.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_REPLAY_BYTES } from '../mux/config.ts';
import { ReplayMemory } from '../mux/replay-store.ts';
import type { Logger } from '../observability/logger.ts';
import { Backoff, RefusalPatience } from './backoff.ts';
import type { SessionDriver } from './session-driver.ts';
import { type KeeperEvents, type SessionDialer, SessionKeeper } from './session-keeper.ts';
import type { StreamOpener, Target, TunnelStream } from './stream.ts';

/** How long a new connection waits for a session with a link before it fails: programs give up soon after. */
const SESSION_WAIT_MS = 10_000;
/** Connections that wait for a session; each is a local socket and a promise. */
const MAX_WAITING = 1024;

export interface ClientObserver {
  /** A new session stands. `first` is false where an earlier one was lost with `streamsLost` streams, `awayMs` ago. */
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
  /** The session is over, and `streams` streams with it; the next one follows. */
  onSessionLost(error: WstunError, info: { readonly streams: number }): void;
  /** An attempt failed; the next comes in `waitMs`. */
  onFailed(error: WstunError, waitMs: number): void;
}

export interface ClientOptions {
  /** How long a session without a link is kept, ms; default DEFAULT_RESUME_CONFIG. */
  readonly resumeWindowMs?: number;
  /** As of KeeperOptions. */
  readonly tryBetterMs?: number;
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
  private readonly replayMemory = new ReplayMemory(PROCESS_REPLAY_BYTES);
  private readonly stopping = new AbortController();
  private readonly keepers = new Set<SessionKeeper>();
  private readonly waiters = new Set<Waiter>();
  private current: SessionKeeper | undefined;
  private connectedBefore = false;
  /** Of the last session that was lost, until the next stands. */
  private lost: { readonly at: number; readonly streams: number } | undefined;
  private readonly refusals = new RefusalPatience();
  /** The last attempt found no exit: nobody waits for the next. */
  private exitAbsent = false;

  constructor(dialer: SessionDialer, observer: ClientObserver, logger: Logger, options: ClientOptions = {}) {
    this.dialer = dialer;
    this.observer = observer;
    this.logger = logger;
    this.options = options;
  }

  /** Keeps a session until `close`. Rejects with a WstunError only when no further attempt could help (exit codes 76, 77). */
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

  /** Streams live on for at most `graceMs`, then everything ends. */
  async close(graceMs: number): Promise<void> {
    this.stopping.abort();
    this.failWaiters(new WstunError('not-connected'));
    const drained = Promise.all([...this.keepers].map(({ driver }) => driver.drain()));
    const limit = new AbortController();
    await Promise.race([drained, delay(graceMs, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
    for (const keeper of this.keepers) keeper.end('session-closed');
  }

  // ── one session ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Resolves when a new session is needed, or with the error after which none could help. */
  private runSession(): Promise<WstunError | undefined> {
    const { tryBetterMs, ...resumption } = this.options;
    return new Promise((resolve) => {
      const keeper: SessionKeeper = new SessionKeeper(
        {
          dialer: this.dialer,
          resume: { ...DEFAULT_RESUME_CONFIG, ...resumption },
          tryBetterMs,
          replayMemory: this.replayMemory,
          backoff: this.backoff,
          logger: this.logger,
          waitAfter: (error) => this.waitAfter(error, this.current === keeper),
        },
        this.eventsOf(() => keeper, resolve),
      );
      this.keepers.add(keeper);
      this.current = keeper;
      keeper.start();
    });
  }

  private eventsOf(keeper: () => SessionKeeper, resolve: (final: WstunError | undefined) => void): KeeperEvents {
    const isCurrent = (): boolean => this.current === keeper() && !this.stopping.signal.aborted;
    return {
      onStanding: () => this.handleStanding(keeper()),
      onLinkLost: () => {
        if (isCurrent()) this.observer.onLinkLost({ streams: keeper().driver.streamCount });
      },
      onResumed: (awayMs) => {
        this.refusals.reset();
        this.serveWaiters(keeper());
        if (awayMs === undefined || !isCurrent()) return;
        this.observer.onResumed({ awayMs, streams: keeper().driver.streamCount });
      },
      onFailed: (error, waitMs) => {
        if (!isCurrent()) return;
        this.noteAbsence(error);
        this.observer.onFailed(error, waitMs);
      },
      onNoMoreStreams: () => {
        if (isCurrent()) this.current = undefined;
        resolve(undefined);
      },
      onEnd: (error, isFinal) => {
        this.keepers.delete(keeper());
        if (isCurrent()) this.handleEnd(keeper(), error);
        else this.tellOfCutStreams(keeper(), error);
        resolve(isFinal ? error : undefined);
      },
    };
  }

  private handleStanding(keeper: SessionKeeper): void {
    this.exitAbsent = false;
    this.refusals.reset();
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

  private handleEnd(keeper: SessionKeeper, error: WstunError): void {
    this.current = undefined;
    const streams = keeper.driver.streamsCut;
    if (!keeper.hasStood) return;
    this.lost = { at: keeper.leftAt, streams };
    this.observer.onSessionLost(error, { streams });
  }

  /** Of a session that was to end in peace. */
  private tellOfCutStreams({ driver }: SessionKeeper, error: WstunError): void {
    if (driver.streamsCut > 0 && !this.stopping.signal.aborted)
      this.observer.onSessionLost(error, { streams: driver.streamsCut });
  }

  /**
   * Undefined where no further attempt could help: a refused key, a removed access and another protocol do not change by trying
   * again. But once a session has stood, a refusal may be a captive portal's, or of a reverse proxy whose relay restarts.
   */
  private waitAfter(error: WstunError, isCurrent: boolean): number | undefined {
    // Of a session that only ends in peace, one after the other, no refusals are counted: that would be twice as fast.
    if (error.fault === 'relay-refused' && !isCurrent) return this.backoff.next(Math.random());
    if (error.fault === 'relay-refused') return this.connectedBefore ? this.refusals.next(Math.random()) : undefined;
    this.refusals.reset();
    if (FAULTS[error.fault].class === 'access' || error.fault === 'bad-version') return undefined;
    return this.backoff.next(Math.random());
  }

  /** Programs that wait are told at once where the exit is absent. */
  private noteAbsence(error: WstunError): void {
    this.exitAbsent = error.fault === 'exit-absent';
    if (this.exitAbsent) this.failWaiters(error);
  }

  // ── waiting for a session ─────────────────────────────────────────────────────────────────────────────────────────────────

  private serveWaiters(keeper: SessionKeeper): void {
    this.exitAbsent = false;
    if (this.current !== keeper || !keeper.isUsable) return;
    for (const waiter of [...this.waiters]) waiter.resolve(keeper.driver);
  }

  private awaitSession(signal: AbortSignal): Promise<SessionDriver> {
    if (this.exitAbsent) return Promise.reject(new WstunError('exit-absent'));
    if (this.stopping.signal.aborted || this.waiters.size >= MAX_WAITING) {
      return Promise.reject(new WstunError('not-connected'));
    }
    this.current?.hurry(performance.now());
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
