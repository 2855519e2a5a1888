/**
 * A rate with a burst, that says how long to wait for the next turn. Pure: milliseconds of any clock that never runs
 * backwards.
 */

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export class Pace {
  private readonly rate: Rate;
  private tokens: number;
  private at: number;

  constructor(rate: Rate, now: number) {
    this.rate = rate;
    this.tokens = rate.burst;
    this.at = now;
  }

  /** Takes a turn if there is one. */
  take(now: number): boolean {
    const isFree = this.waitMs(now) === 0;
    if (isFree) this.spend(now);
    return isFree;
  }

  /** Takes a turn in any case: what has come has come. Returns how many turns it owes by now. */
  spend(now: number): number {
    this.refill(now);
    this.tokens -= 1;
    return Math.max(0, -this.tokens);
  }

  /** Until there is a turn; 0: now. */
  waitMs(now: number): number {
    this.refill(now);
    return this.tokens >= 1 ? 0 : Math.ceil(((1 - this.tokens) / this.rate.perSecond) * 1000);
  }

  /** As good as new: it need not be remembered. */
  isFull(now: number): boolean {
    this.refill(now);
    return this.tokens >= this.rate.burst;
  }

  private refill(now: number): void {
    const gained = (Math.max(0, now - this.at) * this.rate.perSecond) / 1000;
    this.tokens = Math.min(this.rate.burst, this.tokens + gained);
    this.at = now;
  }
}
