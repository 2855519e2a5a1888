/**
 * Which credentials a proxy has rejected, and when they may be tried again: accounts are locked after a few failures.
 * Other credentials are free at once. A state machine; time is passed in, ms, monotonic.
 */
import { BoundedMap } from '../../limits/bounded-map.ts';

/** After the first rejection, the second, and all further ones: four attempts in the first 45 minutes. */
const WAITS_MS: readonly number[] = [60_000, 10 * 60_000, 30 * 60_000];
/** Credentials remembered for one proxy: those of the URL, and of a file that changes. */
const MAX_REMEMBERED = 16;

interface Rejected {
  readonly times: number;
  readonly until: number;
}

export class WrongPasswords {
  private readonly rejected = new BoundedMap<string, Rejected>(MAX_REMEMBERED);
  private right: string | undefined;

  /** How long these must not be sent, ms; 0: they may be. @param fingerprint of the credentials */
  waitMs(fingerprint: string, now: number): number {
    return Math.max(0, (this.rejected.get(fingerprint)?.until ?? 0) - now);
  }

  /** They were right the last time. */
  isProven(fingerprint: string): boolean {
    return this.right === fingerprint;
  }

  /** The last credentials that were sent are wrong. */
  get isLocked(): boolean {
    return this.right === undefined && this.rejected.size > 0;
  }

  handleRejected(fingerprint: string, now: number): void {
    const times = this.rejected.get(fingerprint)?.times ?? 0;
    const wait = WAITS_MS[Math.min(times, WAITS_MS.length - 1)] ?? 0;
    this.rejected.set(fingerprint, { times: times + 1, until: now + wait });
    this.right = undefined;
  }

  handleAccepted(fingerprint: string): void {
    this.rejected.delete(fingerprint);
    this.right = fingerprint;
  }
}
