/** What somebody keeps of received bytes must not hold much more memory than it counts. Pure. */
import { own, type Piece, release } from './pieces.ts';

/**
 * Received bytes may hold this many times their size: a full DATA frame out of a 256 KiB read of a socket is not
 * copied.
 */
const RETAIN_FACTOR = 8;

/**
 * A small piece out of a large read, copied: who keeps it would keep the whole read alive, and a peer could make 64 KiB
 * and more of each byte that it has credit for.
 */
export function copiedIfSmall(bytes: Piece): Piece {
  if (bytes.length * RETAIN_FACTOR >= bytes.buffer.byteLength) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  release(bytes);
  return own(copy);
}
