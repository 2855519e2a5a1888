/**
 * How many opens this end may still give up before the peer takes it for a flood (docs/protocol.md §9). An open that is
 * under way may yet be given up, so each holds its place here until it is answered. Pure.
 */
import type { RateLimit } from './config.ts';

export class GiveUps {
  private readonly limit: RateLimit;
  private tokens: number;
  private underWay = 0;
  private updated: number;

  constructor(limit: RateLimit, now: number) {
    this.limit = limit;
    this.tokens = limit.burst;
    this.updated = now;
  }

  /**
   * Takes a place for an open. `underWay` and tokens together are never more than the burst, so that no pause saves up
   * for two.
   */
  take(now: number): boolean {
    const earned = (Math.max(0, now - this.updated) * this.limit.perSecond) / 1000;
    this.tokens = Math.min(this.limit.burst - this.underWay, this.tokens + earned);
    this.updated = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    this.underWay += 1;
    return true;
  }

  /** The open was answered, or had not gone out. */
  giveBack(): void {
    this.underWay -= 1;
    this.tokens += 1;
  }

  /** The open was given up. */
  spend(): void {
    this.underWay -= 1;
  }

  /** When to try again after `take` said no, ms. */
  retryAt(now: number): number {
    return now + (Math.max(0, 1 - this.tokens) * 1000) / this.limit.perSecond;
  }
}
