/**
 * Invites: the one string that a person pastes to join (docs/protocol.md, "Invites"). Pure.
 *
 * An invite is as good as a password: no error text holds any part of one, and the secret in a decoded one is wrapped in an
 * Identity.
 */
import { createHash } from 'node:crypto';
import { WstunError } from '../errors.ts';
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import { Identity, KEY_BYTES } from './keys.ts';
import { isName } from './names.ts';
import { parseRelayUrl } from './relay-url.ts';

const PREFIX = 'wstun1_';
const VERSION = 1;
const OTHER_VERSION = 'it was made by another version of wstun';
/** Version and total length. */
const HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
/** Type and length of a field. */
const FIELD_HEADER_BYTES = 3;
/** A person pastes it: with every field and eight long URLs it has less than half of this. */
const MAX_PASTED_CHARS = 32_768;
/** Relays to try in turn; more would only make a dead set slow to give up. */
const MAX_RELAY_URLS = 8;

const FIELD = { relayUrl: 1, relayGateKey: 2, exitSessionKey: 3, exitName: 4, bearerSecret: 5 } as const;

export interface Invite {
  /** 1 to 8, in the form of `parseRelayUrl`, best first. */
  readonly relayUrls: readonly string[];
  /** The relay's X25519 gate key, 32 bytes. */
  readonly relayGateKey: Uint8Array;
  /** The exit's X25519 session key, 32 bytes. */
  readonly exitSessionKey: Uint8Array;
  /** Undefined for the relay's own exit. */
  readonly exitName: string | undefined;
  readonly bearer: Identity;
}

/**
 * Only letters, digits, `-` and `_`: no shell needs quotes around it.
 * @throws WstunError bad-url
 */
export function encodeInvite(invite: Invite): string {
  if (invite.relayUrls.length === 0 || invite.relayUrls.length > MAX_RELAY_URLS)
    throw new RangeError('1 to 8 relay URLs');
  const fields = [
    ...invite.relayUrls.map((url) => encodeField(FIELD.relayUrl, Buffer.from(parseRelayUrl(url)))),
    encodeField(FIELD.relayGateKey, invite.relayGateKey),
    encodeField(FIELD.exitSessionKey, invite.exitSessionKey),
    ...(invite.exitName === undefined ? [] : [encodeField(FIELD.exitName, Buffer.from(invite.exitName))]),
    encodeField(FIELD.bearerSecret, invite.bearer.exposeSecret()),
  ];
  const body = Buffer.concat([Buffer.alloc(HEADER_BYTES), ...fields]);
  body.writeUInt8(VERSION, 0);
  body.writeUInt16BE(body.length + CHECKSUM_BYTES, 1);
  return PREFIX + encodeBase64url(Buffer.concat([body, checksumOf(body)]));
}

/**
 * Takes what people paste: broken over several lines by a terminal, in quotes.
 * @throws WstunError invite-malformed, invite-incomplete (cut off), invite-mistyped (a character changed), bad-url
 */
export function decodeInvite(pasted: string): Invite {
  const text = tidy(pasted);
  const encoded = withoutPrefix(text);
  // Read leniently at first: nearly every cut leaves a text that ends amid a byte, and the length inside tells it.
  const bytes = Buffer.from(encoded, 'base64url');
  const total = bytes.length < HEADER_BYTES ? undefined : bytes.readUInt16BE(1);
  if (total === undefined || bytes.length < total) throw incomplete(text, total);
  if (bytes.length > total) throw new WstunError('invite-mistyped', 'it is longer than it says');
  const body = bytes.subarray(0, Math.max(0, total - CHECKSUM_BYTES));
  const canonical = body.length >= HEADER_BYTES && decodeBase64url(encoded) !== undefined;
  if (!canonical || !checksumOf(body).equals(bytes.subarray(body.length))) throw new WstunError('invite-mistyped');
  if (body.readUInt8(0) !== VERSION) throw malformed(OTHER_VERSION);
  return inviteOf(decodeFields(body.subarray(HEADER_BYTES)));
}

/** Drops white space anywhere, quotes and angle brackets at either end, and marks that chat programs leave invisible. */
function tidy(pasted: string): string {
  if (pasted.length > MAX_PASTED_CHARS) throw malformed('it is far too long');
  return pasted.replace(/[\s\u200b-\u200d\u2060\ufeff]+/gu, '').replace(/^["'`“”‘’<]+|["'`“”‘’>]+$/gu, '');
}

function withoutPrefix(text: string): string {
  if (text !== '' && text.length < PREFIX.length && PREFIX.startsWith(text)) throw incomplete(text, undefined);
  if (/^wstun[02-9]\d*_/.test(text)) throw malformed(OTHER_VERSION);
  if (!text.startsWith(PREFIX)) throw malformed('');
  const encoded = text.slice(PREFIX.length);
  if (!/^[A-Za-z0-9_-]*$/.test(encoded))
    throw new WstunError('invite-mistyped', 'it has a character that no invite has');
  return encoded;
}

function incomplete(text: string, totalBytes: number | undefined): WstunError {
  if (totalBytes === undefined) return new WstunError('invite-incomplete', `only ${text.length} characters are there`);
  const whole = PREFIX.length + Math.ceil((totalBytes * 4) / 3);
  return new WstunError('invite-incomplete', `${text.length} of ${whole} characters are there`);
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

/** All values of each type; types that this version does not know are kept here and looked at by no one. */
function decodeFields(bytes: Buffer): Map<number, Buffer[]> {
  const fields = new Map<number, Buffer[]>();
  for (let at = 0; at < bytes.length; ) {
    const start = at + FIELD_HEADER_BYTES;
    if (start > bytes.length) throw malformed('a field is cut');
    const end = start + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) throw malformed('a field is cut');
    const type = bytes.readUInt8(at);
    fields.set(type, [...(fields.get(type) ?? []), bytes.subarray(start, end)]);
    at = end;
  }
  return fields;
}

function inviteOf(fields: Map<number, Buffer[]>): Invite {
  const urls = fields.get(FIELD.relayUrl) ?? [];
  if (urls.length === 0 || urls.length > MAX_RELAY_URLS) throw malformed('it names no relay, or too many');
  const relayUrls = urls.map((url) => parseRelayUrl(url.toString('utf8')));
  const exitName = single(fields, FIELD.exitName)?.toString('latin1');
  if (exitName !== undefined && !isName(exitName)) throw malformed('the name of its exit cannot be one');
  const relayGateKey = requireKey(fields, FIELD.relayGateKey);
  const exitSessionKey = requireKey(fields, FIELD.exitSessionKey);
  const bearer = new Identity(requireKey(fields, FIELD.bearerSecret));
  return { relayUrls, relayGateKey, exitSessionKey, exitName, bearer };
}

function single(fields: Map<number, Buffer[]>, type: number): Buffer | undefined {
  const values = fields.get(type);
  if (values !== undefined && values.length > 1) throw malformed('a field stands in it twice');
  return values?.[0];
}

function requireKey(fields: Map<number, Buffer[]>, type: number): Uint8Array {
  const key = single(fields, type);
  if (key?.length !== KEY_BYTES) throw malformed('a key is missing in it');
  return Uint8Array.from(key);
}
