/**
 * The bytes that every bulk stream carries: byte i of a stream with tag T is pattern[(i + T) % PERIOD]. Both ends know
 * them, so a lost, doubled, swapped or foreign byte is found by one `memcmp`, which costs far less than a hash would.
 */

/** A prime: blocks of any round size that changed places do not match. Fits the second-level cache twice. */
const PERIOD = 262_139;

/** Twice in a row, so that any slice up to a period long lies in one piece. */
const bytes = Buffer.alloc(2 * PERIOD);
let random = 2_463_534_242;
for (let i = 0; i < PERIOD; i++) {
  // xorshift32 (Marsaglia 2003): the same bytes in every process.
  random ^= random << 13;
  random ^= random >>> 17;
  random ^= random << 5;
  bytes[i] = random >>> 8;
}
bytes.copy(bytes, PERIOD, 0, PERIOD);

/** What a stream carries from byte `at` on: `length` bytes, or a period if that is less. Must not be written to. */
export function patternAt(at: number, tag: number, length: number): Buffer {
  const start = (at + tag) % PERIOD;
  return bytes.subarray(start, start + Math.min(length, PERIOD));
}

export function matchesPattern(chunk: Buffer, at: number, tag: number): boolean {
  for (let done = 0; done < chunk.length; done += PERIOD) {
    const end = Math.min(chunk.length, done + PERIOD);
    const start = (at + done + tag) % PERIOD;
    if (bytes.compare(chunk, done, end, start, start + end - done) !== 0) return false;
  }
  return true;
}
