/** A rate limit for each peer, so that a peer that exceeds its rate affects no other. Pure. */
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';

export class PeerLinkRates {
  /** Those that are not full: an idle peer has none after the next sweep. */
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(private readonly rate: RateLimit) {}

  /** Takes a token of the peer; false if there is none. */
  take(peer: string, now: number): boolean {
    const bucket = this.buckets.get(peer) ?? new TokenBucket(this.rate, now);
    this.buckets.set(peer, bucket);
    return bucket.acquire(now);
  }

  /** Removes full buckets; to be called regularly. */
  sweep(now: number): void {
    for (const [peer, bucket] of this.buckets) if (bucket.isFull(now)) this.buckets.delete(peer);
  }
}
