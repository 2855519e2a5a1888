/**
 * Where connections come from, and which sources knock too often: pure, with time passed in. Whoever has no ticket has
 * no name but an address, so this is all that a relay can hold against a stranger.
 *
 * Every connection that ends without having become a link counts, whatever was asked on it: if only refused tickets
 * counted, the difference would tell a prober that tickets are judged here.
 */
import { parseSocketAddress, sourceOfIp } from '../net/address-source.ts';
import { rangeOf } from '../net/special-ranges.ts';
import { Pace, type Rate } from './notice-rate.ts';

/** 20 connections at once and 2 a second for ever are a browser at a 404, or a wrong clock; a scanner is above. */
const FREE_FAILURES = 20;
const FORGIVEN_PER_SECOND = 2;
/** As OpenSSH's PerSourcePenalties (sshd_config(5)): 5 s for a failed authentication, 10 min at most. */
const FIRST_PENALTY_MS = 5_000;
const MAX_PENALTY_MS = 600_000;
/**
 * Connections of a source under a penalty that are heard all the same: one of them may have a ticket. Over TLS 2 ms
 * each.
 */
const KNOCKS: Rate = { perSecond: 10, burst: 10 };
/** Of all such sources: a twelfth of a core. */
const ALL_KNOCKS: Rate = { perSecond: 40, burst: 40 };
/** After a penalty, without another failure. As long as the longest, so that waiting it out is not rewarded at once. */
const FORGET_MS = 600_000;
/** 0.2 KB each. An attacker with more networks than that is held by the bound on all connections alone. */
const MAX_SOURCES = 4_096;

interface Source {
  /** Failures not forgiven yet, as of `at`. */
  failures: number;
  at: number;
  /** Length of the last penalty; 0 before the first. */
  penaltyMs: number;
  until: number;
  knocks: Pace | undefined;
}

/** Times are milliseconds of any clock that does not run backwards. */
export class SourcePenalties {
  /** The one that failed longest ago first. */
  private readonly sources = new Map<string, Source>();
  private allKnocks: Pace | undefined;

  /** How many sources are remembered, at most 4,096. */
  get size(): number {
    return this.sources.size;
  }

  isBlocked(source: string, now: number): boolean {
    return now < (this.sources.get(source)?.until ?? now);
  }

  /**
   * Whether one more connection of a blocked source may be heard now, and takes that turn. Whoever is not blocked
   * always may.
   */
  mayKnock(source: string, now: number): boolean {
    const entry = this.sources.get(source);
    if (entry === undefined || now >= entry.until) return true;
    this.allKnocks ??= new Pace(ALL_KNOCKS, now);
    entry.knocks ??= new Pace(KNOCKS, now);
    return this.allKnocks.waitMs(now) === 0 && entry.knocks.take(now) && this.allKnocks.take(now);
  }

  /** A connection has ended without becoming a link. Returns the penalty that this begins, in milliseconds, or 0. */
  fail(source: string, now: number): number {
    const entry = this.recall(source, now);
    // What was under way when the penalty began ends during it, and is not held against the source twice.
    if (now < entry.until) return 0;
    const forgiven = ((now - entry.at) / 1000) * FORGIVEN_PER_SECOND;
    entry.failures = Math.max(0, entry.failures - forgiven) + 1;
    entry.at = now;
    this.remember(source, entry);
    if (entry.failures <= FREE_FAILURES) return 0;
    entry.failures = 0;
    entry.penaltyMs = Math.min(MAX_PENALTY_MS, Math.max(FIRST_PENALTY_MS, entry.penaltyMs * 2));
    entry.until = now + entry.penaltyMs;
    return entry.penaltyMs;
  }

  /** A ticket was good: somebody whom we know is there. */
  clear(source: string): void {
    this.sources.delete(source);
  }

  private recall(source: string, now: number): Source {
    const entry = this.sources.get(source);
    const isFresh = entry !== undefined && now < Math.max(entry.until, entry.at) + FORGET_MS;
    return isFresh ? entry : { failures: 0, at: now, penaltyMs: 0, until: now, knocks: undefined };
  }

  private remember(source: string, entry: Source): void {
    this.sources.delete(source);
    this.sources.set(source, entry);
    if (this.sources.size <= MAX_SOURCES) return;
    for (const oldest of this.sources.keys()) {
      this.sources.delete(oldest);
      return;
    }
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
