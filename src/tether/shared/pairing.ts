/**
 * How a page and the laptop prove to each other that they have the same secret, and the keys of a pairing
 * (docs/tether-protocol.md §4). Pure except for randomness, and without anything of Node: the page runs the same code,
 * over http, where `crypto.subtle` does not exist.
 */
import nacl from 'tweetnacl';

const VERSION = 1;
const SECRET_BYTES = 16;
const ID_BYTES = 8;
const KEY_BYTES = 32;
/** SHA-512's block (FIPS 180-4 §1). */
const HMAC_BLOCK_BYTES = 128;

export const HELLO_BYTES = 3 + ID_BYTES + KEY_BYTES;
const ANSWER_BYTES = 1 + KEY_BYTES;
const PROOF_BYTES = 1 + KEY_BYTES;

/** The first byte of every message of a control link. */
export const MESSAGE = { refusal: 0, hello: 1, answer: 2, pageProof: 3, laptopProof: 4, sealed: 5 } as const;

const utf8 = new TextEncoder();

/** What both ends have after a pairing. */
export interface PairingKeys {
  readonly pageSeal: Uint8Array;
  readonly laptopSeal: Uint8Array;
  /** The secret with which the page may pair again. */
  readonly rejoin: Uint8Array;
}

export function createSecret(): Uint8Array {
  return nacl.randomBytes(SECRET_BYTES);
}

/** Identifies a secret to those who have it, and to no one else. */
export function secretId(secret: Uint8Array): Uint8Array {
  return hmac(secret, utf8.encode('wstun tether id v1')).slice(0, ID_BYTES);
}

export interface EphemeralKeys {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

export interface PagePairing {
  readonly hello: Uint8Array;
  /** Returns the page's proof for the laptop's answer; undefined for anything else. */
  prove(answer: Uint8Array): Uint8Array | undefined;
  /** Returns the keys for the laptop's proof; undefined for anything else, and if the laptop lacks the secret. */
  finish(proof: Uint8Array): PairingKeys | undefined;
}

/** The page's side. @param host `location.host` of the page */
export function beginPairing(secret: Uint8Array, host: string, keys: EphemeralKeys = nacl.box.keyPair()): PagePairing {
  const hello = concat(Uint8Array.of(MESSAGE.hello, 0, VERSION), secretId(secret), keys.publicKey);
  let agreed: Uint8Array | undefined;
  return {
    hello,
    prove(answer) {
      if (answer.length !== ANSWER_BYTES || answer[0] !== MESSAGE.answer || agreed !== undefined) return undefined;
      agreed = agree(secret, { hello, answer, host }, nacl.scalarMult(keys.secretKey, answer.subarray(1)));
      return proofOf(agreed, MESSAGE.pageProof);
    },
    finish(proof) {
      if (agreed === undefined || !nacl.verify(padded(proof), proofOf(agreed, MESSAGE.laptopProof))) return undefined;
      return keysOf(agreed);
    },
  };
}

/** The identifier in a page's hello; undefined for anything that this version would not have sent. */
export function readHello(hello: Uint8Array): { readonly id: Uint8Array } | undefined {
  const known = hello.length === HELLO_BYTES && hello[0] === MESSAGE.hello && hello[1] === 0 && hello[2] === VERSION;
  return known ? { id: hello.slice(3, 3 + ID_BYTES) } : undefined;
}

export interface LaptopPairing {
  readonly answer: Uint8Array;
  /** Returns the proof to send and the keys for the page's proof; undefined if the page lacks the secret. */
  check(proof: Uint8Array): { readonly proof: Uint8Array; readonly keys: PairingKeys } | undefined;
}

/** @param secret undefined if the identifier is unknown: the answer looks the same, and every proof is wrong */
export function answerPairing(
  hello: Uint8Array,
  secret: Uint8Array | undefined,
  host: string,
  keys: EphemeralKeys = nacl.box.keyPair(),
): LaptopPairing {
  const answer = concat(Uint8Array.of(MESSAGE.answer), keys.publicKey);
  const shared = nacl.scalarMult(keys.secretKey, hello.subarray(HELLO_BYTES - KEY_BYTES));
  const agreed = agree(secret ?? createSecret(), { hello, answer, host }, shared);
  return {
    answer,
    check(proof) {
      if (!nacl.verify(padded(proof), proofOf(agreed, MESSAGE.pageProof)) || secret === undefined) return undefined;
      return { proof: proofOf(agreed, MESSAGE.laptopProof), keys: keysOf(agreed) };
    },
  };
}

/** One direction of a control link after the pairing: messages in order, none repeated, none missing. */
export class Seal {
  private next = 0;

  constructor(private readonly key: Uint8Array) {}

  seal(content: Uint8Array): Uint8Array {
    return concat(Uint8Array.of(MESSAGE.sealed), nacl.secretbox(content, this.nonce(), this.key));
  }

  /** Undefined for anything but the next message of the other end; nothing opens after that. */
  open(message: Uint8Array): Uint8Array | undefined {
    if (message[0] !== MESSAGE.sealed) return undefined;
    return nacl.secretbox.open(message.subarray(1), this.nonce(), this.key) ?? undefined;
  }

  private nonce(): Uint8Array {
    const nonce = new Uint8Array(nacl.secretbox.nonceLength);
    new DataView(nonce.buffer).setBigUint64(16, BigInt(this.next));
    this.next += 1;
    return nonce;
  }
}

/** Base64url without padding, for the URL's fragment. */
export function secretToText(secret: Uint8Array): string {
  return btoa(String.fromCharCode(...secret))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

/** Undefined for anything but the one valid text of a secret. */
export function secretFromText(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]{22}$/.test(text)) return undefined;
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const secret = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return secretToText(secret) === text ? secret : undefined;
}

interface Transcript {
  readonly hello: Uint8Array;
  readonly answer: Uint8Array;
  readonly host: string;
}

/** P of the document. To compute it takes the secret and an X25519 key, and those keys are gone after the pairing. */
function agree(secret: Uint8Array, { hello, answer, host }: Transcript, shared: Uint8Array): Uint8Array {
  return hmac(secret, concat(utf8.encode('wstun tether v1'), hello, answer, utf8.encode(host), shared));
}

function proofOf(agreed: Uint8Array, type: 3 | 4): Uint8Array {
  const label = type === MESSAGE.pageProof ? 'page proof' : 'laptop proof';
  return concat(Uint8Array.of(type), derive(agreed, label, KEY_BYTES));
}

/** `nacl.verify` takes equal lengths only. */
function padded(proof: Uint8Array): Uint8Array {
  return proof.length === PROOF_BYTES ? proof : new Uint8Array(PROOF_BYTES);
}

function keysOf(agreed: Uint8Array): PairingKeys {
  return {
    pageSeal: derive(agreed, 'page seal', KEY_BYTES),
    laptopSeal: derive(agreed, 'laptop seal', KEY_BYTES),
    rejoin: derive(agreed, 'rejoin', SECRET_BYTES),
  };
}

function derive(agreed: Uint8Array, label: string, bytes: number): Uint8Array {
  return hmac(agreed, utf8.encode(label)).slice(0, bytes);
}

/** HMAC-SHA-512 (RFC 2104); no key here is longer than a block. */
function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const pad = (byte: number): Uint8Array => {
    const block = new Uint8Array(HMAC_BLOCK_BYTES).fill(byte);
    for (const [i, value] of key.entries()) block[i] = value ^ byte;
    return block;
  };
  return nacl.hash(concat(pad(0x5c), nacl.hash(concat(pad(0x36), message))));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
