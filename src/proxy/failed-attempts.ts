/**
 * Limits wrong guesses at the proxy's password by address. Pure, time is passed in.
 *
 * Only guesses that differ count: a program that keeps sending an old password has guessed once, and is not locked out.
 */
import { BoundedMap } from '../limits/bounded-map.ts';
import { LockOut, type LockOutLimits } from '../limits/lock-out.ts';
import { parseSocketAddress, sourceOfIp } from '../net/address-source.ts';

const LIMITS: LockOutLimits = {
  /** A person who types, and the old passwords of some programs. */
  freeFailures: 10,
  firstMs: 1_000,
  mostMs: 60_000,
  forgetMs: 10 * 60_000,
  /** A local network has fewer; an attacker who invents addresses pushes out only these. */
  maxSources: 256,
};

/** Times are milliseconds of any clock that does not run backwards. */
export class FailedAttemptLimiter {
  /** Of each source it remembers the last guesses, as digests. */
  private readonly lockOut = new LockOut(LIMITS, () => new BoundedMap<string, true>(LIMITS.freeFailures));

  constructor(private readonly onLockedOut: (address: string, waitMs: number) => void = () => {}) {}

  /** Whether credentials from there are rejected unread now. */
  isLocked(address: string, now: number): boolean {
    return this.lockOut.isLocked(sourceOf(address), now);
  }

  /** The credentials from there were wrong. @param guess a digest of them */
  noteWrong(address: string, guess: string, now: number): void {
    const source = sourceOf(address);
    const recent = this.lockOut.memoOf(source, now);
    if (recent.has(guess)) return this.lockOut.touch(source, now);
    recent.set(guess, true);
    const { waitMs } = this.lockOut.fail(source, now);
    if (waitMs > 0) this.onLockedOut(address, waitMs);
  }

  /** The credentials from there were right. */
  noteRight(address: string): void {
    this.lockOut.clear(sourceOf(address));
  }
}

function sourceOf(address: string): string {
  const ip = parseSocketAddress(address);
  return ip === undefined ? address : sourceOfIp(ip);
}
