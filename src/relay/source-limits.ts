/**
 * Where connections come from, and which sources knock too often: pure, with time passed in. Whoever has no ticket has
 * no name but an address, so this is all that a relay can hold against a stranger.
 *
 * Every connection that ends without having become a link counts, whatever was asked on it: if only refused tickets
 * counted, the difference would tell a prober that tickets are judged here.
 */
import { LockOut, type LockOutLimits } from '../limits/lock-out.ts';
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';
import { parseSocketAddress, sourceOfIp } from '../net/address-source.ts';
import { rangeOf } from '../net/special-ranges.ts';

const PENALTIES: LockOutLimits = {
  /** 20 connections at once and 2 a second for ever are a browser at a 404, or a wrong clock; a scanner is above. */
  freeFailures: 20,
  forgivenPerSecond: 2,
  isFreeAgain: true,
  /** As OpenSSH's PerSourcePenalties (sshd_config(5)): 5 s for a failed authentication, 10 min at most. */
  firstMs: 5_000,
  mostMs: 600_000,
  /** As long as the longest, so that waiting it out is not rewarded at once. */
  forgetMs: 600_000,
  /** 0.2 KB each. An attacker with more networks than that is limited only by the bound on all connections. */
  maxSources: 4_096,
};
/**
 * Connections of a source under a penalty that are heard all the same: one of them may have a ticket. Over TLS 2 ms
 * each.
 */
const KNOCKS: RateLimit = { perSecond: 10, burst: 10 };
/** Of all such sources: a twelfth of a core. */
const ALL_KNOCKS: RateLimit = { perSecond: 40, burst: 40 };

/** Times are milliseconds of any clock that does not run backwards. */
export class SourcePenalties {
  private readonly lockOut = new LockOut(PENALTIES, (now) => new TokenBucket(KNOCKS, now));
  private allKnocks: TokenBucket | undefined;

  /** How many sources are remembered, at most 4,096. */
  get size(): number {
    return this.lockOut.size;
  }

  isBlocked(source: string, now: number): boolean {
    return this.lockOut.isLocked(source, now);
  }

  /**
   * Whether one more connection of a blocked source may be heard now, and takes that turn. A source that is not blocked
   * always may.
   */
  mayKnock(source: string, now: number): boolean {
    if (!this.isBlocked(source, now)) return true;
    this.allKnocks ??= new TokenBucket(ALL_KNOCKS, now);
    const knocks = this.lockOut.memoOf(source, now);
    return !this.allKnocks.isEmpty(now) && knocks.acquire(now) && this.allKnocks.acquire(now);
  }

  /** A connection has ended without becoming a link. Returns the penalty that this begins, in milliseconds, or 0. */
  fail(source: string, now: number): number {
    // What was under way when the penalty began ends during it, and is not held against the source twice.
    return this.isBlocked(source, now) ? 0 : this.lockOut.fail(source, now).waitMs;
  }

  /** A ticket was good: the source has a peer that we know. */
  clear(source: string): void {
    this.lockOut.clear(source);
  }
}

/** Behind a reverse proxy every connection comes from one of these; from the internet none does. */
const LOCAL: ReadonlySet<string | undefined> = new Set(['loopback', 'private', 'link-local', 'carrier-grade NAT']);

/**
 * How the limits by address group connections. Undefined for loopback, private and link-local addresses, which are
 * exempt.
 * @param address as `socket.remoteAddress` has it
 */
export function sourceOf(address: string | undefined): string | undefined {
  const ip = address === undefined ? undefined : parseSocketAddress(address);
  if (ip === undefined) return address;
  return LOCAL.has(rangeOf(ip)) ? undefined : sourceOfIp(ip);
}
