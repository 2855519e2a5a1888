/** A limit for waits that may be long as long as there is progress. Owns one timer; the caller measures progress. */
import type { Clock, Timer } from '../../clock.ts';

/** So often in the limit the measure is taken. */
const LOOKS = 8;

/** Calls `onStandstill` once `measure` has stayed the same for `limitMs`. Returns a function that ends the watch. */
export function onStandstill(
  clock: Clock,
  measure: () => string | number,
  limitMs: number,
  onStandstill: () => void,
): () => void {
  let last = measure();
  let looks = 0;
  const look = (): void => {
    const now = measure();
    looks = now === last ? looks + 1 : 0;
    last = now;
    if (looks < LOOKS) timer = begin();
    else onStandstill();
  };
  const begin = (): Timer => {
    const begun = clock.setTimeout(look, limitMs / LOOKS);
    begun.unref();
    return begun;
  };
  let timer = begin();
  return () => clock.clearTimeout(timer);
}
