/** What a client has gone through so far, for its status. Pure: times are passed in, by one clock, ms. */
import type { FaultName, WstunError } from '../../errors.ts';
import type { Transferred } from './open-streams.ts';

export class ClientHistory {
  /** When the current session was established, or had a link again after it was lost. */
  connectedAt: number;
  /** When it was told to open no more streams. */
  closingAt: number | undefined;
  /** How often a lost link was followed by another one. */
  resumes = 0;
  /** Streams that ended with their session. */
  streamsLost = 0;
  /** When the next attempt is due, while it is waited for. */
  nextAttemptAt: number | undefined;
  private error: WstunError | undefined;
  private failedFor: FaultName | undefined;
  private failures = 0;
  private endedSent = 0;
  private endedReceived = 0;

  constructor(readonly startedAt: number) {
    this.connectedAt = startedAt;
  }

  /** The current session can carry streams. @param wasLost it had been without a link, or it is a new one */
  handleConnected(wasLost: boolean, now: number): void {
    if (wasLost) this.connectedAt = now;
    this.error = undefined;
    this.failedFor = undefined;
    this.failures = 0;
    this.nextAttemptAt = undefined;
  }

  /** An attempt failed. @param waitMs until the next one; undefined: none follows */
  handleFailed(error: WstunError, waitMs: number | undefined, now: number): void {
    this.failures = this.failedFor === error.fault ? this.failures + 1 : 1;
    this.failedFor = error.fault;
    this.error = error;
    this.nextAttemptAt = waitMs === undefined ? undefined : now + waitMs;
  }

  /** A session has ended after it was established. */
  handleSessionLost(error: WstunError): void {
    this.error = error;
    this.failedFor = undefined;
    this.failures = 0;
    this.nextAttemptAt = undefined;
  }

  /** The last that is known of a session's streams. */
  handleSessionOver({ sent, received }: Transferred, streamsLost: number): void {
    this.endedSent += sent;
    this.endedReceived += received;
    this.streamsLost += streamsLost;
  }

  /** Of sessions that are over. */
  get transferred(): Transferred {
    return { sent: this.endedSent, received: this.endedReceived };
  }

  /** Why there is no link, where that is known, and how often in a row an attempt failed for it. */
  get trouble(): { readonly error: WstunError | undefined; readonly failures: number } {
    return { error: this.error, failures: this.failures };
  }
}
