/** The mask of a WebSocket's payload, RFC 6455 §5.3: applied and removed alike. Pure. */

const KEY_BYTES = 4;

/** In place, by words: bytes, as in `ws`, cost seven times as much. @param before bytes of the payload before these */
export function applyMask(bytes: Uint8Array, key: Uint8Array, before = 0): void {
  const { buffer, byteOffset, length } = bytes;
  // Words must be aligned in memory; the payload need not be.
  const start = Math.min(length, -byteOffset & (KEY_BYTES - 1));
  const words = new Int32Array(buffer, (byteOffset + start) & -KEY_BYTES, (length - start) >> 2);
  const word = keyWord(key, before + start);
  for (let i = 0; i < words.length; i++) words[i] = (words[i] ?? 0) ^ word;
  applyToBytes(bytes.subarray(0, start), key, before);
  const done = start + words.byteLength;
  applyToBytes(bytes.subarray(done), key, before + done);
}

/** One for all calls: a new one for each would cost as much as the mask of a small frame. */
const turned = new Uint8Array(KEY_BYTES);
const turnedWord = new Int32Array(turned.buffer);

/** The key for the word at `start` of the payload, in the machine's byte order. */
function keyWord(key: Uint8Array, start: number): number {
  for (let i = 0; i < KEY_BYTES; i++) turned[i] = key[(start + i) & (KEY_BYTES - 1)] ?? 0;
  return turnedWord[0] ?? 0;
}

function applyToBytes(bytes: Uint8Array, key: Uint8Array, before: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] ?? 0) ^ (key[(before + i) & (KEY_BYTES - 1)] ?? 0);
}
