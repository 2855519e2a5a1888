/**
 * Judges the failures of a client or an exit: whether another attempt could help, and how long to wait for it. Pure:
 * time and chance are passed in.
 *
 * Only what the relay or the exit has proved is final. Whatever else answers, 404 included, may be something in front
 * of the relay that is gone in a minute, and whoever ends for it stays ended until a person comes
 * (docs/adr/0015-what-is-final.md).
 */
import type { FaultName, WstunError } from '../../errors.ts';
import { type Backoff, ExponentialDelays, type RetryDelays } from './backoff.ts';

/** Proved by a key that the invite pins, and not to be mended by waiting. */
const FINAL: ReadonlySet<FaultName> = new Set<FaultName>(['keys-rotated', 'bad-version']);

/**
 * So long, ms, nothing but refusals must come after the proof that an access was removed: a list may be empty, or half
 * written, while an editor or a deployment is at it.
 */
const REMOVAL_STANDS_MS = 60_000;
/** What refuses a peer whose access was removed. */
const REFUSALS: ReadonlySet<FaultName> = new Set<FaultName>(['access-removed', 'relay-refused']);

/** A failure that stays is a lasting one after this, ms: a relay, or a proxy in front of it, restarts in less. */
export const LASTING_MS = 10_000;

/** Of an answer that may be final for all that one knows: nobody is spared by asking more often. Seconds. */
const LONGEST_REFUSED_S = 60;

/** Failures whose waits have a measure of their own. */
const PAUSES: Readonly<Partial<Record<FaultName, RetryDelays>>> = {
  // An upgrade each: a thousand clients that wait ask a relay 70 times a second, and all are back within 23 s of their
  // exit's return. The first comes soon: after the restart of a relay the exit is often only the second to be back.
  'exit-absent': { firstS: 0.5, longestS: 15 },
  // Up to a minute. Quick at first: an exit started by hand beside the service is often ended soon.
  'exit-replaced': { firstS: 1, longestS: 40 },
  // Whoever comes again at once keeps the relay from what would help.
  'relay-full': { firstS: 5, longestS: 40 },
  'too-often': { firstS: 5, longestS: 40 },
};

/** Whether no further attempt could help, whatever came before. */
export function isFinal(fault: FaultName): boolean {
  return FINAL.has(fault);
}

export type Verdict = { readonly waitMs: number } | { readonly final: WstunError };

export interface OutageOptions {
  /** Shared with whoever tells it of lost links. */
  readonly backoff: Backoff;
  /** The first failure is final, or, once something stood, the first that lasts. */
  readonly once?: boolean | undefined;
  /** Default REMOVAL_STANDS_MS. */
  readonly removalStandsMs?: number | undefined;
}

export class Outage {
  private readonly options: OutageOptions;
  private readonly pauses = new ExponentialDelays();
  private stoodBefore = false;
  private failingSince: number | undefined;
  private lastFault: FaultName | undefined;
  /** The proof that the access was removed, and since when nothing but refusals came. */
  private removal: { readonly proof: WstunError; since: number | undefined } | undefined;

  constructor(options: OutageOptions) {
    this.options = options;
  }

  /** A session stands, or is carried again; an exit is registered. */
  handleStanding(): void {
    this.stoodBefore = true;
    this.failingSince = undefined;
    this.lastFault = undefined;
    this.removal = undefined;
    this.pauses.reset();
  }

  /**
   * The exit has said, under the keys of a session, that the access was removed; an attempt may show that it is back.
   */
  noteRemoval(proof: WstunError, now: number): void {
    this.removal ??= { proof, since: now };
  }

  /** @param random 0..1 */
  handleFailure(error: WstunError, now: number, random: number): Verdict {
    const { fault } = error;
    if (FINAL.has(fault)) return { final: error };
    if (fault === 'access-removed') this.noteRemoval(error, now);
    const removal = this.judgeRemoval(fault, now);
    if (removal !== undefined && removal.leftMs <= 0) return { final: removal.proof };
    this.failingSince ??= now;
    if (this.options.once && (!this.stoodBefore || now - this.failingSince >= LASTING_MS)) return { final: error };
    const waitMs = this.waitAfter(fault, random);
    return { waitMs: removal === undefined ? waitMs : Math.min(waitMs, removal.leftMs) };
  }

  /** Undefined where there is no proof. */
  private judgeRemoval(fault: FaultName, now: number): { proof: WstunError; leftMs: number } | undefined {
    const { removal } = this;
    if (removal === undefined) return undefined;
    if (!REFUSALS.has(fault)) {
      removal.since = undefined;
      return undefined;
    }
    removal.since ??= now;
    return { proof: removal.proof, leftMs: removal.since + (this.options.removalStandsMs ?? REMOVAL_STANDS_MS) - now };
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
