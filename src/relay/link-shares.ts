/**
 * How many of a relay's links an exit may have: its control link, the clients that wait for it, and both links of each
 * that was led to it. Pure. An exit may have at most so many times as many as are still free: one alone gets four
 * fifths of all, and however many take all that they can, there is always room for another (dynamic thresholds:
 * Choudhury and Hahne, 1998).
 */

const TIMES_FREE = 4;
/** The client's, and the exit's that answers it. */
export const LINKS_OF_CALL = 2;

/**
 * Whether a client may be led to an exit.
 * @param held links that the exit has by now, those that it was called for included
 * @param free links that the relay can still take beyond those; the client's is taken already
 */
export function hasShare(held: number, free: number): boolean {
  const afterwards = free - (LINKS_OF_CALL - 1);
  return afterwards >= 0 && held + LINKS_OF_CALL <= TIMES_FREE * afterwards;
}
