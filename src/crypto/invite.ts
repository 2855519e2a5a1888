/** Invites: what a person pastes to join (docs/protocol.md, "Invites"). No error text holds any part of one. Pure. */
import { createHash } from 'node:crypto';
import { WstunError } from '../errors.ts';
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import { Identity, KEY_BYTES } from './keys.ts';
import { isName } from './names.ts';
import { type FoundInvite, findInvites, lengthOf, MAX_PASTED_CHARS, PREFIX, tidy } from './pasted-text.ts';
import { isPublicKey } from './public-key.ts';
import { parseRelayUrl } from './relay-url.ts';

const VERSION = 1;
const OTHER_VERSION = 'it was made by another version of wstun';
/** Version and total length. */
const HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
/** Type and length of a field. */
const FIELD_HEADER_BYTES = 3;
/** Anything shorter is not an invite: its three keys have more. */
const SHORTEST_CHARS = 24;
/** Relays to try in turn; with more, a client would only give up later. */
export const MAX_RELAY_URLS = 8;
/** Of TLS keys: two for each of four relays, the present key and the next one. */
const MAX_TLS_PINS = 8;
/** SHA-256 of a SubjectPublicKeyInfo. */
const TLS_PIN_BYTES = 32;

const FIELD = {
  relayUrl: 1,
  relayGateKey: 2,
  exitSessionKey: 3,
  exitName: 4,
  peerSecret: 5,
  role: 6,
  tlsPin: 7,
} as const;
const ROLES = ['client', 'exit'] as const;

/** What its peer becomes: a client of an exit, or an exit of a relay. */
type InviteRole = (typeof ROLES)[number];

export interface Invite {
  /** 1 to 8, in the form of `parseRelayUrl`, best first. */
  readonly relayUrls: readonly string[];
  /** The relay's X25519 gate key, 32 bytes. */
  readonly relayGateKey: Uint8Array;
  /** The exit's X25519 session key, 32 bytes. */
  readonly exitSessionKey: Uint8Array;
  /** Undefined for the relay's own exit. */
  readonly exitName: string | undefined;
  /** Missing in invites of early versions. */
  readonly role?: InviteRole | undefined;
  /**
   * Of the relays' TLS keys: 0 to 8, each SHA-256 of a SubjectPublicKeyInfo. A certificate with such a key is accepted,
   * whatever its issuer, name and dates.
   */
  readonly tlsPins?: readonly Uint8Array[] | undefined;
  readonly peer: Identity;
}

/** Only letters, digits, `-` and `_`: no shell needs quotes around it. @throws WstunError bad-url */
export function encodeInvite(invite: Invite): string {
  return encodeFields([
    ...relayFields(invite.relayUrls),
    encodeField(FIELD.relayGateKey, invite.relayGateKey),
    encodeField(FIELD.exitSessionKey, invite.exitSessionKey),
    ...(invite.exitName === undefined ? [] : [encodeField(FIELD.exitName, Buffer.from(invite.exitName))]),
    encodeField(FIELD.peerSecret, invite.peer.exposeSecret()),
    ...(invite.role === undefined ? [] : [encodeField(FIELD.role, Uint8Array.of(ROLES.indexOf(invite.role) + 1))]),
    ...pinFields(invite.tlsPins ?? []),
  ]);
}

/** @throws WstunError bad-url */
function relayFields(urls: readonly string[]): Buffer[] {
  if (urls.length === 0 || urls.length > MAX_RELAY_URLS) throw new RangeError('1 to 8 relay URLs');
  return urls.map((url) => encodeField(FIELD.relayUrl, Buffer.from(parseRelayUrl(url))));
}

function pinFields(pins: readonly Uint8Array[]): Buffer[] {
  if (pins.length > MAX_TLS_PINS) throw new RangeError('0 to 8 pins');
  return pins.map((pin) => encodeField(FIELD.tlsPin, pin));
}

function encodeFields(fields: readonly Buffer[]): string {
  const body = Buffer.concat([Buffer.alloc(HEADER_BYTES), ...fields]);
  body.writeUInt8(VERSION, 0);
  body.writeUInt16BE(body.length + CHECKSUM_BYTES, 1);
  return PREFIX + encodeBase64url(Buffer.concat([body, checksumOf(body)]));
}

/**
 * Accepts any text with an invite in it (pasted-text.ts). @throws WstunError invite-malformed, invite-incomplete (cut
 * off), invite-mistyped (a character changed), two-invites, bad-url
 */
export function decodeInvite(pasted: string): Invite {
  return inviteOf(decodeFields(bodyOf(inviteIn(pasted)).subarray(HEADER_BYTES)));
}

/** Without its checksum. */
function bodyOf(text: string): Buffer {
  const body = Buffer.from(text.slice(PREFIX.length), 'base64url').subarray(0, -CHECKSUM_BYTES);
  if (body.readUInt8(0) !== VERSION) throw malformed(OTHER_VERSION);
  return body;
}

/**
 * The same invite with other relays and pins. Whatever else it has stays as it is: keys, the peer's secret, and fields
 * that this version does not know. @throws WstunError as `decodeInvite`, bad-url
 */
export function withRelays(pasted: string, relayUrls: readonly string[], tlsPins: readonly Uint8Array[]): string {
  const fields = rawFields(bodyOf(inviteIn(pasted)).subarray(HEADER_BYTES));
  const kept = fields.filter(({ type }) => type !== FIELD.relayUrl && type !== FIELD.tlsPin);
  return encodeFields([
    ...relayFields(relayUrls),
    ...kept.map(({ type, value }) => encodeField(type, value)),
    ...pinFields(tlsPins),
  ]);
}

/** The invite itself, without the text around it, as it was made. @throws WstunError as `decodeInvite` */
export function inviteIn(pasted: string): string {
  if (pasted.length > MAX_PASTED_CHARS) throw malformed('it is too long');
  const found = findInvites(pasted);
  const whole = found.find((piece) => textFault(piece) === undefined);
  const longest = found.reduce((a, b) => (b.text.length > a.text.length ? b : a), { text: '' } as FoundInvite);
  if (whole === undefined) throw (found.length > 0 && textFault(longest)) || noInviteIn(tidy(pasted));
  // An invite that begins twice, or a sentence such as "an invite begins with wstun1_", is not another invite.
  const isPartOf = ({ text }: FoundInvite) => text.length < SHORTEST_CHARS || whole.text.startsWith(text);
  if (!found.every(isPartOf)) throw new WstunError('two-invites');
  return whole.text;
}

/** What is wrong with it as a text; undefined if it is whole. */
function textFault({ text, hasGaps, end }: FoundInvite): WstunError | undefined {
  const encoded = text.slice(PREFIX.length);
  const length = lengthOf(encoded);
  if (end === 'foreign') return new WstunError('invite-mistyped', 'it contains a character that invites never contain');
  if (length === undefined || text.length < length) return incomplete(text.length, length, hasGaps);
  if (end === 'longer' || text.length > length)
    return new WstunError('invite-mistyped', 'it is longer than its length field says');
  const bytes = Buffer.from(encoded, 'base64url');
  const body = bytes.subarray(0, Math.max(0, bytes.length - CHECKSUM_BYTES));
  const canonical = body.length >= HEADER_BYTES && decodeBase64url(encoded) !== undefined;
  if (canonical && checksumOf(body).equals(bytes.subarray(body.length))) return undefined;
  return new WstunError('invite-mistyped');
}

/** Why the text has no invite. */
function noInviteIn(text: string): WstunError {
  // The last word of a line that was cut.
  const word =
    text
      .trim()
      .split(/\s+/)
      .at(-1)
      ?.replace(/^["'`“”‘’<]+/, '') ?? '';
  if (word !== '' && PREFIX.startsWith(word)) return incomplete(word.length, undefined, false);
  return malformed(/wstun(?:[02-9]\d*|1\d+)_/.test(text) ? OTHER_VERSION : '');
}

function incomplete(chars: number, whole: number | undefined, hasGaps: boolean): WstunError {
  if (whole === undefined) return new WstunError('invite-incomplete', `it has only ${chars} characters`);
  // What follows the last gap may belong to the text around it.
  const most = hasGaps ? 'at most ' : '';
  return new WstunError('invite-incomplete', `it has ${most}${chars} of ${whole} characters`);
}

function malformed(detail: string): WstunError {
  return new WstunError('invite-malformed', detail);
}

function checksumOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(PREFIX).update(body).digest().subarray(0, CHECKSUM_BYTES);
}

function encodeField(type: number, value: Uint8Array): Buffer {
  const header = Buffer.alloc(FIELD_HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt16BE(value.length, 1);
  return Buffer.concat([header, value]);
}

/** All values of each type. Types that this version does not know are ignored. */
function decodeFields(bytes: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  for (const { type, value } of rawFields(bytes)) fields.set(type, [...(fields.get(type) ?? []), value]);
  return fields;
}

interface Field {
  readonly type: number;
  readonly value: Buffer;
}

function rawFields(bytes: Buffer): readonly Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at + FIELD_HEADER_BYTES;
    if (start > bytes.length) throw malformed('a field is incomplete');
    const end = start + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) throw malformed('a field is incomplete');
    fields.push({ type: bytes.readUInt8(at), value: bytes.subarray(start, end) });
    at = end;
  }
  return fields;
}

function inviteOf(fields: Map<number, Buffer[]>): Invite {
  const urls = fields.get(FIELD.relayUrl) ?? [];
  if (urls.length === 0 || urls.length > MAX_RELAY_URLS) throw malformed('it has no relay URL, or too many');
  const relayUrls = urls.map((url) => parseRelayUrl(url.toString('utf8')));
  const exitName = single(fields, FIELD.exitName)?.toString('latin1');
  if (exitName !== undefined && !isName(exitName)) throw malformed('the name of its exit is not valid');
  const relayGateKey = requirePublicKey(fields, FIELD.relayGateKey);
  const exitSessionKey = requirePublicKey(fields, FIELD.exitSessionKey);
  const peer = new Identity(requireKey(fields, FIELD.peerSecret));
  const tlsPins = tlsPinsOf(fields);
  return { relayUrls, relayGateKey, exitSessionKey, exitName, role: roleOf(fields), tlsPins, peer };
}

function tlsPinsOf(fields: Map<number, Buffer[]>): readonly Uint8Array[] {
  const pins = fields.get(FIELD.tlsPin) ?? [];
  if (pins.length > MAX_TLS_PINS) throw malformed('it has too many pins');
  if (pins.some((pin) => pin.length !== TLS_PIN_BYTES)) throw malformed('one of its pins is not valid');
  return pins.map((pin) => Uint8Array.from(pin));
}

function roleOf(fields: Map<number, Buffer[]>): InviteRole | undefined {
  const value = single(fields, FIELD.role);
  if (value === undefined) return undefined;
  const role = value.length === 1 ? ROLES[value.readUInt8(0) - 1] : undefined;
  if (role === undefined) throw malformed(OTHER_VERSION);
  return role;
}

function single(fields: Map<number, Buffer[]>, type: number): Buffer | undefined {
  const values = fields.get(type);
  if (values !== undefined && values.length > 1) throw malformed('a field occurs twice');
  return values?.[0];
}

function requirePublicKey(fields: Map<number, Buffer[]>, type: number): Uint8Array {
  const key = requireKey(fields, type);
  if (!isPublicKey(key)) throw malformed('one of its keys is not a valid public key');
  return key;
}

function requireKey(fields: Map<number, Buffer[]>, type: number): Uint8Array {
  const key = single(fields, type);
  if (key?.length !== KEY_BYTES) throw malformed('one of its keys is missing');
  return Uint8Array.from(key);
}
