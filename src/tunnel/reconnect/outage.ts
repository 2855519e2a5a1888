/**
 * Decides after each failure of a client or an exit whether another attempt could help, and how long to wait for it.
 * Pure: time and random numbers are passed in.
 *
 * Only what the relay or the exit has proved is final. Any other answer, 404 included, may come from something in front
 * of the relay that is gone in a minute; a process that ended for it would need a person to start it again
 * (docs/adr/0015-what-is-final.md).
 */
import type { FaultName, WstunError } from '../../errors.ts';
import { type Backoff, ExponentialDelays, type RetryDelays } from './backoff.ts';

/** Proved by a key that the invite pins; waiting does not help. */
const FINAL: ReadonlySet<FaultName> = new Set(['keys-rotated', 'bad-version']);

/** Only refusals for so long, ms, make a proven removal final: a list may be half written while it is edited. */
const REMOVAL_FINAL_MS = 60_000;
/** The faults of a peer whose access was removed. */
const REFUSALS: ReadonlySet<FaultName> = new Set(['access-removed', 'relay-refused']);

/** A failure is a lasting one after this, ms: a relay, or a proxy in front of it, restarts in less. */
export const LASTING_MS = 10_000;

/** For refusals, which may be final: asking more often does not help. Seconds. */
const LONGEST_REFUSED_S = 60;

/** Failures whose waits have spans of their own. */
const PAUSES: Readonly<Partial<Record<FaultName, RetryDelays>>> = {
  // An upgrade each: a thousand clients that wait ask a relay 70 times a second, and all are back within 23 s of their
  // exit's return. The first comes soon: after the restart of a relay the exit is often only the second to be back.
  'exit-absent': { firstS: 0.5, longestS: 15 },
  // Up to a minute. Quick at first: an exit started by hand beside the service is often ended soon.
  'exit-replaced': { firstS: 1, longestS: 40 },
  // Clients that come again at once keep the relay from recovering.
  'relay-full': { firstS: 5, longestS: 40 },
  'too-often': { firstS: 5, longestS: 40 },
};

/** Whether no further attempt could help, whatever came before. */
export function isFinal(fault: FaultName): boolean {
  return FINAL.has(fault);
}

/** What follows from a failure. */
export type FailureDecision = { readonly waitMs: number } | { readonly final: WstunError };

export interface OutageOptions {
  /** Shared with the code that reports lost links to it. */
  readonly backoff: Backoff;
  /** The first failure is final; after something was established, the first lasting one. */
  readonly once?: boolean | undefined;
  /** Default REMOVAL_FINAL_MS. */
  readonly removalFinalMs?: number | undefined;
}

export class Outage {
  private readonly pauses = new ExponentialDelays();
  private wasEstablished = false;
  private failingSince: number | undefined;
  private lastFault: FaultName | undefined;
  /** The proof that the access was removed, and since when there have been only refusals. */
  private removal: { readonly proof: WstunError; since: number | undefined } | undefined;

  constructor(private readonly options: OutageOptions) {}

  /** A session is established or resumed; an exit is registered. */
  handleEstablished(): void {
    this.wasEstablished = true;
    this.failingSince = undefined;
    this.lastFault = undefined;
    this.removal = undefined;
    this.pauses.reset();
  }

  /** The exit has said, under a session's keys, that the access was removed; it may be restored. */
  noteRemoval(proof: WstunError, now: number): void {
    this.removal ??= { proof, since: now };
  }

  /** @param random 0..1 */
  handleFailure(error: WstunError, now: number, random: number): FailureDecision {
    const { fault } = error;
    if (FINAL.has(fault)) return { final: error };
    if (fault === 'access-removed') this.noteRemoval(error, now);
    const removal = this.decideRemoval(fault, now);
    if (removal !== undefined && removal.leftMs <= 0) return { final: removal.proof };
    this.failingSince ??= now;
    if (this.options.once && (!this.wasEstablished || now - this.failingSince >= LASTING_MS)) return { final: error };
    const waitMs = this.waitAfter(fault, random);
    return { waitMs: removal === undefined ? waitMs : Math.min(waitMs, removal.leftMs) };
  }

  /** Undefined where there is no proof. */
  private decideRemoval(fault: FaultName, now: number): { proof: WstunError; leftMs: number } | undefined {
    const { removal } = this;
    if (removal === undefined) return undefined;
    if (!REFUSALS.has(fault)) {
      removal.since = undefined;
      return undefined;
    }
    removal.since ??= now;
    return { proof: removal.proof, leftMs: removal.since + (this.options.removalFinalMs ?? REMOVAL_FINAL_MS) - now };
  }

  private waitAfter(fault: FaultName, random: number): number {
    if (fault !== this.lastFault) this.pauses.reset();
    this.lastFault = fault;
    const own = PAUSES[fault];
    if (own !== undefined) return this.pauses.next(own, random);
    return REFUSALS.has(fault)
      ? this.options.backoff.next(random, LONGEST_REFUSED_S)
      : this.options.backoff.next(random);
  }
}
