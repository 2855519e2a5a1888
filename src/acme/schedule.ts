/** When a certificate is renewed, and when a failed attempt is tried again. Pure: times and chance are passed in. */

/** Of the calendar, ms since 1970. */
export interface Life {
  readonly from: number;
  readonly until: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Let's Encrypt permits five failed validations of a name in an hour. */
const FIRST_PAUSE_MS = MINUTE_MS;
const LONGEST_PAUSE_MS = 6 * HOUR_MS;
/** With a wrong clock, a new certificate can be due at once. */
const LEAST_BETWEEN_ORDERS_MS = HOUR_MS;
/** An authority that asks for more is tried all the same: it may have been mistaken. */
const LONGEST_RETRY_AFTER_MS = 7 * 24 * HOUR_MS;

/**
 * Two thirds of its life are over, or up to a thirtieth of it less: many that began together are spread over days.
 * @param chance 0 to 1
 */
export function renewalTime({ from, until }: Life, chance: number): number {
  return from + (until - from) * (2 / 3 - chance / 30);
}

/** How long after an order no other one may follow, for a certificate with that life. @returns ms */
export function leastPause({ from, until }: Life): number {
  return Math.min(LEAST_BETWEEN_ORDERS_MS, Math.max(MINUTE_MS, (until - from) / 3));
}

/**
 * A minute, doubled with each failure up to six hours, and up to a quarter of it more; never less than what the
 * authority asked for (Retry-After), up to a week.
 * @param failures in a row, at least 1. @param chance 0 to 1. @returns ms
 */
export function pauseAfter(failures: number, chance: number, retryAfterMs = 0): number {
  const step = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 30), LONGEST_PAUSE_MS);
  return Math.max(step, Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS)) * (1 + chance / 4);
}
