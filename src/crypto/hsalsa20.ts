/** HSalsa20 (Bernstein, "Extending the Salsa20 nonce", 2011) with a zero input, as NaCl's `crypto_box_beforenm`. */

/** "expand 32-byte k" */
const SIGMA: readonly [number, number, number, number] = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
const DOUBLE_ROUNDS = 10;
/** The words of one quarter round each: columns, then rows. */
const QUARTERS: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [5, 9, 13, 1],
  [10, 14, 2, 6],
  [15, 3, 7, 11],
  [0, 1, 2, 3],
  [5, 6, 7, 4],
  [10, 11, 8, 9],
  [15, 12, 13, 14],
];
/** Which words are the output. */
const OUTPUT: readonly number[] = [0, 5, 10, 15, 6, 7, 8, 9];

/** @param key 32 bytes; returns 32 bytes */
export function hsalsa20(key: Uint8Array): Uint8Array {
  const input = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const words = new Int32Array(16);
  SIGMA.forEach((word, i) => {
    words[i * 5] = word;
  });
  for (let i = 0; i < 4; i++) {
    words[1 + i] = input.getInt32(4 * i, true);
    words[11 + i] = input.getInt32(16 + 4 * i, true);
  }
  for (let round = 0; round < DOUBLE_ROUNDS; round++)
    for (const [a, b, c, d] of QUARTERS) quarterRound(words, a, b, c, d);
  const output = new Uint8Array(32);
  const view = new DataView(output.buffer);
  OUTPUT.forEach((word, i) => {
    view.setInt32(4 * i, words[word] ?? 0, true);
  });
  return output;
}

function quarterRound(words: Int32Array, a: number, b: number, c: number, d: number): void {
  words[b] = at(words, b) ^ rotated(at(words, a) + at(words, d), 7);
  words[c] = at(words, c) ^ rotated(at(words, b) + at(words, a), 9);
  words[d] = at(words, d) ^ rotated(at(words, c) + at(words, b), 13);
  words[a] = at(words, a) ^ rotated(at(words, d) + at(words, c), 18);
}

function at(words: Int32Array, i: number): number {
  return words[i] ?? 0;
}

function rotated(sum: number, bits: number): number {
  return (sum << bits) | (sum >>> (32 - bits));
}
