/**
 * How many of a relay's links an exit may have: its control link, its held clients, and both links of each connected
 * client. Pure. An exit may have at most `SHARE_OF_FREE` times as many as are still free: one alone gets four fifths,
 * and there is always room for another (dynamic thresholds: Choudhury and Hahne, 1998).
 */

const SHARE_OF_FREE = 4;
/** The client's, and the one with which the exit answers. */
export const LINKS_PER_CLIENT = 2;

/**
 * @param held links of the exit, requested ones included
 * @param free links that the relay can still accept, without those that are kept for others
 */
export function hasShare(held: number, free: number): boolean {
  const afterwards = free - (LINKS_PER_CLIENT - 1);
  return afterwards >= 0 && held + LINKS_PER_CLIENT <= SHARE_OF_FREE * afterwards;
}
