/** Bytes that are kept, and were cut out of more that came. Pure. */
import { type Piece, release } from '../../memory/pieces.ts';

/** What is kept must not hold much more memory than its length. */
const RETAIN_FACTOR = 4;

/** Takes the bytes. The same ones: as they lie in memory, or a copy where they would keep much else. */
export function compact(bytes: Piece): Piece {
  if (bytes.length * RETAIN_FACTOR >= bytes.buffer.byteLength) return bytes;
  const copy = copyOf(bytes);
  release(bytes);
  return copy;
}

/** Not by `slice`, which copies nothing of a Buffer. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
