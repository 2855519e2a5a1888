/** A rate limit that allows bursts, with time passed in. Pure. */
import type { RateLimit } from './config.ts';

export class TokenBucket {
  private tokens: number;
  private updated: number;
  private readonly limit: RateLimit;

  constructor(limit: RateLimit, now: number) {
    this.limit = limit;
    this.tokens = limit.burst;
    this.updated = now;
  }

  /** Takes one token; false if there is none. `now` in ms. */
  take(now: number): boolean {
    if (this.isEmpty(now)) return false;
    this.tokens -= 1;
    return true;
  }

  isEmpty(now: number): boolean {
    const refilled = this.tokens + (Math.max(0, now - this.updated) * this.limit.perSecond) / 1000;
    // Tokens given beyond the burst are kept: refilling must not take them away.
    this.tokens = Math.max(this.tokens, Math.min(this.limit.burst, refilled));
    this.updated = now;
    return this.tokens < 1;
  }

  /** Adds tokens, up to 16 bursts in all. */
  give(tokens: number): void {
    this.tokens = Math.min(this.limit.burst * 16, this.tokens + tokens);
  }
}
