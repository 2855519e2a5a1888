/**
 * A party's keys. Labelled HKDF derives two X25519 key pairs from one 32-byte secret, one for the gate (tickets) and
 * one for the session (Noise), so that no key serves two protocols. Pure except for randomness. Text forms have a
 * prefix and a checksum: `wstunpk1_…` for the public keys, `wstunsk1_…` for the secret. An Identity shows only its
 * public half to loggers, inspectors and JSON; the three `expose…` methods are the only ways to its secrets, so that a
 * search for them finds every use.
 */
import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import nacl from 'tweetnacl';
import { WstunError } from '../errors.ts';
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import { hsalsa20 } from './hsalsa20.ts';
import { isPublicKey } from './public-key.ts';
import { type DhKeyPair, importKeyPair, x25519 } from './x25519.ts';

export const KEY_BYTES = 32;
const GATE_LABEL = 'wstun gate x25519 v1';
const SESSION_LABEL = 'wstun session x25519 v1';

const PUBLIC_PREFIX = 'wstunpk1_';
const SECRET_PREFIX = 'wstunsk1_';
const INVITE_PREFIX = 'wstun1_';
/** 69 bytes with two keys, 36 with a secret: both multiples of three, so that the text has no unused bits. */
const PUBLIC_CHECKSUM_BYTES = 5;
const SECRET_CHECKSUM_BYTES = 4;

/** Two X25519 public keys, 32 bytes each (RFC 7748). */
export interface PublicIdentity {
  readonly gate: Uint8Array;
  readonly session: Uint8Array;
}

interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

export class Identity {
  readonly public: PublicIdentity;
  readonly #secret: Uint8Array;
  readonly #gate: KeyPair;
  readonly #session: KeyPair;
  /** The gate's pair as OpenSSL needs it; most identities never use it. */
  #gateDh: DhKeyPair | undefined;

  /** @throws RangeError unless the secret has 32 bytes; it is copied. */
  constructor(secret: Uint8Array) {
    if (secret.length !== KEY_BYTES) throw new RangeError(`a secret has ${KEY_BYTES} bytes`);
    this.#secret = Uint8Array.from(secret);
    this.#gate = deriveKeyPair(this.#secret, GATE_LABEL);
    this.#session = deriveKeyPair(this.#secret, SESSION_LABEL);
    this.public = { gate: this.#gate.publicKey, session: this.#session.publicKey };
  }

  /** The 32 bytes from which everything else is derived: only for the identity file and for invites. */
  exposeSecret(): Uint8Array {
    return Uint8Array.from(this.#secret);
  }

  /** The session's X25519 private key, 32 bytes: only for the Noise handshake. */
  exposeSessionKey(): Uint8Array {
    return Uint8Array.from(this.#session.secretKey);
  }

  /** NaCl's `crypto_box_beforenm`, 32 bytes: only for tickets. 0.07 ms through OpenSSL; tweetnacl takes 0.6 ms. */
  exposeGateSharedKey(peerGateKey: Uint8Array): Uint8Array {
    if (peerGateKey.length !== KEY_BYTES) throw new RangeError(`a gate key has ${KEY_BYTES} bytes`);
    this.#gateDh ??= importKeyPair(this.#gate.secretKey);
    return hsalsa20(sharedSecret(this.#gateDh, peerGateKey));
  }

  toString(): string {
    return `Identity(${formatPublicIdentity(this.public)})`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

export function createIdentity(): Identity {
  return new Identity(randomBytes(KEY_BYTES));
}

export function formatPublicIdentity(identity: PublicIdentity): string {
  const keys = Buffer.concat([identity.gate, identity.session]);
  return PUBLIC_PREFIX + withChecksum(PUBLIC_PREFIX, keys, PUBLIC_CHECKSUM_BYTES);
}

/** @throws WstunError bad-key, without any part of the text: a secret may have been pasted by mistake */
export function parsePublicIdentity(text: string): PublicIdentity {
  if (text.startsWith(SECRET_PREFIX))
    throw new WstunError('bad-key', 'it is a secret key, which only its owner may have');
  if (text.startsWith(INVITE_PREFIX)) throw new WstunError('bad-key', 'it is an invite');
  const keys = withoutChecksum(text, PUBLIC_PREFIX, 2 * KEY_BYTES, PUBLIC_CHECKSUM_BYTES);
  if (typeof keys === 'string') throw new WstunError('bad-key', keys);
  const identity = { gate: keys.subarray(0, KEY_BYTES), session: keys.subarray(KEY_BYTES) };
  if (!isPublicKey(identity.gate) || !isPublicKey(identity.session))
    throw new WstunError('bad-key', 'it is not a valid X25519 key');
  return identity;
}

/** The text of an identity file. */
export function formatIdentitySecret(identity: Identity): string {
  return SECRET_PREFIX + withChecksum(SECRET_PREFIX, identity.exposeSecret(), SECRET_CHECKSUM_BYTES);
}

/** @throws WstunError identity-damaged, without any part of the text */
export function parseIdentitySecret(text: string): Identity {
  const secret = withoutChecksum(text, SECRET_PREFIX, KEY_BYTES, SECRET_CHECKSUM_BYTES);
  if (typeof secret === 'string') throw new WstunError('identity-damaged', secret);
  return new Identity(secret);
}

/** OpenSSL throws for points that give all zeros; NaCl continues with the zeros, and so does this. */
function sharedSecret(keyPair: DhKeyPair, publicKey: Uint8Array): Uint8Array {
  try {
    return x25519.dh(keyPair, publicKey);
  } catch {
    return new Uint8Array(KEY_BYTES);
  }
}

function deriveKeyPair(secret: Uint8Array, label: string): KeyPair {
  const scalar = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), label, KEY_BYTES));
  return nacl.box.keyPair.fromSecretKey(scalar);
}

/** The first bytes of SHA-256(prefix ‖ body): detects typing errors and damage, not an attacker. */
function checksumOf(prefix: string, body: Uint8Array, length: number): Buffer {
  return createHash('sha256').update(prefix).update(body).digest().subarray(0, length);
}

function withChecksum(prefix: string, body: Uint8Array, length: number): string {
  return encodeBase64url(Buffer.concat([body, checksumOf(prefix, body, length)]));
}

/** The body, or what is wrong with the text. */
function withoutChecksum(text: string, prefix: string, bodyBytes: number, checksumBytes: number): Buffer | string {
  if (!text.startsWith(prefix)) return `it does not begin with ${prefix}`;
  const encoded = text.slice(prefix.length);
  const expected = ((bodyBytes + checksumBytes) * 4) / 3;
  if (encoded.length !== expected) {
    return `it has ${encoded.length} characters after ${prefix} instead of ${expected}`;
  }
  const bytes = decodeBase64url(encoded);
  const body = bytes?.subarray(0, bodyBytes);
  if (bytes === undefined || body === undefined) return 'it contains characters that keys never contain';
  if (!checksumOf(prefix, body, checksumBytes).equals(bytes.subarray(bodyBytes))) return 'its checksum does not match';
  return body;
}
