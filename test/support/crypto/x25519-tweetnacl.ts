/**
 * X25519 by tweetnacl: a second implementation of the DH functions, the oracle for the first. Zeros for low-order
 * points.
 */
import nacl from 'tweetnacl';
import type { DhFunctions } from '../../../src/crypto/x25519.ts';
import { importKeyPair } from '../../../src/crypto/x25519.ts';

export const tweetnaclX25519: DhFunctions = {
  generateKeyPair: () => importKeyPair(nacl.box.keyPair().secretKey),
  dh({ privateKey }, publicKey) {
    return nacl.scalarMult(Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url'), publicKey);
  },
};
