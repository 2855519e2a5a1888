/** Received bytes that are kept must not hold much more memory than their length. Pure. */
import { own, type Piece, release } from './pieces.ts';

/** Received bytes may hold so many times their size: a full DATA frame of a 256 KiB read is not copied. */
const RETAIN_FACTOR = 8;

/** Copies a small piece of a large read: else a peer could use 64 KiB and more of our memory per byte of its credit. */
export function copiedIfSmall(bytes: Piece): Piece {
  if (bytes.length * RETAIN_FACTOR >= bytes.buffer.byteLength) return bytes;
  const copy = copied(bytes);
  release(bytes);
  return own(copy);
}

/** In memory of its own: in Node's pool each single byte could hold 8 KiB. */
export function copied(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}
