/** How long to wait before the next attempt to reach a relay. Pure: the random number is passed in. */

/** So many seconds at most: long enough not to hammer, short enough for a person to wait. */
const LONGEST_WAIT_S = 30;

/**
 * Full jitter over a doubling span (attempt k waits random × min(2^k − 1, 30) s), so that a thousand clients that lose a relay
 * at once come back spread out. The first attempt does not wait.
 */
export class Backoff {
  private failures = 0;

  /** Milliseconds before the next attempt; `random` in 0..1. */
  next(random: number): number {
    this.failures = Math.min(this.failures + 1, 16);
    return random * Math.min(2 ** this.failures - 1, LONGEST_WAIT_S) * 1000;
  }

  /** To be called only when a session has stood for a while: a relay that accepts and then drops must not be hammered. */
  reset(): void {
    this.failures = 0;
  }
}
