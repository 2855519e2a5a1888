/**
 * Which 32 bytes are a public key (docs/protocol.md §2.1). Pure. X25519 accepts any 32 bytes (RFC 7748 §5). It ignores
 * the highest bit and reduces what is above the prime, so that one key has several encodings. With the points of small
 * order it gives zero, a secret that everyone knows. No honest party has such a key.
 */

const KEY_BYTES = 32;
const HIGHEST_BIT = 0x80;

/** The points of small order, of the curve and its twist, canonical (https://cr.yp.to/ecdh.html#validate). */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]);

/** True for the canonical encoding of a number with which X25519 does not give zero. */
export function isPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== KEY_BYTES || ((bytes[KEY_BYTES - 1] ?? 0) & HIGHEST_BIT) !== 0 || isPrimeOrMore(bytes))
    return false;
  return !SMALL_ORDER.has(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex'));
}

/** 2^255 − 19 is ed ff … ff 7f, little-endian. */
function isPrimeOrMore(bytes: Uint8Array): boolean {
  const [lowest = 0] = bytes;
  return (
    bytes[KEY_BYTES - 1] === 0x7f && lowest >= 0xed && bytes.subarray(1, KEY_BYTES - 1).every((byte) => byte === 0xff)
  );
}
