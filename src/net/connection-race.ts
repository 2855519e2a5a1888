/** When attempts at one connection start ("Happy Eyeballs", RFC 8305 §4, §5): to an address or by a page. Pure. */

/** How long an attempt runs before the next one starts, ms: RFC 8305 §5, "Connection Attempt Delay". */
export const ATTEMPT_DELAY_MS = 250;
/** Addresses tried for one name; also the sockets that a race can hold at once. Three of each family, and to spare. */
export const MAX_ATTEMPTS = 8;

/** RFC 8305 §4: two families in turn, each in its own order. */
export function alternate<A>(first: readonly A[], second: readonly A[]): A[] {
  const mixed: A[] = [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    mixed.push(...first.slice(i, i + 1), ...second.slice(i, i + 1));
  }
  return mixed;
}

/**
 * One race. Calling order: `poll` at the start, after each `handleFailed`, and at `nextTimeout`, until it returns
 * nothing; the attempt that it returns must be started at once. The first to connect has won, which ends the race:
 * there is nothing to call for it.
 */
export class ConnectionRace<A> {
  private readonly attemptDelayMs: number;
  private readonly maxAttempts: number;
  private readonly waiting: A[] = [];
  private started = 0;
  private running = 0;
  private nextAt = Number.NEGATIVE_INFINITY;

  /** @param attempts in the order in which they are to start; those beyond `maxAttempts` are left out */
  constructor(attempts: readonly A[], { attemptDelayMs = ATTEMPT_DELAY_MS, maxAttempts = MAX_ATTEMPTS } = {}) {
    this.attemptDelayMs = attemptDelayMs;
    this.maxAttempts = maxAttempts;
    this.add(attempts);
  }

  /** More of them, which have become known late. */
  add(attempts: readonly A[]): void {
    this.waiting.push(...attempts.slice(0, this.maxAttempts - this.started - this.waiting.length));
  }

  poll(now: number): A | undefined {
    if (now < this.nextAt) return undefined;
    const attempt = this.waiting.shift();
    if (attempt === undefined) return undefined;
    this.started += 1;
    this.running += 1;
    this.nextAt = now + this.attemptDelayMs;
    return attempt;
  }

  /** An attempt has failed: the next need not wait. */
  handleFailed(): void {
    this.running -= 1;
    this.nextAt = Number.NEGATIVE_INFINITY;
  }

  /** When `poll` gives the next attempt; Infinity if there is none. */
  nextTimeout(): number {
    return this.waiting.length === 0 ? Number.POSITIVE_INFINITY : this.nextAt;
  }

  get isLost(): boolean {
    return this.running === 0 && this.waiting.length === 0;
  }
}
