import { randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { isPublicKey } from '../../src/crypto/public-key.ts';
import { LOW_ORDER_POINTS, twinOf } from '../support/crypto/low-order-points.ts';

const P = 2n ** 255n - 19n;

function bytesOf(number: bigint): Uint8Array {
  return Uint8Array.from(Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse());
}

describe('isPublicKey', () => {
  it('isPublicKey accepts what X25519 makes of any secret', () => {
    for (let i = 0; i < 20; i++) {
      const { gate, session } = createIdentity().public;
      expect([isPublicKey(gate), isPublicKey(session), isPublicKey(twinOf(gate))]).toEqual([true, true, true]);
    }
  });

  it('isPublicKey rejects points of small order in any encoding', () => {
    for (const hex of LOW_ORDER_POINTS) {
      const point = Buffer.from(hex, 'hex');
      expect([hex, isPublicKey(point)]).toEqual([hex, false]);
      const secret = randomBytes(32);
      expect(nacl.scalarMult(secret, point).every((byte) => byte === 0)).toBe(true);
      point[31] = point[31]! | 0x80;
      expect([hex, isPublicKey(point)]).toEqual([hex, false]);
    }
  });

  it('isPublicKey accepts only 32 bytes below the prime, with the highest bit zero', () => {
    const good = [2n, 9n, P - 2n, P - 255n, 2n ** 254n];
    for (const number of good) expect([number, isPublicKey(bytesOf(number))]).toEqual([number, true]);
    for (const number of good) {
      const spelling = bytesOf(number + 2n ** 255n);
      expect([number, isPublicKey(spelling)]).toEqual([number, false]);
    }
    for (let number = P; number < 2n ** 255n; number++)
      expect([number, isPublicKey(bytesOf(number))]).toEqual([number, false]);
    for (const length of [0, 31, 33]) expect(isPublicKey(new Uint8Array(length).fill(9))).toBe(false);
  });
});
