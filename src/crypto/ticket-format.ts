/** Tickets and proven refusals as bytes (docs/protocol.md §2.2). Pure except for randomness. */
import { createHmac, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { AUDIENCE_FEATURE, readAudience, writeAudience } from './audience.ts';
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import { isName, MAX_NAME_CHARS } from './names.ts';

const TICKET_VERSION = 1;
const HINT_LABEL = 'wstun ticket hint v1';
const ROTATED_LABEL = 'wstun keys rotated v1';
const REFUSAL_LABEL = 'wstun refusal v1';
const HINT_BYTES = 8;
/** Base64url characters that hold it. */
const HINT_CHARS = 11;
const NONCE_BYTES = 24;
const BOX_OVERHEAD_BYTES = 16;
const FIXED_BYTES = 15;
const PAYLOAD_BYTES = FIXED_BYTES + MAX_NAME_CHARS;
/** 126, a multiple of three: the text has no unused bits. */
const TICKET_BYTES = HINT_BYTES + NONCE_BYTES + BOX_OVERHEAD_BYTES + PAYLOAD_BYTES;
const REFUSAL_PAYLOAD_BYTES = 9;
const REFUSAL_BYTES = NONCE_BYTES + BOX_OVERHEAD_BYTES + REFUSAL_PAYLOAD_BYTES;
/** 49 bytes in base64url without padding. */
const REFUSAL_TEXT_LENGTH = Math.ceil((REFUSAL_BYTES * 4) / 3);

/** Every ticket has exactly so many characters, so that its length reveals nothing. */
export const TICKET_TEXT_LENGTH = (TICKET_BYTES * 4) / 3;
/** A hint is valid for one epoch: as long as the permitted clock skew, so that a relay needs the hints of three. */
export const EPOCH_SECONDS = 120;

export type TicketRole = 'client' | 'exit';

const ROLE_CODE: Readonly<Record<TicketRole, number>> = { client: 1, exit: 2 };

export interface TicketFields {
  readonly role: TicketRole;
  /** A client's exit, empty for the relay's own. An exit's token of a request; empty for its control link. */
  readonly destination: string;
  /** The version of the session protocol that the peer speaks, 0..65535. */
  readonly protocol: number;
  /**
   * Feature bits of the session protocol, 0..65535, and PAGE_FEATURE. AUDIENCE_FEATURE is set for a sealed audience.
   */
  readonly features: number;
}

/** The parts of a decoded ticket; nothing is proved yet. */
export interface SealedTicket {
  readonly hint: bigint;
  /** 24 bytes. If its peer is honest, the first 16 are random; the others are, too, or say for which relay it is. */
  readonly nonce: Buffer;
  readonly box: Buffer;
}

export interface OpenedTicket {
  /** Since 1970, by the peer's clock. */
  readonly seconds: number;
  readonly fields: TicketFields;
  /** For which relay it is; undefined: the peer does not say. */
  readonly audience: bigint | undefined;
}

/** Why a valid ticket did not become a link, as the relay proves it; each has its fault in src/errors.ts. */
export type RefusalReason = 'upgrade-dropped' | 'wrong-path' | 'clock-off' | 'relay-full' | 'too-often';

const REASON_CODE: Readonly<Record<RefusalReason, number>> = {
  'upgrade-dropped': 1,
  'wrong-path': 2,
  'clock-off': 3,
  'relay-full': 4,
  'too-often': 5,
};

export interface Refusal {
  readonly reason: RefusalReason;
  /** The relay's clock, milliseconds since 1970, in steps of one second. */
  readonly time: number;
}

// ── tickets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param now milliseconds since 1970
 * @param audience of `audienceOf`; undefined: the ticket is for every relay with this key
 * @throws RangeError for fields out of range
 */
export function sealTicket(sharedKey: Uint8Array, fields: TicketFields, now: number, audience?: bigint): string {
  const seconds = Math.floor(now / 1000);
  const nonce = randomBytes(NONCE_BYTES);
  if (audience !== undefined) writeAudience(sharedKey, nonce, audience);
  const features = audience === undefined ? fields.features : fields.features | AUDIENCE_FEATURE;
  const box = nacl.box.after(encodePayload({ ...fields, features }, seconds), nonce, sharedKey);
  return encodeBase64url(Buffer.concat([hintOf(sharedKey, epochOf(seconds)), nonce, box]));
}

/** Undefined for what cannot be a ticket: a text of another length, or in another spelling. */
export function decodeTicket(text: string): SealedTicket | undefined {
  const bytes = text.length === TICKET_TEXT_LENGTH ? decodeBase64url(text) : undefined;
  if (bytes === undefined) return undefined;
  const box = bytes.subarray(HINT_BYTES + NONCE_BYTES);
  return { hint: bytes.readBigUInt64BE(0), nonce: bytes.subarray(HINT_BYTES, HINT_BYTES + NONCE_BYTES), box };
}

/** The hint alone, of what has a ticket's length: whether the rest is right is not known. */
export function hintIn(text: string): bigint | undefined {
  if (text.length !== TICKET_TEXT_LENGTH) return undefined;
  const bytes = Buffer.from(text.slice(0, HINT_CHARS), 'base64url');
  return bytes.length < HINT_BYTES ? undefined : bytes.readBigUInt64BE(0);
}

/** `forged`: the box is not of that key's holders. `unsupported`: of another version, or fields out of range. */
export function openTicket(
  sharedKey: Uint8Array,
  { nonce, box }: SealedTicket,
): OpenedTicket | 'forged' | 'unsupported' {
  const payload = nacl.box.open.after(box, nonce, sharedKey);
  if (payload === null) return 'forged';
  const decoded = decodePayload(payload);
  if (decoded === undefined) return 'unsupported';
  const isForOne = (decoded.fields.features & AUDIENCE_FEATURE) !== 0;
  return { ...decoded, audience: isForOne ? readAudience(sharedKey, nonce) : undefined };
}

export function epochOf(seconds: number): number {
  return Math.floor(seconds / EPOCH_SECONDS);
}

/** The hint of a peer's tickets in that epoch, 8 bytes as one number: 2.5 µs. */
export function numericHint(sharedKey: Uint8Array, epoch: number): bigint {
  return hintOf(sharedKey, epoch).readBigUInt64BE(0);
}

function hintOf(sharedKey: Uint8Array, epoch: number): Buffer {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.max(0, epoch)));
  return createHmac('sha256', sharedKey).update(HINT_LABEL).update(counter).digest().subarray(0, HINT_BYTES);
}

function encodePayload(fields: TicketFields, seconds: number): Buffer {
  if (fields.destination !== '' && !isName(fields.destination)) throw new RangeError('not the name of an exit');
  const payload = Buffer.alloc(PAYLOAD_BYTES);
  payload.writeUInt8(TICKET_VERSION, 0);
  payload.writeUInt8(ROLE_CODE[fields.role], 1);
  payload.writeBigUInt64BE(BigInt(seconds), 2);
  payload.writeUInt16BE(fields.protocol, 10);
  payload.writeUInt16BE(fields.features, 12);
  payload.writeUInt8(fields.destination.length, 14);
  payload.write(fields.destination, FIXED_BYTES, 'latin1');
  return payload;
}

function decodePayload(bytes: Uint8Array): Omit<OpenedTicket, 'audience'> | undefined {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (payload.length !== PAYLOAD_BYTES || payload.readUInt8(0) !== TICKET_VERSION) return undefined;
  const role = (['client', 'exit'] as const).find((each) => ROLE_CODE[each] === payload.readUInt8(1));
  const destination = decodeDestination(payload);
  if (role === undefined || destination === undefined) return undefined;
  const protocol = payload.readUInt16BE(10);
  const features = payload.readUInt16BE(12);
  // Beyond 2^53 the number is rounded, but it is then far outside the skew anyway.
  return { seconds: Number(payload.readBigUInt64BE(2)), fields: { role, destination, protocol, features } };
}

function decodeDestination(payload: Buffer): string | undefined {
  const length = payload.readUInt8(14);
  if (length > MAX_NAME_CHARS) return undefined;
  const end = FIXED_BYTES + length;
  if (payload.subarray(end).some((byte) => byte !== 0)) return undefined;
  const destination = payload.toString('latin1', FIXED_BYTES, end);
  return destination === '' || isName(destination) ? destination : undefined;
}

// ── what the relay proves ────────────────────────────────────────────────────────────────────────────────────────────

/** Only peer and relay can compute it, and it holds for this ticket only. */
export function rotationProofOf(sharedKey: Uint8Array, nonce: Uint8Array): Buffer {
  return createHmac('sha256', sharedKey).update(ROTATED_LABEL).update(nonce).digest();
}

/** An `ETag` that only the peer of that ticket can read, 68 characters. @param now milliseconds since 1970 */
export function sealRefusal(
  sharedKey: Uint8Array,
  ticketNonce: Uint8Array,
  reason: RefusalReason,
  now: number,
): string {
  const payload = Buffer.alloc(REFUSAL_PAYLOAD_BYTES);
  payload.writeUInt8(REASON_CODE[reason], 0);
  payload.writeBigUInt64BE(BigInt(Math.floor(now / 1000)), 1);
  const nonce = randomBytes(NONCE_BYTES);
  const box = nacl.secretbox(payload, nonce, refusalKeyOf(sharedKey, ticketNonce));
  return `"${encodeBase64url(Buffer.concat([nonce, box]))}"`;
}

/** Undefined for an invalid `ETag`, one for another ticket, and a reason that this version does not know. */
export function openRefusal(sharedKey: Uint8Array, ticketNonce: Uint8Array, etag: string): Refusal | undefined {
  // Front ends add text before and after: W/"…", "…-gzip".
  const [, text = ''] = new RegExp(`^\\s*(?:W/)?"([\\w-]{${REFUSAL_TEXT_LENGTH}})`).exec(etag) ?? [];
  const bytes = text === '' ? undefined : decodeBase64url(text);
  if (bytes === undefined) return undefined;
  const key = refusalKeyOf(sharedKey, ticketNonce);
  const payload = nacl.secretbox.open(bytes.subarray(NONCE_BYTES), bytes.subarray(0, NONCE_BYTES), key);
  return payload === null ? undefined : decodeRefusal(Buffer.from(payload));
}

function decodeRefusal(payload: Buffer): Refusal | undefined {
  const reasons = Object.keys(REASON_CODE) as RefusalReason[];
  const reason = reasons.find((each) => REASON_CODE[each] === payload.readUInt8(0));
  return reason && { reason, time: Number(payload.readBigUInt64BE(1)) * 1000 };
}

function refusalKeyOf(sharedKey: Uint8Array, ticketNonce: Uint8Array): Buffer {
  return createHmac('sha256', sharedKey).update(REFUSAL_LABEL).update(ticketNonce).digest();
}
