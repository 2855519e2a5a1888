/**
 * Tickets: the one-time passes in an upgrade's request target (docs/protocol.md, "Tickets"). Sealing for the bearer, opening
 * for the relay; the only file of `crypto` that `relay` may import. Pure: milliseconds since 1970 are passed in.
 *
 * What a stranger sends costs a base64 decode and three look-ups: the hint, an HMAC that only the two key holders can
 * compute, picks the bearer before any box is opened, and changes every two minutes so that it names no one to others.
 */
import { createHmac, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import type { Identity } from './keys.ts';
import { isName, MAX_NAME_LENGTH } from './names.ts';
import { ReplayMemory } from './replay-memory.ts';

const TICKET_VERSION = 1;
const HINT_LABEL = 'wstun ticket hint v1';
const ROTATED_LABEL = 'wstun keys rotated v1';
const HINT_BYTES = 8;
const NONCE_BYTES = 24;
const BOX_OVERHEAD_BYTES = 16;
const FIXED_BYTES = 15;
const PAYLOAD_BYTES = FIXED_BYTES + MAX_NAME_LENGTH;
/** 126, a multiple of three: the text has no unused bits. */
const TICKET_BYTES = HINT_BYTES + NONCE_BYTES + BOX_OVERHEAD_BYTES + PAYLOAD_BYTES;

/** Every ticket has exactly as many characters, so that its length tells nothing. */
export const TICKET_TEXT_LENGTH = (TICKET_BYTES * 4) / 3;

/** How far the clocks of bearer and relay may be apart, seconds: a laptop without NTP drifts by less in weeks. */
const MAX_SKEW_SECONDS = 120;
/** A hint is valid for one epoch; as long as the skew, so that a relay needs the hints of three. */
const EPOCH_SECONDS = 120;
/**
 * A ticket accepted now may bear a time up to the skew ahead and stays valid for the skew after it: twice the skew. One more
 * covers a relay whose clock is set back meanwhile.
 */
const NONCE_RETENTION_MS = 3 * MAX_SKEW_SECONDS * 1000;

type TicketRole = 'client' | 'exit';

const ROLE_CODE: Readonly<Record<TicketRole, number>> = { client: 1, exit: 2 };

export interface TicketFields {
  readonly role: TicketRole;
  /**
   * Of a client, the name of the exit that the link shall lead to; empty for the relay's own. Of an exit, the token of the call
   * that the link answers; empty for its control link.
   */
  readonly destination: string;
  /** The version of the session protocol that the bearer speaks, 0..65535. */
  readonly protocol: number;
  /** Feature bits of the session protocol, 0..65535, and PAGE_FEATURE. */
  readonly features: number;
}

/** Set by the bearer: a web page will use the ticket, so the request may have an `Origin`. Of all tickets only these open to browsers. */
export const PAGE_FEATURE = 0x8000;

/** The bearer's side. Computes the shared key once, so that a ticket costs no public-key work. */
export class TicketSealer {
  readonly #sharedKey: Uint8Array;

  constructor(bearer: Identity, relayGateKey: Uint8Array) {
    this.#sharedKey = bearer.exposeGateSharedKey(relayGateKey);
  }

  /**
   * A new ticket, good for one link until two minutes after `now` by the relay's clock.
   * @param now milliseconds since 1970; a bearer that knows better than its clock may correct it
   * @throws RangeError for fields out of range
   */
  seal(fields: TicketFields, now: number): string {
    const seconds = Math.floor(now / 1000);
    const nonce = randomBytes(NONCE_BYTES);
    const box = nacl.box.after(encodePayload(fields, seconds), nonce, this.#sharedKey);
    const hint = hintOf(this.#sharedKey, epochOf(seconds));
    return encodeBase64url(Buffer.concat([hint, nonce, box]));
  }

  /** What only the relay can say to a ticket of ours: that its keys were rotated. 32 bytes. */
  rotationProof(ticket: string): Buffer {
    const nonce = Buffer.from(ticket, 'base64url').subarray(HINT_BYTES, HINT_BYTES + NONCE_BYTES);
    return rotationProofOf(this.#sharedKey, nonce);
  }
}

export interface Bearer {
  /** For logs, and to find the bearer's links by. */
  readonly name: string;
  readonly gateKey: Uint8Array;
  /** What the tickets of this key may say. */
  readonly role: TicketRole;
  /** Of a client: the one destination that its tickets may have. An exit's may have any. */
  readonly destination: string;
}

/**
 * Why a ticket does not open. `malformed`: no ticket at all. `unknown`: no bearer of ours, or a clock more than an epoch off.
 * `forged`: a hint of ours with a box that is not. `unsupported`: of another version, or with fields out of range.
 * `misplaced`: a role or a destination that the bearer may not have. `from-page`: a web page that the bearer did not mean. `late`, `early`: a clock too far off. `replayed`: used
 * before. `flooded`: the bearer used its share of the replay memory.
 */
export type TicketRefusal =
  | 'malformed'
  | 'unknown'
  | 'forged'
  | 'unsupported'
  | 'misplaced'
  | 'from-page'
  | 'late'
  | 'early'
  | 'replayed'
  | 'flooded';

export type TicketVerdict =
  | {
      readonly admitted: true;
      readonly bearer: string;
      readonly fields: TicketFields;
      /** Only where the keys that it was sealed to are retired: its link leads nowhere, but the bearer may be told why. */
      readonly rotationProof?: Buffer;
    }
  /** The bearer's name where the box proved it; for logs, never for the answer to the asker. */
  | { readonly admitted: false; readonly reason: TicketRefusal; readonly bearer?: string };

/** One key, and all that it was let in for: an exit can announce a key that is on another's list, and takes nothing from it. */
interface KnownKey {
  readonly sharedKey: Uint8Array;
  /** By `grantOf`: the name for the logs. */
  readonly grants: Map<string, string>;
}

/** The relay's side: who may come, as what and where to, and which tickets have been used. */
export class TicketOpener {
  readonly #relay: Identity;
  readonly #replays = new ReplayMemory(NONCE_RETENTION_MS);
  /** By the text of the bearer's gate key. */
  readonly #keys = new Map<string, KnownKey>();
  /** Epoch to hint to the bearer's key text, for the three epochs within the skew of `#epoch`. */
  readonly #hints = new Map<number, Map<bigint, string>>();
  #epoch: number | undefined;
  #list: readonly Bearer[] = [];
  readonly #retired: boolean;

  /** @param retired the relay has other keys by now: verdicts hold the proof of that */
  constructor(relay: Identity, { retired = false } = {}) {
    this.#relay = relay;
    this.#retired = retired;
  }

  /** Nonces remembered. */
  get rememberedNonces(): number {
    return this.#replays.size;
  }

  /**
   * Replaces the relay's own list; whoever is missing is locked out at once. A new key costs 0.07 ms once, a known one nothing. Of
   * several bearers with one key, role and destination the last gives its name.
   */
  setBearers(bearers: Iterable<Bearer>): void {
    const before = this.#list;
    this.#list = [...bearers];
    for (const bearer of this.#list) this.add(bearer);
    const kept = new Set(this.#list.map(placeOf));
    for (const bearer of before) if (!kept.has(placeOf(bearer))) this.remove(bearer);
  }

  /** Lets one more in, beside the list. A new key costs 0.07 ms. */
  add(bearer: Bearer): void {
    const id = encodeBase64url(bearer.gateKey);
    const known = this.#keys.get(id);
    if (known !== undefined) {
      known.grants.set(grantOf(bearer), bearer.name);
      return;
    }
    const sharedKey = this.#relay.exposeGateSharedKey(bearer.gateKey);
    this.#keys.set(id, { sharedKey, grants: new Map([[grantOf(bearer), bearer.name]]) });
    for (const [epoch, hints] of this.#hints) hints.set(numericHint(sharedKey, epoch), id);
    this.#replays.setBearerCount(this.#keys.size);
  }

  /** Locks out what was added with this key, role and destination; what else the key may do stays. */
  remove(bearer: Bearer): void {
    const id = encodeBase64url(bearer.gateKey);
    const known = this.#keys.get(id);
    known?.grants.delete(grantOf(bearer));
    if (known === undefined || known.grants.size > 0) return;
    this.#keys.delete(id);
    for (const [epoch, hints] of this.#hints) hints.delete(numericHint(known.sharedKey, epoch));
    this.#replays.setBearerCount(this.#keys.size);
  }

  /**
   * Whether the hint is that of a bearer of ours: a base64 decode and three look-ups. It proves nothing but that such a ticket was once
   * made, and uses nothing up.
   * @param now milliseconds since 1970
   */
  knowsHint(text: string, now: number): boolean {
    const bytes = text.length === TICKET_TEXT_LENGTH ? decodeBase64url(text) : undefined;
    return (
      bytes !== undefined && this.#bearerOfHint(bytes.readBigUInt64BE(0), Math.floor(now / 1000), now) !== undefined
    );
  }

  /**
   * Opens a ticket and uses it up.
   * @param now milliseconds since 1970
   * @param fromPage the request came from a web page, which only tickets with PAGE_FEATURE may
   */
  open(text: string, now: number, fromPage = false): TicketVerdict {
    const bytes = text.length === TICKET_TEXT_LENGTH ? decodeBase64url(text) : undefined;
    if (bytes === undefined) return { admitted: false, reason: 'malformed' };
    const seconds = Math.floor(now / 1000);
    const found = this.#bearerOfHint(bytes.readBigUInt64BE(0), seconds, now);
    if (found === undefined) return { admitted: false, reason: 'unknown' };
    const { id, known } = found;
    const nonce = bytes.subarray(HINT_BYTES, HINT_BYTES + NONCE_BYTES);
    const payload = nacl.box.open.after(bytes.subarray(HINT_BYTES + NONCE_BYTES), nonce, known.sharedKey);
    if (payload === null) return { admitted: false, reason: 'forged' };
    const opened = decodePayload(payload);
    const granted = opened && known.grants.get(grantOf(opened.fields));
    const [anyName = ''] = known.grants.values();
    const refuse = (reason: TicketRefusal): TicketVerdict => ({ admitted: false, reason, bearer: granted ?? anyName });
    if (opened === undefined) return refuse('unsupported');
    if (granted === undefined) return refuse('misplaced');
    if (fromPage && (opened.fields.features & PAGE_FEATURE) === 0) return refuse('from-page');
    const reason = skewRefusal(opened.seconds, seconds) ?? this.#useUp(id, nonce, now);
    if (reason !== undefined) return refuse(reason);
    const proof = this.#retired && { rotationProof: rotationProofOf(known.sharedKey, nonce) };
    return { admitted: true, bearer: granted, fields: opened.fields, ...proof };
  }

  #bearerOfHint(hint: bigint, seconds: number, now: number): { id: string; known: KnownKey } | undefined {
    const current = epochOf(seconds);
    if (current !== this.#epoch) this.#turnEpoch(current, now);
    for (const hints of this.#hints.values()) {
      const id = hints.get(hint);
      const known = id === undefined ? undefined : this.#keys.get(id);
      if (id !== undefined && known !== undefined) return { id, known };
    }
    return undefined;
  }

  /** Once in two minutes one HMAC for each bearer, 2.5 µs each: 25 ms at 10,000. */
  #turnEpoch(current: number, now: number): void {
    for (const epoch of this.#hints.keys()) {
      if (Math.abs(epoch - current) > 1) this.#hints.delete(epoch);
    }
    for (const epoch of [current, current - 1, current + 1]) {
      if (!this.#hints.has(epoch)) this.#hints.set(epoch, this.#hintsOfEpoch(epoch));
    }
    this.#epoch = current;
    this.#replays.sweep(now);
  }

  #hintsOfEpoch(epoch: number): Map<bigint, string> {
    const hints = new Map<bigint, string>();
    for (const [id, { sharedKey }] of this.#keys) hints.set(numericHint(sharedKey, epoch), id);
    return hints;
  }

  #useUp(id: string, nonce: Buffer, now: number): 'replayed' | 'flooded' | undefined {
    const use = this.#replays.remember(id, nonce.toString('latin1'), now);
    if (use === 'fresh') return undefined;
    return use === 'seen' ? 'replayed' : 'flooded';
  }
}

/** The relay's keys, the present ones first, then those that it has retired: a ticket opens with one of them or with none. */
export function openWithAny(
  openers: readonly TicketOpener[],
  text: string,
  now: number,
  fromPage = false,
): TicketVerdict {
  let verdict: TicketVerdict = { admitted: false, reason: 'unknown' };
  for (const opener of openers) {
    verdict = opener.open(text, now, fromPage);
    if (verdict.admitted || verdict.reason !== 'unknown') return verdict;
  }
  return verdict;
}

/** Nobody but bearer and relay can compute it, and it says it of this one ticket. */
function rotationProofOf(sharedKey: Uint8Array, nonce: Uint8Array): Buffer {
  return createHmac('sha256', sharedKey).update(ROTATED_LABEL).update(nonce).digest();
}

function epochOf(seconds: number): number {
  return Math.floor(seconds / EPOCH_SECONDS);
}

function numericHint(sharedKey: Uint8Array, epoch: number): bigint {
  return hintOf(sharedKey, epoch).readBigUInt64BE(0);
}

/** What a ticket must say to be let in by what `Bearer` says. */
function grantOf({ role, destination }: Pick<Bearer, 'role' | 'destination'>): string {
  return role === 'exit' ? role : `${role} ${destination}`;
}

function placeOf(bearer: Bearer): string {
  return `${encodeBase64url(bearer.gateKey)} ${grantOf(bearer)}`;
}

function hintOf(sharedKey: Uint8Array, epoch: number): Buffer {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.max(0, epoch)));
  return createHmac('sha256', sharedKey).update(HINT_LABEL).update(counter).digest().subarray(0, HINT_BYTES);
}

function skewRefusal(ticketSeconds: number, seconds: number): 'late' | 'early' | undefined {
  if (ticketSeconds < seconds - MAX_SKEW_SECONDS) return 'late';
  if (ticketSeconds > seconds + MAX_SKEW_SECONDS) return 'early';
  return undefined;
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

function decodePayload(bytes: Uint8Array): { seconds: number; fields: TicketFields } | undefined {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (payload.length !== PAYLOAD_BYTES || payload.readUInt8(0) !== TICKET_VERSION) return undefined;
  const role = roleOf(payload.readUInt8(1));
  const destination = decodeDestination(payload);
  if (role === undefined || destination === undefined) return undefined;
  const protocol = payload.readUInt16BE(10);
  const features = payload.readUInt16BE(12);
  // Beyond 2^53 the number is rounded, but it is then far outside the skew anyway.
  return { seconds: Number(payload.readBigUInt64BE(2)), fields: { role, destination, protocol, features } };
}

function roleOf(code: number): TicketRole | undefined {
  if (code === ROLE_CODE.client) return 'client';
  return code === ROLE_CODE.exit ? 'exit' : undefined;
}

function decodeDestination(payload: Buffer): string | undefined {
  const length = payload.readUInt8(14);
  if (length > MAX_NAME_LENGTH) return undefined;
  const end = FIXED_BYTES + length;
  if (payload.subarray(end).some((byte) => byte !== 0)) return undefined;
  const destination = payload.toString('latin1', FIXED_BYTES, end);
  return destination === '' || isName(destination) ? destination : undefined;
}
