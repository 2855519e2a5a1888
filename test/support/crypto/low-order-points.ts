/** Every X25519 public key, bit 255 aside, that makes zeros of any secret (https://cr.yp.to/ecdh.html#validate). */
export const LOW_ORDER_POINTS: readonly string[] = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

const P = 2n ** 255n - 19n;

/**
 * Another public key with which X25519 makes the same secrets: the sum of the point and the one of order two, (0, 0),
 * whose u-coordinate is 1/u. Private keys are multiples of eight (RFC 7748 §5), which lose the difference.
 */
export function twinOf(publicKey: Uint8Array): Uint8Array {
  const u = BigInt(`0x${Buffer.from(publicKey).reverse().toString('hex')}`);
  const hex = power(u, P - 2n)
    .toString(16)
    .padStart(64, '0');
  return Uint8Array.from(Buffer.from(hex, 'hex').reverse());
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base % P];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

/** What no honest party has for a public key: points of small order, and other spellings of `publicKey`. */
export function badKeys(publicKey: Uint8Array): Uint8Array[] {
  const points = LOW_ORDER_POINTS.map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')));
  const withHighestBit = (key: Uint8Array): Uint8Array => key.with(31, (key[31] ?? 0) | 0x80);
  return [...points, ...points.map(withHighestBit), withHighestBit(publicKey)];
}
