/**
 * How many of a relay's links an exit may have: its control link, its held clients, and both links of each client that
 * is connected to it. Pure. An exit may have at most `SHARE_OF_FREE` times as many as are still free. One exit alone
 * gets four fifths of all, and however many exits take all they can, there is always room for another (dynamic
 * thresholds: Choudhury and Hahne, 1998).
 */

const SHARE_OF_FREE = 4;
/** The client's, and the one with which the exit answers. */
export const LINKS_PER_CLIENT = 2;

/**
 * Whether a client may be connected to an exit.
 * @param held links that the exit has now, those included that it was asked for
 * @param free links that the relay can still accept beyond those; the client's is taken already
 */
export function hasShare(held: number, free: number): boolean {
  const afterwards = free - (LINKS_PER_CLIENT - 1);
  return afterwards >= 0 && held + LINKS_PER_CLIENT <= SHARE_OF_FREE * afterwards;
}
