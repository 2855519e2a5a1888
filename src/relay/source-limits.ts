/**
 * Which source an address belongs to, and which sources are under a penalty: pure, with time passed in. A client
 * without a ticket has no name, so that a relay can limit it only by its address. Every connection that ends without
 * becoming a link counts: if only rejected tickets counted, a prober could learn from the difference that this server
 * checks tickets.
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
/** Connections of a source under a penalty that are served: one of them may have a ticket. Over TLS 2 ms each. */
const SERVED_RATE: RateLimit = { perSecond: 10, burst: 10 };
/** Of all such sources: a twelfth of a core. */
const ALL_SERVED_RATE: RateLimit = { perSecond: 40, burst: 40 };

/** Times are milliseconds of any clock that does not run backwards. */
export class SourcePenalties {
  private readonly lockOut = new LockOut(PENALTIES, (now) => new TokenBucket(SERVED_RATE, now));
  private allServed: TokenBucket | undefined;

  /** How many sources are remembered, at most 4,096. */
  get size(): number {
    return this.lockOut.size;
  }

  isBlocked(source: string, now: number): boolean {
    return this.lockOut.isLocked(source, now);
  }

  /** Whether one more connection of a source may be served now; if so, it counts. Without a penalty always. */
  mayServe(source: string, now: number): boolean {
    if (!this.isBlocked(source, now)) return true;
    this.allServed ??= new TokenBucket(ALL_SERVED_RATE, now);
    const served = this.lockOut.memoOf(source, now);
    return !this.allServed.isEmpty(now) && served.acquire(now) && this.allServed.acquire(now);
  }

  /** A connection has ended without becoming a link. Returns the length of the penalty that begins, ms, or 0. */
  fail(source: string, now: number): number {
    // Connections that were open when the penalty began end during it, and must not count again.
    return this.isBlocked(source, now) ? 0 : this.lockOut.fail(source, now).waitMs;
  }

  /** A ticket was valid: a known peer is at that source. */
  clear(source: string): void {
    this.lockOut.clear(source);
  }
}

/** Behind a reverse proxy every connection comes from one of these; from the internet none does. */
const LOCAL: ReadonlySet<string | undefined> = new Set(['loopback', 'private', 'link-local', 'carrier-grade NAT']);

/** How the limits group connections. @param address `socket.remoteAddress`; local ones are exempt: undefined */
export function sourceOf(address: string | undefined): string | undefined {
  const ip = address === undefined ? undefined : parseSocketAddress(address);
  if (ip === undefined) return address;
  return LOCAL.has(rangeOf(ip)) ? undefined : sourceOfIp(ip);
}
