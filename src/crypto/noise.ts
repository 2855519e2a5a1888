/**
 * Noise_XK_25519_{ChaChaPoly,AESGCM}_SHA256, after the Noise Protocol Framework, revision 34 (2018-07-11). Classes,
 * methods and variables have the names of that document, and every step cites its section. Only the handshake: DH and
 * cipher functions are in x25519.ts and aead.ts, the ciphers of the transport phase in record-cipher.ts. Pure except
 * for the ephemeral key.
 */
import { createHash, createHmac, type KeyObject } from 'node:crypto';
import { WstunError } from '../errors.ts';
import { type CipherSuite, decrypt, encrypt, importCipherKey, TAG_BYTES } from './aead.ts';
import { isPublicKey } from './public-key.ts';
import { MAX_RECORD_BYTES, RecordOpener, RecordSealer } from './record-cipher.ts';
import { DH_BYTES, type DhFunctions, type DhKeyPair, x25519 } from './x25519.ts';

/** HASHLEN of SHA256 (§12.5). */
const HASH_BYTES = 32;
/** §3 allows 65,535 in all; what is left after one key of either kind and two tags. */
export const MAX_HANDSHAKE_PAYLOAD_BYTES = MAX_RECORD_BYTES - 2 * (DH_BYTES + TAG_BYTES);
const ZEROLEN = new Uint8Array(0);

/** §4.3: HASH. */
function hash(...data: readonly Uint8Array[]): Buffer {
  const sha256 = createHash('sha256');
  for (const part of data) sha256.update(part);
  return sha256.digest();
}

/** §4.3: HMAC-HASH. */
function hmacHash(key: Uint8Array, ...data: readonly Uint8Array[]): Buffer {
  const hmac = createHmac('sha256', key);
  for (const part of data) hmac.update(part);
  return hmac.digest();
}

/** §4.3: HKDF with two outputs; XK, which has no pre-shared key, never needs three. */
function hkdf(chainingKey: Uint8Array, inputKeyMaterial: Uint8Array): [output1: Buffer, output2: Buffer] {
  const tempKey = hmacHash(chainingKey, inputKeyMaterial);
  const output1 = hmacHash(tempKey, Uint8Array.of(0x01));
  const output2 = hmacHash(tempKey, output1, Uint8Array.of(0x02));
  return [output1, output2];
}

/** §5.1, without what only the transport phase needs. */
class CipherState {
  readonly #suite: CipherSuite;
  /** Undefined: the specification's `empty`. */
  #k: KeyObject | undefined;
  /** A pattern uses each key a few times; the reserved 2^64 - 1 cannot be reached. */
  #n = 0;

  constructor(suite: CipherSuite) {
    this.#suite = suite;
  }

  initializeKey(key: Uint8Array): void {
    this.#k = importCipherKey(key);
    this.#n = 0;
  }

  hasKey(): boolean {
    return this.#k !== undefined;
  }

  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return this.#k === undefined ? plaintext : encrypt(this.#suite, this.#k, this.#n++, ad, plaintext);
  }

  /** @throws if the ciphertext is not authentic; the handshake is over then, so that n may advance */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    return this.#k === undefined ? ciphertext : decrypt(this.#suite, this.#k, this.#n++, ad, ciphertext);
  }
}

/** §5.2, without MixKeyAndHash, which is for pre-shared keys. */
class SymmetricState {
  readonly suite: CipherSuite;
  readonly #cipher: CipherState;
  #ck: Uint8Array;
  #h: Uint8Array;

  /** InitializeSymmetric(protocol_name). */
  constructor(protocolName: string, suite: CipherSuite) {
    const name = Buffer.from(protocolName);
    this.#h = name.length <= HASH_BYTES ? Buffer.concat([name], HASH_BYTES) : hash(name);
    this.#ck = this.#h;
    this.suite = suite;
    this.#cipher = new CipherState(suite);
  }

  hasKey(): boolean {
    return this.#cipher.hasKey();
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const [ck, tempK] = hkdf(this.#ck, inputKeyMaterial);
    this.#ck = ck;
    this.#cipher.initializeKey(tempK);
  }

  mixHash(data: Uint8Array): void {
    this.#h = hash(this.#h, data);
  }

  getHandshakeHash(): Uint8Array {
    return this.#h;
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipher.encryptWithAd(this.#h, plaintext);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.#cipher.decryptWithAd(this.#h, ciphertext);
    this.mixHash(ciphertext);
    return plaintext;
  }

  /** The keys of the two CipherStates: the first is for messages from initiator to responder. */
  split(): [tempK1: Uint8Array, tempK2: Uint8Array] {
    return hkdf(this.#ck, ZEROLEN);
  }
}

export type HandshakeRole = 'initiator' | 'responder';

/** §7.1. */
export type HandshakeToken = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss';

export interface HandshakePattern {
  readonly name: string;
  /** The pre-messages: the parties whose static keys the other already knows, the initiator first. */
  readonly preMessages: readonly HandshakeRole[];
  /** The initiator's first, then in turn. */
  readonly messages: readonly (readonly HandshakeToken[])[];
}

/** §7.5. */
const XK: HandshakePattern = {
  name: 'XK',
  preMessages: ['responder'],
  messages: [
    ['e', 'es'],
    ['e', 'ee'],
    ['s', 'se'],
  ],
};

export interface HandshakeOptions {
  readonly role: HandshakeRole;
  readonly suite: CipherSuite;
  /** §6: everything that the parties agreed on outside. If the two differ, the first message already fails. */
  readonly prologue: Uint8Array;
  /** This party's static key pair. */
  readonly s: DhKeyPair;
  /** The responder's static public key, 32 bytes: the initiator's pin. The responder has none. */
  readonly rs?: Uint8Array;
}

/** Only for tests: a repeated ephemeral key reveals the keys (§14). */
export interface HandshakeTestSeams {
  /** Another X25519, or one whose ephemeral keys are known. */
  readonly dh?: DhFunctions;
  /** Other patterns go through the same rules. */
  readonly pattern?: HandshakePattern;
}

/** The result of a completed handshake. */
export interface HandshakeResult {
  /** For this party's records. */
  readonly sealer: RecordSealer;
  /** For the other party's records. */
  readonly opener: RecordOpener;
  /** h (§11.2), 32 bytes: the same at both ends of this one handshake and nowhere else. Not a secret. */
  readonly handshakeHash: Uint8Array;
  /** The key that the other party has proved to hold, 32 bytes. The caller must check that it is allowed (§14). */
  readonly remoteStatic: Uint8Array;
}

/**
 * §5.3. The initiator writes the first message, then both take turns; after the third, `finish`. All failures have the
 * same WstunError `handshake-failed` without a reason, and the state is unusable then: close the link without a
 * message. Payloads (§7.7): the first can be replayed, and read by someone who steals the responder's key later: leave
 * it empty. The second goes to a party that is not authenticated yet. The third is safe; use it only after checking
 * `remoteStatic`.
 */
export class HandshakeState {
  readonly #dh: DhFunctions;
  readonly #initiator: boolean;
  readonly #messagePatterns: readonly (readonly HandshakeToken[])[];
  /** How many messages have been processed. */
  #processed = 0;
  /** Undefined once the handshake is over, one way or the other. */
  #symmetric: SymmetricState | undefined;
  readonly #s: DhKeyPair;
  #e: DhKeyPair | undefined;
  #rs: Uint8Array | undefined;
  #re: Uint8Array | undefined;

  /** Initialize. @throws TypeError if `rs` is missing, or given although the pattern transmits it */
  constructor(options: HandshakeOptions, { dh = x25519, pattern = XK }: HandshakeTestSeams = {}) {
    const { role, suite, prologue, s, rs } = options;
    if (pattern.preMessages.some((owner) => owner !== role) !== (rs?.length === DH_BYTES)) {
      throw new TypeError(`the ${role} ${rs === undefined ? 'needs' : 'takes no such'} rs`);
    }
    this.#dh = dh;
    this.#initiator = role === 'initiator';
    this.#messagePatterns = pattern.messages;
    this.#s = s;
    this.#rs = rs;
    this.#symmetric = new SymmetricState(`Noise_${pattern.name}_25519_${suite}_SHA256`, suite);
    this.#symmetric.mixHash(prologue);
    for (const owner of pattern.preMessages) this.#symmetric.mixHash(owner === role ? s.publicKey : known(rs));
  }

  /** WriteMessage. @param payload up to MAX_HANDSHAKE_PAYLOAD_BYTES @throws WstunError handshake-failed */
  writeMessage(payload: Uint8Array): Uint8Array {
    if (payload.length > MAX_HANDSHAKE_PAYLOAD_BYTES) throw new RangeError('the payload is too long');
    return this.#process(this.#initiator, (symmetric, tokens) => {
      const parts = tokens.map((token) => this.#writeToken(symmetric, token));
      return Buffer.concat([...parts, symmetric.encryptAndHash(payload)]);
    });
  }

  /** ReadMessage: returns the payload. @throws WstunError handshake-failed */
  readMessage(message: Uint8Array): Uint8Array {
    return this.#process(!this.#initiator, (symmetric, tokens) => {
      if (message.length > MAX_RECORD_BYTES) throw new RangeError('over the limit of §3');
      let at = 0;
      for (const token of tokens) at += this.#readToken(symmetric, token, message.subarray(at));
      return symmetric.decryptAndHash(message.subarray(at));
    });
  }

  /** After the last message, once: Split, and what the caller needs to check the other party. */
  finish(): HandshakeResult {
    const symmetric = this.#symmetric;
    if (symmetric === undefined || this.#processed < this.#messagePatterns.length) throw new Error('not completed');
    this.#forget();
    const [c1, c2] = symmetric.split();
    const [sending, receiving] = this.#initiator ? [c1, c2] : [c2, c1];
    return {
      sealer: new RecordSealer(symmetric.suite, sending),
      opener: new RecordOpener(symmetric.suite, receiving),
      handshakeHash: symmetric.getHandshakeHash(),
      remoteStatic: known(this.#rs),
    };
  }

  /** One message in its turn. Any failure ends the handshake. */
  #process(
    fromInitiator: boolean,
    run: (symmetric: SymmetricState, tokens: readonly HandshakeToken[]) => Uint8Array,
  ): Uint8Array {
    const tokens = this.#messagePatterns[this.#processed];
    const inTurn = fromInitiator === (this.#processed % 2 === 0);
    try {
      if (this.#symmetric === undefined || tokens === undefined || !inTurn) throw new Error('out of turn');
      const result = run(this.#symmetric, tokens);
      this.#processed += 1;
      return result;
    } catch {
      this.#forget();
      throw new WstunError('handshake-failed');
    }
  }

  #writeToken(symmetric: SymmetricState, token: HandshakeToken): Uint8Array {
    switch (token) {
      case 'e':
        this.#e = this.#dh.generateKeyPair();
        symmetric.mixHash(this.#e.publicKey);
        return this.#e.publicKey;
      case 's':
        return symmetric.encryptAndHash(this.#s.publicKey);
      default:
        symmetric.mixKey(this.#sharedSecret(token));
        return ZEROLEN;
    }
  }

  /** Returns how many bytes of the message the token has taken. */
  #readToken(symmetric: SymmetricState, token: HandshakeToken, rest: Uint8Array): number {
    switch (token) {
      case 'e':
        this.#re = publicKey(copyOf(rest, DH_BYTES));
        symmetric.mixHash(this.#re);
        return DH_BYTES;
      case 's': {
        const temp = copyOf(rest, symmetric.hasKey() ? DH_BYTES + TAG_BYTES : DH_BYTES);
        this.#rs = publicKey(symmetric.decryptAndHash(temp));
        return temp.length;
      }
      default:
        symmetric.mixKey(this.#sharedSecret(token));
        return 0;
    }
  }

  /** The first letter says which of the initiator's keys goes into the DH, the second which of the responder's. */
  #sharedSecret(token: 'ee' | 'es' | 'se' | 'ss'): Uint8Array {
    const [local, remote] = this.#initiator ? [token[0], token[1]] : [token[1], token[0]];
    return this.#dh.dh(known(local === 'e' ? this.#e : this.#s), known(remote === 'e' ? this.#re : this.#rs));
  }

  #forget(): void {
    this.#symmetric = undefined;
    this.#e = undefined;
  }
}

/** What a valid pattern (§7.3) has set before it is used. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('not a valid pattern');
  return value;
}

/** An invalid key, or another encoding of one, ends the handshake (docs/protocol.md §2.1). */
function publicKey(bytes: Uint8Array): Uint8Array {
  if (!isPublicKey(bytes)) throw new TypeError('not a public key');
  return bytes;
}

/** A copy: the message belongs to the link, the keys outlive it. */
function copyOf(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length < length) throw new RangeError('the message is too short');
  return Uint8Array.from(bytes.subarray(0, length));
}
