/** X25519 (RFC 7748) as Noise's DH functions (rev 34, §4.1, §12.1). Importing a key costs as much as twenty DHs. */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';

/** DHLEN: of public keys, secrets and outputs, bytes. */
export const DH_BYTES = 32;
/** PKCS #8 around a raw X25519 key (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

export interface DhKeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** The two DH functions of §4.1. */
export interface DhFunctions {
  /** GENERATE_KEYPAIR. */
  generateKeyPair(): DhKeyPair;
  /** DH: 32 bytes. @throws for a wrong length and, as §12.1 allows, for points that would make it all zeros */
  dh(keyPair: DhKeyPair, publicKey: Uint8Array): Uint8Array;
}

/**
 * Both halves are generated as JWK, and the private one is imported again. The 35 µs avoid a deadlock in Node:
 * exporting a KeyObject that `generateKeyPairSync` made can hang the process. The export holds the key's lock while it
 * allocates; if that starts a garbage collection, the finalizer of the job that made the key waits for the same lock in
 * the same thread (node 20.20 hung in four runs of ten, after 2,600 to 7,500 keys; later releases have the lock too).
 */
const AS_JWK = { publicKeyEncoding: { format: 'jwk' }, privateKeyEncoding: { format: 'jwk' } };

export const x25519: DhFunctions = {
  generateKeyPair() {
    // @types/node does not know that the encodings change the result.
    const { publicKey, privateKey } = generateKeyPairSync('x25519', AS_JWK) as unknown as Record<string, JsonWebKey>;
    if (publicKey === undefined || privateKey === undefined) throw new TypeError('no JWK');
    return { publicKey: publicBytes(publicKey), privateKey: createPrivateKey({ key: privateKey, format: 'jwk' }) };
  },
  dh(keyPair, publicKey) {
    return diffieHellman({ privateKey: keyPair.privateKey, publicKey: importPublicKey(publicKey) });
  },
};

/** A long-term pair from its 32-byte secret. Takes up to a millisecond: once per process, not once per handshake. */
export function importKeyPair(secret: Uint8Array): DhKeyPair {
  if (secret.length !== DH_BYTES) throw new RangeError(`a secret has ${DH_BYTES} bytes`);
  const pkcs8 = Buffer.concat([PKCS8_PREFIX, secret]);
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  pkcs8.fill(0);
  return { publicKey: publicBytes(createPublicKey(privateKey).export({ format: 'jwk' })), privateKey };
}

/** JWK (RFC 8037) costs a tenth of DER, for which OpenSSL 3 tries one decoder after the other. */
function importPublicKey(bytes: Uint8Array): KeyObject {
  const x = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}

function publicBytes({ x }: JsonWebKey): Uint8Array {
  if (x === undefined) throw new TypeError('not an X25519 key');
  return Buffer.from(x, 'base64url');
}
