/** A rate limit that allows bursts, with time passed in. Pure. */
import type { RateLimit } from './config.ts';

/** More than a burst: late frames of many streams that close at once are allowed for each. */
const MAX_BURSTS = 16;

export class TokenBucket {
  private tokens: number;
  private updatedAt: number;
  private readonly limit: RateLimit;

  constructor(limit: RateLimit, now: number) {
    this.limit = limit;
    this.tokens = limit.burst;
    this.updatedAt = now;
  }

  /** Takes one token; false if there is none. `now` in ms. */
  acquire(now: number): boolean {
    if (this.isEmpty(now)) return false;
    this.tokens -= 1;
    return true;
  }

  isEmpty(now: number): boolean {
    const refilled = this.tokens + (Math.max(0, now - this.updatedAt) * this.limit.perSecond) / 1000;
    // Tokens that `add` gave beyond the burst stay: a refill must not take them away.
    this.tokens = Math.max(this.tokens, Math.min(this.limit.burst, refilled));
    this.updatedAt = now;
    return this.tokens < 1;
  }

  /** Up to `MAX_BURSTS` in all. */
  add(tokens: number): void {
    this.tokens = Math.min(this.limit.burst * MAX_BURSTS, this.tokens + tokens);
  }
}
