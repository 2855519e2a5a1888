/**
 * Keeps one listener at the exit for as long as the client runs: when to ask for it again, and what to tell. Pure: time
 * and chance are passed in.
 */
import type { FaultName, WstunError } from '../errors.ts';
import { ExponentialDelays } from '../tunnel/reconnect/backoff.ts';
import type { Target } from '../tunnel/stream/stream.ts';

/** The exit may keep the port for a session of ours that is gone, for 120 s; or its owner may allow it at any time. */
const AFTER_REFUSAL = { firstS: 1, longestS: 15 };
/** Each attempt waits for a session by itself, or fails at once without cost. */
const NOT_CONNECTED_MS = 1_000;
/** Nobody has refused it: there is no session, or it was lost on the way. The client tells these itself. */
const OF_SESSION: ReadonlySet<string> = new Set<FaultName>([
  ...(['not-connected', 'link-lost', 'peer-silent', 'shutting-down', 'overloaded', 'dial-timed-out'] as const),
  ...(['session-closed', 'session-unknown', 'session-expired', 'session-gap'] as const),
]);
/** A listener that has lasted so long, ms, was no mistake: it is asked for again at once. */
const LASTING_MS = 1_000;

export type KeeperNotice =
  /** `isAgain`: it was lost or refused before. */
  | { readonly state: 'listening'; readonly bound: Target; readonly isAgain: boolean }
  /** wstun tries again. */
  | { readonly state: 'refused'; readonly error: WstunError }
  | { readonly state: 'lost'; readonly error: WstunError };

export interface NextAttempt {
  readonly notice: KeeperNotice | undefined;
  /** Until the next attempt. */
  readonly waitMs: number;
}

export class ListenerKeeper {
  private readonly delays = new ExponentialDelays();
  private told: 'nothing' | 'listening' | 'trouble' = 'nothing';
  /** The last refusal that was told. */
  private refusal: string | undefined;
  private since = 0;
  /** What the exit has chosen for port 0: programs know it by now. */
  private chosenPort: number | undefined;

  constructor(private readonly wished: Target) {}

  /** What to ask for next. */
  get address(): Target {
    return this.chosenPort === undefined ? this.wished : { ...this.wished, port: this.chosenPort };
  }

  /** @param now ms */
  handleListening(bound: Target, now: number): KeeperNotice {
    const isAgain = this.told !== 'nothing';
    this.told = 'listening';
    this.refusal = undefined;
    this.since = now;
    if (this.wished.port === 0) this.chosenPort = bound.port;
    return { state: 'listening', bound, isAgain };
  }

  /** An attempt has failed. @param random as of Clock */
  handleFailed(error: WstunError, random: number): NextAttempt {
    if (OF_SESSION.has(error.fault)) return { notice: undefined, waitMs: NOT_CONNECTED_MS };
    if (this.chosenPort !== undefined) {
      this.chosenPort = undefined;
      return { notice: undefined, waitMs: 0 };
    }
    const waitMs = this.delays.next(AFTER_REFUSAL, random);
    if (this.refusal === error.fault) return { notice: undefined, waitMs };
    this.refusal = error.fault;
    this.told = 'trouble';
    return { notice: { state: 'refused', error }, waitMs };
  }

  /** It listened, and does no longer. */
  handleEnded(error: WstunError, now: number, random: number): NextAttempt {
    this.told = 'trouble';
    const hasLasted = now - this.since >= LASTING_MS;
    if (hasLasted) this.delays.reset();
    // What the exit itself has closed stays closed for a while.
    const isOfExit = error.fault.startsWith('listen-');
    if (isOfExit) this.refusal = error.fault;
    const waitMs = hasLasted && !isOfExit ? 0 : this.delays.next(AFTER_REFUSAL, random);
    return { notice: { state: 'lost', error }, waitMs };
  }
}
