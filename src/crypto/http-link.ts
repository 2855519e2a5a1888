/**
 * The keys of HTTP links (docs/protocol.md §1.4): derived from a ticket, they seal and open the last path segment of
 * each further request. Knows nothing of what a request says: its payload is bytes. Pure except for randomness.
 */
import { createHmac, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { decodeBase64url, encodeBase64url } from './base64url.ts';

const KEY_LABEL = 'wstun http link v1';
const ID_LABEL = 'wstun http link id v1';
const ID_BYTES = 8;
const NONCE_BYTES = 24;
const PAYLOAD_BYTES = 78;
const BOX_BYTES = 16 + PAYLOAD_BYTES;
const SEGMENT_BYTES = ID_BYTES + NONCE_BYTES + BOX_BYTES;
/** Of the same form as a ticket. */
const SEGMENT_TEXT_LENGTH = (SEGMENT_BYTES * 4) / 3;

/** Set by the peer: the request with this ticket opens an HTTP link. */
export const HTTP_FEATURE = 0x0400;

/** A segment in its parts; nothing is proved yet. */
export interface SealedSegment {
  /** Of the link, as a number. */
  readonly id: bigint;
  readonly nonce: Uint8Array;
  readonly box: Uint8Array;
}

/** Undefined for what cannot be one. */
export function decodeSegment(text: string): SealedSegment | undefined {
  const bytes = text.length === SEGMENT_TEXT_LENGTH ? decodeBase64url(text) : undefined;
  if (bytes === undefined) return undefined;
  const nonceEnd = ID_BYTES + NONCE_BYTES;
  return { id: bytes.readBigUInt64BE(0), nonce: bytes.subarray(ID_BYTES, nonceEnd), box: bytes.subarray(nonceEnd) };
}

export class HttpLinkKey {
  readonly #key: Uint8Array;
  readonly #id: Buffer;

  /** @param sharedKey K of the peer and the relay */
  static of(sharedKey: Uint8Array, ticketNonce: Uint8Array): HttpLinkKey {
    return new HttpLinkKey(createHmac('sha256', sharedKey).update(KEY_LABEL).update(ticketNonce).digest());
  }

  /** @param key as `expose` gives it */
  constructor(key: Uint8Array) {
    this.#key = key;
    this.#id = createHmac('sha256', this.#key).update(ID_LABEL).digest().subarray(0, ID_BYTES);
  }

  /** By which a relay finds the link. */
  get id(): bigint {
    return this.#id.readBigUInt64BE(0);
  }

  /** The key itself, for a page that carries the link, or another process of the relay. */
  expose(): { readonly key: Uint8Array; readonly id: Uint8Array } {
    return { key: this.#key, id: this.#id };
  }

  /** A path segment. @param payload 78 bytes @param nonce 24 bytes; random, except in tests */
  seal(payload: Uint8Array, nonce: Uint8Array = randomBytes(NONCE_BYTES)): string {
    if (payload.length !== PAYLOAD_BYTES) throw new RangeError('a payload has 78 bytes');
    return encodeBase64url(Buffer.concat([this.#id, nonce, nacl.secretbox(payload, nonce, this.#key)]));
  }

  /** The payload; undefined if the segment is not of this link's client. */
  open({ nonce, box }: SealedSegment): Uint8Array | undefined {
    return nacl.secretbox.open(box, nonce, this.#key) ?? undefined;
  }
}
