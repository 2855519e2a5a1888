/** How long to wait before the next attempt to reach a relay. Pure: the random number is passed in. */

/** Links of this age, ms, begin the waits anew. Not longer: streams would wait where all links die in seconds. */
const LASTING_LINK_MS = 1_000;
/** So many links in a row may be lost sooner without a wait: a phone's page is reloaded, another takes over. */
const FORGIVEN_LINKS = 3;

/** Long enough not to overload a relay, short enough for a person to wait. */
const LONGEST_WAIT_S = 30;
/** Far beyond the longest wait, far below the range of a number. */
const MOST_ATTEMPTS = 16;

/** Whether a link did not end as soon as those that something cuts. @param livedMs since a session began to use it */
export function hasLasted(livedMs: number): boolean {
  return livedMs >= LASTING_LINK_MS;
}

/** No wait is shorter than this part of its span. */
const LEAST_SHARE = 1 / 2;

/**
 * Jitter over a doubling span: attempt k waits random × min(2^k − 1, 30) s, so attempt 0 comes at once, and a thousand
 * clients that lose a relay come back spread out. The random share is drawn once for all attempts of an outage, between
 * half and one, evenly by its logarithm: a client that waits long does so throughout, none is far behind all others,
 * and no second except the first sees over 1.85 × the mean, however long the relay was away. Drawn from 0 to 1 for each
 * attempt, it was up to 10.5 × (docs/adr/0009-resumption.md).
 *
 * Call `next` before each attempt, including the very first.
 */
export class Backoff {
  private attempts = 0;
  private share = 1;
  /** Links in a row that were lost sooner than LASTING_LINK_MS. */
  private shortLived = 0;

  /** Milliseconds before the next attempt. @param random 0..1, for new waits @param longestS of all spans */
  next(random: number, longestS = LONGEST_WAIT_S): number {
    if (this.attempts === 0) this.share = LEAST_SHARE ** (1 - random);
    const span = Math.min(2 ** this.attempts - 1, longestS);
    this.attempts = Math.min(this.attempts + 1, MOST_ATTEMPTS);
    return this.share * span * 1000;
  }

  /** A link or session is lost. True if the waits begin anew. @param livedMs 0 if the exit said that it is over */
  handleLost(livedMs: number): boolean {
    this.shortLived = hasLasted(livedMs) ? 0 : this.shortLived + 1;
    const isForgiven = this.shortLived <= FORGIVEN_LINKS;
    if (isForgiven) this.attempts = 0;
    return isForgiven;
  }

  /** A link was left for another one. What has lasted shows that not all links here are lost soon. */
  handleLeft(livedMs: number): void {
    if (hasLasted(livedMs)) this.shortLived = 0;
  }

  /** The user asks for an attempt, or the network has changed. */
  reset(): void {
    this.attempts = 0;
  }
}

/** How long the waits after one kind of failure are on average: doubling from the first to the longest, seconds. */
export interface RetryDelays {
  readonly firstS: number;
  readonly longestS: number;
}

/**
 * Waits with spans of their own, independent of `Backoff`, whose state is that of earlier losses. Each is drawn anew
 * between half and one and a half of its span: a thousand clients that began together are spread evenly after half a
 * minute.
 */
export class ExponentialDelays {
  private inARow = 0;

  /** Milliseconds before the next attempt; `random` in 0..1. */
  next({ firstS, longestS }: RetryDelays, random: number): number {
    const span = Math.min(firstS * 2 ** this.inARow, longestS);
    this.inARow = Math.min(this.inARow + 1, MOST_ATTEMPTS);
    return span * 1000 * (0.5 + random);
  }

  reset(): void {
    this.inARow = 0;
  }
}
