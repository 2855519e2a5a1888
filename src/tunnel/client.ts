/**
 * The client's end of the tunnel: keeps one session with the exit, dials again when it is lost, and opens streams on it. It
 * knows nothing of proxies.
 *
 * A session that the exit drains is replaced at once; its streams live on beside the new session until they end.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { FAULTS, type WireFaultName, WstunError } from '../errors.ts';
import { DEFAULT_MUX_CONFIG } from '../mux/config.ts';
import type { Logger } from '../observability/logger.ts';
import type { MessageLink } from '../transport/message-link.ts';
import { Backoff, RefusalPatience } from './backoff.ts';
import type { LinkDialer } from './relay-dialer.ts';
import { SessionDriver } from './session-driver.ts';
import type { StreamOpener, Target, TunnelStream } from './stream.ts';

/** A relay that lets us in and then says nothing. */
const HELLO_LIMIT_MS = 10_000;
/** How long a new connection waits for a session before it fails: programs give up soon after. */
const SESSION_WAIT_MS = 10_000;
/** Connections that wait for a session; each is a local socket and a promise. */
const MAX_WAITING = 1024;
/** The relay says so at once, at the cost of one upgrade: asked every second, a session stands within one of the exit's return. */
const ABSENT_WAIT_MS = 1_000;
/** A session that stood for so long lets the backoff begin anew. */
const STOOD_MS = 10_000;

export interface ClientObserver {
  /** A session stands. `first` is false after a loss. */
  onConnected(info: { remote: string; first: boolean }): void;
  /** The session ended; the next attempt follows. */
  onLost(fault: WireFaultName): void;
  /** An attempt failed; the next comes in `waitMs`. */
  onFailed(error: WstunError, waitMs: number): void;
}

interface Waiter {
  resolve(session: SessionDriver): void;
  reject(error: WstunError): void;
}

export class TunnelClient implements StreamOpener {
  private readonly dialer: LinkDialer;
  private readonly observer: ClientObserver;
  private readonly logger: Logger;
  private readonly backoff = new Backoff();
  private readonly stopping = new AbortController();
  private readonly sessions = new Set<SessionDriver>();
  private readonly waiters = new Set<Waiter>();
  private current: SessionDriver | undefined;
  private connectedBefore = false;
  private readonly refusals = new RefusalPatience();
  /** The last attempt found no exit: nobody waits for the next. */
  private exitAbsent = false;

  constructor(dialer: LinkDialer, observer: ClientObserver, logger: Logger) {
    this.dialer = dialer;
    this.observer = observer;
    this.logger = logger;
  }

  /** Keeps a session until `close`. Rejects with a WstunError only when no further attempt could help (exit codes 76, 77). */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const error = await this.runOnce(signal);
      if (signal.aborted) return;
      if (error === undefined) continue;
      const waitMs = this.waitAfter(error);
      if (waitMs === undefined) throw this.failWaiters(error);
      this.observer.onFailed(error, waitMs);
      await delay(waitMs, undefined, { signal }).catch(() => {});
    }
  }

  /**
   * Undefined where no further attempt could help: a refused key, a removed access and another protocol do not change by trying
   * again. But once a session has stood, a refusal may be a captive portal's, or of a reverse proxy whose relay restarts.
   */
  private waitAfter(error: WstunError): number | undefined {
    const isAbsent = this.noteAbsence(error);
    if (error.fault === 'relay-refused') return this.connectedBefore ? this.refusals.next(Math.random()) : undefined;
    this.refusals.reset();
    if (FAULTS[error.fault].class === 'access' || error.fault === 'bad-version') return undefined;
    return isAbsent ? Math.random() * ABSENT_WAIT_MS : this.backoff.next(Math.random());
  }

  /** True where the exit is absent, which programs that wait are then told at once. */
  private noteAbsence(error: WstunError): boolean {
    this.exitAbsent = error.fault === 'exit-absent';
    if (this.exitAbsent) this.failWaiters(error);
    return this.exitAbsent;
  }

  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    const session = this.current ?? (await this.awaitSession(signal));
    return session.open(target, signal);
  }

  /** Streams live on for at most `graceMs`, then everything ends. */
  async close(graceMs: number): Promise<void> {
    this.stopping.abort();
    this.failWaiters(new WstunError('not-connected'));
    const drained = Promise.all([...this.sessions].map((session) => session.drain()));
    const limit = new AbortController();
    await Promise.race([drained, delay(graceMs, undefined, { signal: limit.signal }).catch(() => {})]);
    limit.abort();
    for (const session of this.sessions) session.end('shutting-down');
  }

  // ── one session ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Dials and serves one session until it ends or drains; returns why the next attempt should wait, if it should. */
  private async runOnce(signal: AbortSignal): Promise<WstunError | undefined> {
    let link: MessageLink;
    try {
      link = await this.dialer.dial(signal);
    } catch (error) {
      return error instanceof WstunError ? error : new WstunError('internal', String(error));
    }
    const since = performance.now();
    const fault = await this.runSession(link);
    const stood = performance.now() - since >= STOOD_MS;
    if (stood) this.backoff.reset();
    // A session that is to be replaced is replaced at once, unless it had hardly begun: that would be hammering.
    return fault === 'shutting-down' && stood ? undefined : new WstunError(fault);
  }

  /** Resolves when a new session is needed: with what ended this one, or `shutting-down` if it lives on, draining. */
  private runSession(link: MessageLink): Promise<WireFaultName> {
    return new Promise((resolve) => {
      const hello = setTimeout(() => session.end('peer-silent'), HELLO_LIMIT_MS);
      const session = new SessionDriver({
        mux: { ...DEFAULT_MUX_CONFIG, role: 'client' },
        link,
        logger: this.logger,
        onEstablished: () => {
          clearTimeout(hello);
          this.handleEstablished(session);
        },
        onNoMoreStreams: () => {
          this.forgetCurrent(session);
          void session.drain().then(() => session.end('shutting-down'));
          resolve('shutting-down');
        },
        onEnd: (fault) => {
          clearTimeout(hello);
          this.sessions.delete(session);
          if (this.forgetCurrent(session) && !this.stopping.signal.aborted) this.observer.onLost(fault);
          resolve(fault);
        },
      });
      this.sessions.add(session);
    });
  }

  private handleEstablished(session: SessionDriver): void {
    this.current = session;
    this.exitAbsent = false;
    this.observer.onConnected({ remote: session.remote, first: !this.connectedBefore });
    this.connectedBefore = true;
    for (const waiter of [...this.waiters]) waiter.resolve(session);
  }

  private forgetCurrent(session: SessionDriver): boolean {
    if (this.current !== session) return false;
    this.current = undefined;
    return true;
  }

  // ── waiting for a session ─────────────────────────────────────────────────────────────────────────────────────────────────

  private awaitSession(signal: AbortSignal): Promise<SessionDriver> {
    if (this.exitAbsent) return Promise.reject(new WstunError('exit-absent'));
    if (this.stopping.signal.aborted || this.waiters.size >= MAX_WAITING) {
      return Promise.reject(new WstunError('not-connected'));
    }
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
    const told = error.fault === 'exit-absent' ? error.fault : 'not-connected';
    for (const waiter of [...this.waiters]) waiter.reject(new WstunError(told));
    return error;
  }
}
