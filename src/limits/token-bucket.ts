/** A rate limit that allows bursts (a token bucket). Pure, time is passed in: milliseconds of any one clock. */

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** More than a burst: late frames of many streams that close at once are allowed for each. */
const MAX_BURSTS = 16;

export class TokenBucket {
  private tokens: number;
  private updatedAt: number;

  /** Full. */
  constructor(
    private readonly limit: RateLimit,
    now: number,
  ) {
    this.tokens = limit.burst;
    this.updatedAt = now;
  }

  /** Takes one token; false if there is none. */
  acquire(now: number): boolean {
    if (this.isEmpty(now)) return false;
    this.tokens -= 1;
    return true;
  }

  /** Takes one token in any case: what has come has come. Returns how many are owed by now. */
  spend(now: number): number {
    this.refill(now);
    this.tokens -= 1;
    return Math.max(0, -this.tokens);
  }

  isEmpty(now: number): boolean {
    this.refill(now);
    return this.tokens < 1;
  }

  /** It need not be remembered: a new one is no different. */
  isFull(now: number): boolean {
    this.refill(now);
    return this.tokens >= this.limit.burst;
  }

  /** Until `acquire` gives a token, ms; 0: now. */
  waitMs(now: number): number {
    return this.isEmpty(now) ? Math.ceil(((1 - this.tokens) / this.limit.perSecond) * 1000) : 0;
  }

  /** Up to `MAX_BURSTS` in all. */
  add(tokens: number): void {
    this.tokens = Math.min(this.limit.burst * MAX_BURSTS, this.tokens + tokens);
  }

  /** What was taken is not needed after all. */
  release(): void {
    this.tokens = Math.min(this.limit.burst, this.tokens + 1);
  }

  /** A clock that is set back adds none meanwhile. */
  private refill(now: number): void {
    const refilled = this.tokens + (Math.max(0, now - this.updatedAt) * this.limit.perSecond) / 1000;
    // Tokens that `add` gave beyond the burst stay: a refill must not take them away.
    this.tokens = Math.max(this.tokens, Math.min(this.limit.burst, refilled));
    this.updatedAt = now;
  }
}
