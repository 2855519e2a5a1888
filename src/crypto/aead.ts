/** The cipher functions of Noise (rev 34, §4.2): AEAD_CHACHA20_POLY1305 (§12.3) and AES256-GCM (§12.4). */
import {
  type CipherChaCha20Poly1305,
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherChaCha20Poly1305,
  type DecipherGCM,
  type KeyObject,
} from 'node:crypto';

/** As the specification names them (§8). */
export type CipherSuite = 'ChaChaPoly' | 'AESGCM';

export const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const TWO_POW_32 = 2 ** 32;
const TAG_LENGTH = { authTagLength: TAG_BYTES };
/** REKEY's n of 2^64 - 1 (§4.2): the same bytes in either byte order. */
const MAX_NONCE = Buffer.from('00000000ffffffffffffffff', 'hex');

/** @param key 32 bytes; a KeyObject saves a copy and a check for each record */
export function importCipherKey(key: Uint8Array): KeyObject {
  if (key.length !== KEY_BYTES) throw new RangeError(`a cipher key has ${KEY_BYTES} bytes`);
  return createSecretKey(key);
}

/** 32 zero bits, then n in 64: little-endian for ChaChaPoly (§12.3), big-endian for AESGCM (§12.4). 0 ≤ n < 2^53. */
function encodeNonce(suite: CipherSuite, n: number): Buffer {
  const nonce = Buffer.allocUnsafe(NONCE_BYTES).fill(0);
  const high = Math.floor(n / TWO_POW_32);
  const low = n % TWO_POW_32;
  if (suite === 'ChaChaPoly') {
    nonce.writeUInt32LE(low, 4);
    nonce.writeUInt32LE(high, 8);
  } else {
    nonce.writeUInt32BE(high, 4);
    nonce.writeUInt32BE(low, 8);
  }
  return nonce;
}

/** ENCRYPT, piece by piece. @param n 0 to 2^53 - 1, never twice under one key */
export function createEncryption(suite: CipherSuite, key: KeyObject, n: number): CipherChaCha20Poly1305 | CipherGCM {
  return createEncryptionOf(suite, key, encodeNonce(suite, n));
}

/** DECRYPT, piece by piece. Nothing that it returns may be used before `final` has returned. */
export function createDecryption(
  suite: CipherSuite,
  key: KeyObject,
  n: number,
): DecipherChaCha20Poly1305 | DecipherGCM {
  const nonce = encodeNonce(suite, n);
  return suite === 'ChaChaPoly'
    ? createDecipheriv('chacha20-poly1305', key, nonce, TAG_LENGTH)
    : createDecipheriv('aes-256-gcm', key, nonce, TAG_LENGTH);
}

function createEncryptionOf(suite: CipherSuite, key: KeyObject, nonce: Buffer): CipherChaCha20Poly1305 | CipherGCM {
  return suite === 'ChaChaPoly'
    ? createCipheriv('chacha20-poly1305', key, nonce, TAG_LENGTH)
    : createCipheriv('aes-256-gcm', key, nonce, TAG_LENGTH);
}

/** ENCRYPT(k, n, ad, plaintext): the ciphertext and its tag. */
export function encrypt(suite: CipherSuite, k: KeyObject, n: number, ad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createEncryption(suite, k, n);
  cipher.setAAD(ad, { plaintextLength: plaintext.length });
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** DECRYPT(k, n, ad, ciphertext): the plaintext. @throws where the tag does not verify */
export function decrypt(suite: CipherSuite, k: KeyObject, n: number, ad: Uint8Array, ciphertext: Uint8Array): Buffer {
  const plaintextLength = ciphertext.length - TAG_BYTES;
  if (plaintextLength < 0) throw new RangeError('shorter than a tag');
  const decipher = createDecryption(suite, k, n);
  decipher.setAAD(ad, { plaintextLength });
  decipher.setAuthTag(ciphertext.subarray(plaintextLength));
  return Buffer.concat([decipher.update(ciphertext.subarray(0, plaintextLength)), decipher.final()]);
}

/** REKEY(k): the first 32 bytes of ENCRYPT(k, 2^64 - 1, zerolen, zeros). */
export function rekey(suite: CipherSuite, k: KeyObject): KeyObject {
  return importCipherKey(createEncryptionOf(suite, k, MAX_NONCE).update(Buffer.alloc(KEY_BYTES)));
}
