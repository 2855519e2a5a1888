/**
 * How often each peer may have something. Pure; milliseconds are passed in.
 *
 * Being over the rate passes with time, and harms nobody else.
 */
import { type RateLimit, TokenBucket } from '../limits/token-bucket.ts';

export class PeerLinkRates {
  private readonly rate: RateLimit;
  /** Of those that are not full: an idle peer costs nothing after the next sweep. */
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(rate: RateLimit) {
    this.rate = rate;
  }

  /** Takes one of the peer's; false if there is none. */
  take(peer: string, now: number): boolean {
    const bucket = this.buckets.get(peer) ?? new TokenBucket(this.rate, now);
    this.buckets.set(peer, bucket);
    return bucket.acquire(now);
  }

  /** Frees what is full again; to be called once in a while. */
  sweep(now: number): void {
    for (const [peer, bucket] of this.buckets) if (bucket.isFull(now)) this.buckets.delete(peer);
  }
}
