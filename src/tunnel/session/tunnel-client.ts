/** The client's end of the tunnel: always has one session for new streams, while older ones drain. */
import { AbortableWait, settledWithin } from '../../async/abortable.ts';
import { type Clock, systemClock } from '../../clock.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';
import { DEFAULT_RESUME_CONFIG, PROCESS_RETRANSMIT_BYTES } from '../../mux/links/resume-config.ts';
import { RetransmitMemory } from '../../mux/links/retransmit-store.ts';
import type { Logger } from '../../observability/logger.ts';
import type { ToldRelays } from '../../protocol/relays.ts';
import type { SessionDialer, Way } from '../dial/session-dialer.ts';
import { Backoff } from '../reconnect/backoff.ts';
import { type LearntLimit, LinkLimits, type LinkUse } from '../reconnect/link-limits.ts';
import { type FailureDecision, isFinal, Outage } from '../reconnect/outage.ts';
import type {
  Association,
  AssociationHandler,
  ListenerHandler,
  SessionServices,
  TunnelListener,
} from '../stream/services.ts';
import type { StreamOpener, Target, TunnelStream } from '../stream/stream.ts';
import { ClientCounts } from './client-counts.ts';
import { ClientHistory } from './client-history.ts';
import {
  type TunnelParts,
  type TunnelReadings,
  type TunnelStatus,
  tunnelReadings,
  tunnelStatus,
} from './client-status.ts';
import type { LinkCount } from './extra-links.ts';
import { ReconnectingSession, type ReconnectingSessionEvents, type ReconnectReason } from './reconnecting-session.ts';
import type { SessionDriver } from './session-driver.ts';
import { StallPatience } from './stall-patience.ts';
import type { StallInfo } from './stall-watch.ts';

export type { ToldRelays };

/** How long a new connection waits for a session with a link before it fails: programs give up soon after. */
const SESSION_WAIT_MS = 10_000;
/** Connections that wait for a session; each is a local socket and a promise. */
const MAX_WAITING = 1024;

/** Each is called when it has happened, and must not throw. Times are in ms, `streams` counts connections. */
export interface ClientObserver {
  /** A session is established; not the first one after `awayMs` without, for want of which `streamsLost` ended. */
  onConnected?(info: { readonly first: boolean; readonly awayMs: number; readonly streamsLost: number }): void;
  /** The link is lost. The streams wait for the next one. */
  onLinkLost?(info: { readonly streams: number }): void;
  /** A new link carries the streams. None was lost. */
  onResumed?(info: { readonly awayMs: number; readonly streams: number }): void;
  /** Nothing comes through the link for `silentMs`, nor through `links` others since; again when more is known. */
  onStalled?(info: StallInfo & { readonly streams: number }): void;
  /** This network stops links after a while; wstun leaves them before that from now on. */
  onLimit?(limit: LearntLimit): void;
  /** The other end is shutting down. The streams may finish; new ones use the next session. */
  onDraining?(info: { readonly streams: number }): void;
  /** The session has ended, and its streams with it. The next one follows unless `isFinal`. */
  onSessionLost?(error: WstunError, info: { readonly streams: number; readonly isFinal: boolean }): void;
  /** An attempt to connect failed. The next one follows after `waitMs`. */
  onFailed?(error: WstunError, waitMs: number): void;
}

export interface ClientOptions {
  /** How long a session without a link is kept, ms; default DEFAULT_RESUME_CONFIG. */
  readonly resumeWindowMs?: number;
  /** As of ReconnectingSessionOptions. */
  readonly links?: LinkCount;
  readonly findWays?: () => Promise<readonly Way[]>;
  /** How much a link may be used; narrower where less is learnt of the network. */
  readonly linkUse?: Partial<LinkUse>;
  readonly tryBetterMs?: number;
  /** An exit knows these relays, which were not checked. */
  readonly onRelays?: (told: ToldRelays) => void;
  /** As of OutageOptions. */
  readonly once?: boolean;
  readonly removalFinalMs?: number;
  /** Default: nobody reads them. */
  readonly counts?: ClientCounts;
  readonly clock?: Clock;
}

/** Whether a program waits for the session: the next attempt then comes at once. */
type Need = 'urgent' | 'patient';

/** The session before, until the next is established. */
interface LostSession {
  /** From when on no streams could be opened, by the clock. */
  readonly at: number;
  streams: number;
  /** The session, where it drains. */
  readonly draining?: ReconnectingSession;
}

export class TunnelClient implements StreamOpener, SessionServices {
  private readonly backoff = new Backoff();
  private readonly replayMemory = new RetransmitMemory(PROCESS_RETRANSMIT_BYTES);
  private readonly limits: LinkLimits;
  private readonly patience = new StallPatience();
  private readonly stopping = new AbortController();
  private readonly clock: Clock;
  private readonly sessions = new Set<ReconnectingSession>();
  private readonly waiters = new Set<AbortableWait<SessionDriver>>();
  private current: ReconnectingSession | undefined;
  private connectedBefore = false;
  private lost: LostSession | undefined;
  private readonly outage: Outage;
  /** Before the first attempt of the next session, where the last one ended before it was established. */
  private firstWaitMs: number | undefined;
  /** The last attempt found no exit: streams only wait while another attempt is under way. */
  private exitAbsent = false;
  private readonly history: ClientHistory;
  readonly counts: ClientCounts;

  constructor(
    private readonly dialer: SessionDialer,
    private readonly observer: ClientObserver,
    private readonly logger: Logger,
    private readonly options: ClientOptions = {},
  ) {
    this.clock = options.clock ?? systemClock;
    this.history = new ClientHistory(this.clock.now());
    this.counts = options.counts ?? new ClientCounts();
    this.limits = new LinkLimits(options.linkUse);
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
    try {
      const session = this.usable ?? (await this.awaitSession(signal));
      const stream = await session.open(target, signal);
      this.counts.streamsOpened += 1;
      return stream;
    } catch (error) {
      this.counts.noteRefused(error);
      throw error;
    }
  }

  async openResolver(signal: AbortSignal): Promise<TunnelStream> {
    const session = this.usable ?? (await this.awaitSession(signal));
    return session.services.openResolver(signal);
  }

  /** A port is asked for again and again: unlike a program it must not shorten the pauses between attempts. */
  async listenTcp(address: Target, handler: ListenerHandler, signal: AbortSignal): Promise<TunnelListener> {
    const session = this.usable ?? (await this.awaitSession(signal, 'patient'));
    return session.services.listenTcp(address, handler, signal);
  }

  get lacksUdp(): boolean {
    return this.current?.driver.services.lacksUdp ?? false;
  }

  openAssociation(target: Target | undefined, handler: AssociationHandler): Association {
    return this.servicesAtOnce('urgent').openAssociation(target, handler);
  }

  listenUdp(address: Target, handler: AssociationHandler): Association {
    return this.servicesAtOnce('patient').listenUdp(address, handler);
  }

  private get usable(): SessionDriver | undefined {
    return this.current?.isUsable ? this.current.driver : undefined;
  }

  /** Of the session as it is: datagrams do not wait for a link, but an association outlives one. */
  private servicesAtOnce(need: Need): SessionServices {
    const { current } = this;
    if (current === undefined || !current.wasEstablished || this.history.closingAt !== undefined) {
      if (need === 'urgent') current?.reconnectNow('stream-waiting');
      throw new WstunError('not-connected');
    }
    return current.driver.services;
  }

  /** Every session dials now, where the reason is one for it. */
  reconnectNow(reason: Exclude<ReconnectReason, 'stream-waiting'>): void {
    if (reason !== 'new-connector') {
      this.limits.handleNetworkChanged(this.clock.now());
      this.patience.handleNetworkChanged();
    }
    for (const session of this.sessions) session.reconnectNow(reason);
  }

  /** The dialer has other relays now. */
  followRelays(): void {
    for (const session of this.sessions) session.followRelays();
  }

  /** Opens no more streams. Those that wait for a session or for a link are rejected. */
  drain(): void {
    this.history.closingAt ??= this.clock.now();
    this.failWaiters(new WstunError('not-connected'));
    for (const { driver, isUsable } of this.sessions) if (!isUsable) driver.cancelOpens('not-connected');
  }

  /** Streams go on for at most `graceMs`, then everything ends. */
  async close(graceMs: number): Promise<void> {
    this.stopping.abort();
    this.drain();
    const drained = Promise.all([...this.sessions].map(({ driver }) => driver.drain()));
    await settledWithin(this.clock, graceMs, drained);
    for (const session of this.sessions) session.end('session-closed');
  }

  /** The round trip to the end that dials, ms. @throws WstunError not-connected, ping-lost, or why the session ended */
  async ping(limitMs: number, signal: AbortSignal): Promise<number> {
    if (!this.current?.isUsable) throw new WstunError('not-connected');
    return await this.current.driver.ping(limitMs, signal);
  }

  /** What it is at the moment. */
  status(): TunnelStatus {
    return tunnelStatus(this.parts);
  }

  /** The same for its metrics. */
  readings(): TunnelReadings {
    return tunnelReadings(this.parts);
  }

  private get parts(): TunnelParts {
    const { clock, dialer, history, sessions, current, connectedBefore: wasConnected, lost } = this;
    return { clock, dialer, history, sessions, current, wasConnected, lostAt: lost?.at };
  }

  // ── one session ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Resolves when a new session is needed, or with the error after which none could help. */
  private runSession(): Promise<WstunError | undefined> {
    const { links, findWays, tryBetterMs, resumeWindowMs = DEFAULT_RESUME_CONFIG.resumeWindowMs } = this.options;
    return new Promise((resolve) => {
      const session: ReconnectingSession = new ReconnectingSession(
        {
          dialer: this.dialer,
          resume: { ...DEFAULT_RESUME_CONFIG, resumeWindowMs },
          ...{ tryBetterMs, links, findWays, limits: this.limits, patience: this.patience },
          replayMemory: this.replayMemory,
          backoff: this.backoff,
          logger: this.logger,
          clock: this.clock,
          decide: (error) => this.decide(error, this.current === session),
          dialTime: this.counts.dialTime,
        },
        this.eventsOf(() => session, resolve),
      );
      this.sessions.add(session);
      this.current = session;
      session.start(this.firstWaitMs);
      this.firstWaitMs = undefined;
    });
  }

  private eventsOf(
    session: () => ReconnectingSession,
    resolve: (final: WstunError | undefined) => void,
  ): ReconnectingSessionEvents {
    const isCurrent = (): boolean => this.current === session() && !this.stopping.signal.aborted;
    let isLinkLost = false;
    return {
      onEstablished: () => this.handleEstablished(session()),
      onLinkLost: () => {
        isLinkLost = true;
        this.counts.linksLost += 1;
        if (isCurrent()) this.observer.onLinkLost?.({ streams: session().driver.streamCount });
      },
      onResumed: (awayMs) => {
        this.outage.handleEstablished();
        if (isLinkLost) this.history.resumes += 1;
        if (this.current === session()) this.history.handleConnected(isLinkLost, this.clock.now());
        isLinkLost = false;
        this.serveWaiters(session());
        if (awayMs === undefined || !isCurrent()) return;
        this.observer.onResumed?.({ awayMs, streams: session().driver.streamCount });
      },
      onStalled: (info) => {
        if (isCurrent()) this.observer.onStalled?.({ ...info, streams: session().driver.streamCount });
      },
      onFailed: (error, waitMs) => {
        this.counts.linkFailures.note(error.fault);
        if (!isCurrent()) return;
        this.noteAbsence(error);
        this.history.handleFailed(error, waitMs, this.clock.now());
        this.observer.onFailed?.(error, waitMs);
      },
      onRelays: (told) => this.options.onRelays?.(told),
      onLimit: (limit) => {
        if (isCurrent()) this.observer.onLimit?.(limit);
      },
      onNoMoreStreams: () => {
        if (isCurrent()) this.handleDraining(session());
        resolve(undefined);
      },
      onEnd: (error, isFinalAttempt) => {
        this.sessions.delete(session());
        if (session().wasEstablished) this.counts.sessionsEnded.note(error.fault);
        const { transferred, streamsAborted } = session().driver;
        this.history.handleSessionOver(transferred, this.stopping.signal.aborted ? 0 : streamsAborted);
        if (isCurrent()) return resolve(this.handleEnd(session(), error, isFinalAttempt));
        this.reportAbortedStreams(session(), error);
        resolve(isFinalAttempt ? error : undefined);
      },
    };
  }

  private handleEstablished(session: ReconnectingSession): void {
    this.exitAbsent = false;
    this.counts.sessionsStarted += 1;
    this.outage.handleEstablished();
    this.history.handleConnected(true, this.clock.now());
    const { lost } = this;
    this.lost = undefined;
    this.observer.onConnected?.({
      first: !this.connectedBefore,
      awayMs: lost === undefined ? 0 : this.clock.now() - lost.at,
      streamsLost: lost?.streams ?? 0,
    });
    this.connectedBefore = true;
    this.serveWaiters(session);
  }

  private handleDraining(session: ReconnectingSession): void {
    this.current = undefined;
    this.lost = { at: this.clock.now(), streams: 0, draining: session };
    this.observer.onDraining?.({ streams: session.driver.streamCount });
  }

  /** Returns the error after which no further attempt could help, if it is one. */
  private handleEnd(session: ReconnectingSession, error: WstunError, isFinalAttempt: boolean): WstunError | undefined {
    this.current = undefined;
    const final = isFinalAttempt || isFinal(error.fault) ? error : undefined;
    if (!session.wasEstablished) {
      if (final !== undefined) this.history.handleFailed(final, undefined, this.clock.now());
      return final ?? this.handleFailedBegin(error);
    }
    this.history.handleSessionLost(error);
    const streams = session.driver.streamsAborted;
    this.lost = { at: session.lostAt, streams };
    if (error.fault === 'access-removed') this.outage.noteRemoval(error, this.clock.now());
    this.observer.onSessionLost?.(error, { streams, isFinal: final !== undefined });
    return final;
  }

  /** The exit accepted the session and then ended it, or broke the protocol: it counts as a failed attempt. */
  private handleFailedBegin(error: WstunError): WstunError | undefined {
    const decision = this.decide(error, true);
    const waitMs = 'final' in decision ? undefined : decision.waitMs;
    this.history.handleFailed(error, waitMs, this.clock.now());
    if ('final' in decision) return decision.final;
    this.firstWaitMs = decision.waitMs;
    this.observer.onFailed?.(error, decision.waitMs);
    return undefined;
  }

  /** Of a session that was draining. */
  private reportAbortedStreams(session: ReconnectingSession, error: WstunError): void {
    const streams = session.driver.streamsAborted;
    if (streams === 0 || this.stopping.signal.aborted) return;
    if (this.lost?.draining === session) this.lost.streams += streams;
    this.observer.onSessionLost?.(error, { streams, isFinal: false });
  }

  /** Failures of a draining session do not count for the outage: it would count each twice. */
  private decide(error: WstunError, isCurrent: boolean): FailureDecision {
    const random = this.clock.random();
    return isCurrent
      ? this.outage.handleFailure(error, this.clock.now(), random)
      : { waitMs: this.backoff.next(random) };
  }

  /** Where the exit is absent, waiting programs are told at once. */
  private noteAbsence(error: WstunError): void {
    this.exitAbsent = error.fault === 'exit-absent';
    if (this.exitAbsent) this.failWaiters(error);
  }

  // ── waiting for a session ──────────────────────────────────────────────────────────────────────────────────────────

  private serveWaiters(session: ReconnectingSession): void {
    this.exitAbsent = false;
    if (this.current !== session || !session.isUsable) return;
    for (const waiter of [...this.waiters]) waiter.resolve(session.driver);
  }

  private awaitSession(signal: AbortSignal, need: Need = 'urgent'): Promise<SessionDriver> {
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    if (this.history.closingAt !== undefined || this.waiters.size >= MAX_WAITING)
      return Promise.reject(new WstunError('not-connected'));
    const isUnderWay = need === 'urgent' && this.current?.reconnectNow('stream-waiting') === true;
    if (this.exitAbsent && !isUnderWay) return Promise.reject(new WstunError('exit-absent'));
    const waiter = new AbortableWait<SessionDriver>({
      clock: this.clock,
      signal,
      limitMs: SESSION_WAIT_MS,
      onExpired: (expired) => expired.reject(new WstunError('not-connected')),
      onSettled: () => this.waiters.delete(waiter),
    });
    this.waiters.add(waiter);
    return waiter.promise;
  }

  private failWaiters(error: WstunError): WstunError {
    const reported: WireFaultName = error.fault === 'exit-absent' ? error.fault : 'not-connected';
    for (const waiter of [...this.waiters]) waiter.reject(new WstunError(reported));
    return error;
  }
}
