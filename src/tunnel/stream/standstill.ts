/** A bound for waits that may be long as long as something moves. Owns one timer; what moves is its caller's to say. */

/** Of the limit: how often is looked. */
const LOOKS = 8;

/**
 * Calls `onStandstill` once, when `measure` has given the same value for `limitMs`. Returns what ends it before.
 * @param measure anything that changes whenever there is progress
 */
export function onStandstill(measure: () => string | number, limitMs: number, onStandstill: () => void): () => void {
  let last = measure();
  let looks = 0;
  const timer = setInterval(() => {
    const now = measure();
    looks = now === last ? looks + 1 : 0;
    last = now;
    if (looks < LOOKS) return;
    clearInterval(timer);
    onStandstill();
  }, limitMs / LOOKS);
  timer.unref();
  return () => clearInterval(timer);
}
