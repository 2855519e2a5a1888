/** Opens that may be reset unanswered before it is an attack (docs/protocol.md §9). Each holds a token. Pure. */
import type { RateLimit } from '../limits/token-bucket.ts';

export class RapidResets {
  private tokens: number;
  private opening = 0;
  private updatedAt: number;

  constructor(
    private readonly limit: RateLimit,
    now: number,
  ) {
    this.tokens = limit.burst;
    this.updatedAt = now;
  }

  /** For an open. Held and free tokens are together never more than the burst, so that no pause saves up for two. */
  acquire(now: number): boolean {
    const earned = (Math.max(0, now - this.updatedAt) * this.limit.perSecond) / 1000;
    this.tokens = Math.min(this.limit.burst - this.opening, this.tokens + earned);
    this.updatedAt = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    this.opening += 1;
    return true;
  }

  /** The open was answered, or had not gone out. */
  release(): void {
    this.opening -= 1;
    this.tokens += 1;
  }

  spend(): void {
    this.opening -= 1;
  }

  /** When to try again after `acquire` returned false, ms. */
  retryAt(now: number): number {
    return now + (Math.max(0, 1 - this.tokens) * 1000) / this.limit.perSecond;
  }
}
