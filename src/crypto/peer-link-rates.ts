/**
 * How often each peer may have something: a burst, then so many a second (a token bucket). Pure; milliseconds are
 * passed in.
 *
 * Being over it passes by itself, and harms nobody else.
 */

export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

export class PeerLinkRates {
  private readonly rate: Rate;
  /** Of those that are not full: a peer that rests costs nothing after the next sweep. */
  private readonly buckets = new Map<string, Bucket>();

  constructor(rate: Rate) {
    this.rate = rate;
  }

  /** Takes one of the peer's; false if there is none. A clock that is set back gives none meanwhile. */
  take(peer: string, now: number): boolean {
    const bucket = this.buckets.get(peer) ?? { tokens: this.rate.burst, at: now };
    this.buckets.set(peer, bucket);
    bucket.tokens = this.tokensAt(bucket, now);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** Frees what is full again; to be called once in a while. */
  sweep(now: number): void {
    for (const [peer, bucket] of this.buckets) {
      if (this.tokensAt(bucket, now) >= this.rate.burst) this.buckets.delete(peer);
    }
  }

  private tokensAt({ tokens, at }: Bucket, now: number): number {
    const gained = (Math.max(0, now - at) / 1000) * this.rate.perSecond;
    return Math.min(this.rate.burst, tokens + gained);
  }
}
