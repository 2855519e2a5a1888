/**
 * Records: the messages of the transport phase (Noise rev 34, §5.1 with empty associated data, §11.3). One object per
 * direction holds its CipherState: a key, and a nonce that only rises and is never sent. Input and output are pieces,
 * so that a payload is never copied only to follow its header.
 */
import type { KeyObject } from 'node:crypto';
import { WstunError } from '../errors.ts';
import { own, type Piece } from '../memory/pieces.ts';
import { type CipherSuite, createDecryption, createEncryption, importCipherKey, rekey, TAG_BYTES } from './aead.ts';

/** §3: of every Noise message. */
export const MAX_RECORD_BYTES = 65_535;
/** What a record can hold. */
export const MAX_RECORD_PLAINTEXT_BYTES = MAX_RECORD_BYTES - TAG_BYTES;
/** After each multiple of records both ends rekey, without a message: at most 4 GiB under one key, for 5 µs. */
export const REKEY_RECORDS = 2 ** 16;
/** The last n that a number holds exactly, after 285 years of a million records a second; §5.1 reserves 2^64 - 1. */
const LAST_NONCE = Number.MAX_SAFE_INTEGER;
/** A further call of the cipher costs about 0.8 µs, copying a byte about 0.1 ns: shorter pieces are cheaper joined. */
const JOIN_BELOW_BYTES = 4096;

/** Key and nonce of one direction, and the rule by which they advance. */
class RecordKey {
  readonly #suite: CipherSuite;
  #k: KeyObject;
  #n: number;

  constructor(suite: CipherSuite, key: Uint8Array, n: number) {
    this.#suite = suite;
    this.#k = importCipherKey(key);
    this.#n = n;
  }

  get isExhausted(): boolean {
    return this.#n > LAST_NONCE;
  }

  createEncryption(): ReturnType<typeof createEncryption> {
    return createEncryption(this.#suite, this.#k, this.#n);
  }

  createDecryption(): ReturnType<typeof createDecryption> {
    return createDecryption(this.#suite, this.#k, this.#n);
  }

  /** n++ (§5.1), and Rekey when due; Rekey leaves n as it is (§11.3). */
  advance(): void {
    this.#n += 1;
    if (this.#n % REKEY_RECORDS === 0) this.#k = rekey(this.#suite, this.#k);
  }
}

/** The sending direction. */
export class RecordSealer {
  readonly #key: RecordKey;

  /** @param key 32 bytes @param n the first nonce: 0, except in tests */
  constructor(suite: CipherSuite, key: Uint8Array, n = 0) {
    this.#key = new RecordKey(suite, key, n);
  }

  /**
   * EncryptWithAd: the ciphertext in pieces of new memory, then the tag; the caller's. `pieces` are only read.
   * @throws RangeError beyond MAX_RECORD_PLAINTEXT_BYTES, WstunError link-lost when the nonces are used up
   */
  seal(pieces: readonly Uint8Array[]): Piece[] {
    if (totalBytes(pieces) > MAX_RECORD_PLAINTEXT_BYTES) throw new RangeError('too long for a record');
    if (this.#key.isExhausted)
      throw new WstunError('link-lost', 'its keys have sealed their maximum number of records');
    const cipher = this.#key.createEncryption();
    this.#key.advance();
    const record: Piece[] = [];
    forEachRun(pieces, (run) => record.push(own(cipher.update(run))));
    cipher.final();
    record.push(cipher.getAuthTag());
    return record;
  }
}

/** The receiving direction. */
export class RecordOpener {
  /** Undefined after a record has failed. */
  #key: RecordKey | undefined;

  /** @param key 32 bytes @param n the first nonce: 0, except in tests */
  constructor(suite: CipherSuite, key: Uint8Array, n = 0) {
    this.#key = new RecordKey(suite, key, n);
  }

  /**
   * DecryptWithAd: the verified plaintext in pieces of new memory, the caller's. Undefined for a record that is not the
   * sender's next, and for all that follows: the link must be aborted, and no stream may end as if it were complete.
   */
  open(pieces: readonly Uint8Array[]): Piece[] | undefined {
    const key = this.#key;
    if (key === undefined) return undefined;
    const plaintext = key.isExhausted ? undefined : decryptRecord(key, pieces);
    if (plaintext === undefined) this.#key = undefined;
    else key.advance();
    return plaintext;
  }
}

function decryptRecord(key: RecordKey, pieces: readonly Uint8Array[]): Piece[] | undefined {
  const total = totalBytes(pieces);
  if (total < TAG_BYTES || total > MAX_RECORD_BYTES) return undefined;
  const { ciphertext, tag } = splitTag(pieces, total - TAG_BYTES);
  const decipher = key.createDecryption();
  const plaintext: Piece[] = [];
  forEachRun(ciphertext, (run) => plaintext.push(own(decipher.update(run))));
  decipher.setAuthTag(tag);
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plaintext;
}

/** The tag is the last 16 bytes, wherever the pieces begin and end. */
function splitTag(
  pieces: readonly Uint8Array[],
  ciphertextBytes: number,
): { ciphertext: Uint8Array[]; tag: Uint8Array } {
  const ciphertext: Uint8Array[] = [];
  const tag: Uint8Array[] = [];
  let left = ciphertextBytes;
  for (const piece of pieces) {
    if (left > 0) ciphertext.push(piece.subarray(0, left));
    if (piece.length > left) tag.push(piece.subarray(left));
    left = Math.max(0, left - piece.length);
  }
  return { ciphertext, tag: Buffer.concat(tag) };
}

function totalBytes(pieces: readonly Uint8Array[]): number {
  let total = 0;
  for (const piece of pieces) total += piece.length;
  return total;
}

/** For short pieces of all records of the process: a cipher has read its input when it returns. */
let joinBuffer: Buffer | undefined;

/** The same bytes in order, neighbours under JOIN_BELOW_BYTES joined. A run is valid only during the call. */
function forEachRun(pieces: readonly Uint8Array[], use: (run: Uint8Array) => void): void {
  let short: Uint8Array[] = [];
  const endRun = (): void => {
    const [only] = short;
    if (only !== undefined) use(short.length === 1 ? only : joined(short));
    short = [];
  };
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    if (piece.length < JOIN_BELOW_BYTES) {
      short.push(piece);
      continue;
    }
    endRun();
    use(piece);
  }
  endRun();
}

/** Valid until the next call. */
function joined(short: readonly Uint8Array[]): Uint8Array {
  joinBuffer ??= Buffer.allocUnsafeSlow(MAX_RECORD_BYTES);
  let end = 0;
  for (const piece of short) {
    joinBuffer.set(piece, end);
    end += piece.length;
  }
  return joinBuffer.subarray(0, end);
}
