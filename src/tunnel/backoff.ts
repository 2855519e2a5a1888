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

/**
 * Seconds before the second, third and fourth attempt after refusals in a row, half of each by chance: 5.5 to 11 s in all. Long
 * enough for a reverse proxy whose relay restarts, short enough that somebody who was removed soon knows.
 */
const REFUSAL_WAITS_S: readonly number[] = [1, 3, 7];

/**
 * Patience with a relay that has let us in before and now answers as to a stranger: it may be another that answers. Apart from
 * `Backoff`, whose state is that of earlier losses: with it the same four refusals could take 26 s.
 */
export class RefusalPatience {
  private inARow = 0;

  /** Milliseconds before the next attempt, undefined when it is enough; `random` in 0..1. */
  next(random: number): number | undefined {
    const seconds = REFUSAL_WAITS_S[this.inARow++];
    return seconds === undefined ? undefined : (seconds * 1000 * (1 + random)) / 2;
  }

  /** Something other than a refusal came. */
  reset(): void {
    this.inARow = 0;
  }
}
