import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { Identity } from '../../src/crypto/keys.ts';
import { importKeyPair, x25519 } from '../../src/crypto/x25519.ts';
import { LOW_ORDER_POINTS } from '../support/crypto/low-order-points.ts';
import { tweetnaclX25519 } from '../support/crypto/x25519-tweetnacl.ts';

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('X25519', () => {
  it('X25519 computes the iterated vector of RFC 7748 §5.2', () => {
    const nine = Buffer.from('09'.padEnd(64, '0'), 'hex');
    const once = x25519.dh(importKeyPair(nine), nine);
    expect(Buffer.from(once).toString('hex')).toBe('422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079');
  });

  it('X25519 agrees with tweetnacl on all keys, also on public keys that were not generated', () => {
    fc.assert(
      fc.property(bytes32, bytes32, (secret, publicKey) => {
        const pair = importKeyPair(secret);
        expect(Buffer.from(x25519.dh(pair, publicKey))).toEqual(Buffer.from(tweetnaclX25519.dh(pair, publicKey)));
        expect(Buffer.from(pair.publicKey)).toEqual(Buffer.from(nacl.scalarMult.base(secret)));
      }),
      { numRuns: 20 },
    );
  });

  it('X25519 generates key pairs that agree with each other, never the same twice', () => {
    const [a, b] = [x25519.generateKeyPair(), x25519.generateKeyPair()];
    expect(a.publicKey).toHaveLength(32);
    expect(a.publicKey).not.toEqual(b.publicKey);
    expect(x25519.dh(a, b.publicKey)).toEqual(x25519.dh(b, a.publicKey));
  });

  it('X25519 imports the secret of an identity as the pair with its public key', () => {
    const identity = new Identity(randomBytes(32));
    expect(Buffer.from(importKeyPair(identity.exposeSessionKey()).publicKey)).toEqual(
      Buffer.from(identity.public.session),
    );
  });

  it.each(LOW_ORDER_POINTS)('X25519 rejects the low-order point %s, for which tweetnacl returns zeros', (hex) => {
    const point = Buffer.from(hex, 'hex');
    const pair = importKeyPair(Buffer.alloc(32, 7));
    expect(() => x25519.dh(pair, point)).toThrow();
    expect(Buffer.from(tweetnaclX25519.dh(pair, point))).toEqual(Buffer.alloc(32));
  });

  it('X25519 rejects keys of another length', () => {
    const pair = x25519.generateKeyPair();
    for (const length of [0, 31, 33]) {
      expect(() => x25519.dh(pair, new Uint8Array(length))).toThrow();
      expect(() => importKeyPair(new Uint8Array(length))).toThrow(RangeError);
    }
  });
});
