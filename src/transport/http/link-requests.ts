/**
 * What a request of an HTTP link says (docs/protocol.md §1.4): the payload that is sealed into its path, and the
 * numbers at the beginning of an answer. Knows no keys. Pure.
 */
import { readU64, type U64, U64_BYTES, writeU64 } from './u64.ts';

const REQUEST_PAYLOAD_BYTES = 78;
const USED_BYTES = 29;

export type RequestKind = 'up' | 'down' | 'poll' | 'close';

const KINDS: readonly RequestKind[] = ['up', 'down', 'poll', 'close'];

export interface LinkRequest {
  readonly kind: RequestKind;
  /** 1, 2, 3 and so on. */
  readonly sequence: number;
  /** *up*: of the first byte of the body. *down*, *poll*: of the first that is wanted. `all-ones`: of *down* only. */
  readonly offset: U64;
  /** The client has all bytes of the down stream before this offset. */
  readonly received: number;
  /** *poll*: how long the relay may hold it, ms. */
  readonly waitMs: number;
}

export function encodeRequest({ kind, sequence, offset, received, waitMs }: LinkRequest): Uint8Array {
  const bytes = new Uint8Array(REQUEST_PAYLOAD_BYTES);
  bytes[0] = KINDS.indexOf(kind) + 1;
  writeU64(bytes, 1, sequence);
  writeU64(bytes, 9, offset);
  writeU64(bytes, 17, received);
  new DataView(bytes.buffer).setUint32(25, waitMs);
  return bytes;
}

/** Undefined for what no client of this version writes. */
export function decodeRequest(bytes: Uint8Array): LinkRequest | undefined {
  if (bytes.length !== REQUEST_PAYLOAD_BYTES || bytes.subarray(USED_BYTES).some((byte) => byte !== 0)) return undefined;
  const kind = KINDS[(bytes[0] ?? 0) - 1];
  const sequence = readU64(bytes, 1);
  const offset = readU64(bytes, 9);
  const received = readU64(bytes, 17);
  if (kind === undefined || typeof sequence !== 'number' || sequence < 1) return undefined;
  if (offset === undefined || typeof received !== 'number') return undefined;
  if (offset === 'all-ones' && kind !== 'down') return undefined;
  const waitMs = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(25);
  return { kind, sequence, offset, received, waitMs };
}

// ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bytes before the padding of an answer to *up*, and before the content of one to *down* or *poll*. */
const UP_ANSWER_BYTES = 2 * U64_BYTES;
export const DOWN_HEAD_BYTES = U64_BYTES;

export interface UpAnswer {
  /** The relay has all bytes of the up stream before this offset. */
  readonly received: number;
  /** What of the down stream it has sent, on whatever answer. */
  readonly sent: number;
}

/** @param paddedTo bytes */
export function encodeUpAnswer({ received, sent }: UpAnswer, paddedTo: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(UP_ANSWER_BYTES, paddedTo));
  writeU64(bytes, 0, received);
  writeU64(bytes, U64_BYTES, sent);
  return bytes;
}

/** `ended`: the relay has ended the link. Undefined: not the answer of a relay. */
export function decodeUpAnswer(bytes: Uint8Array): UpAnswer | 'ended' | undefined {
  const received = bytes.length >= U64_BYTES ? readU64(bytes, 0) : undefined;
  if (received === 'all-ones') return 'ended';
  const sent = bytes.length >= UP_ANSWER_BYTES ? readU64(bytes, U64_BYTES) : undefined;
  return received === undefined || typeof sent !== 'number' ? undefined : { received, sent };
}

/** To *down* and *poll*: the offset of the byte that follows. */
export function encodeDownHead(offset: U64): Uint8Array {
  const bytes = new Uint8Array(DOWN_HEAD_BYTES);
  writeU64(bytes, 0, offset);
  return bytes;
}
