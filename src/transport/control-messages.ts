/**
 * The messages between an exit and a relay on the exit's control link, and the notice that a relay sends to a client
 * that it cannot connect (docs/protocol.md §11, "Named exits"). Pure: encodes, decodes strictly, bounds everything.
 */
import { type WireFaultName, wireCodeOf } from '../errors.ts';
import { parseIp } from '../net/ip.ts';
import type { Message } from './message-link.ts';

/** Below a link's largest message. A longer list of keys is sent in several messages. */
const MAX_CONTROL_BYTES = 60_000;
/** As many as an access list may have. */
export const MAX_ANNOUNCED_KEYS = 10_000;
/** 46 bytes each in JSON. */
const KEYS_PER_MESSAGE = 1_000;

/** Of the URL of a relay: crypto/relay-url.ts. */
const MAX_URL_CHARS = 1_024;
/** X25519 public keys: 32 bytes in base64url. Two bits of the last character are unused and must be zero. */
const KEY = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
/** Feature bit of the ticket for a control link: the exit understands `occupied`. Others are sent `replaced`. */
export const OCCUPIED_FEATURE = 0x1000;
/** Feature bit of the ticket for a control link: register this exit only if no other exit has the name. */
export const WHEN_FREE_FEATURE = 0x0800;
/** Feature bit of the ticket for a control link: the exit understands `taken`. Others only wait for `registered`. */
export const TAKEN_FEATURE = 0x4000;
/** Feature bit of the same: the exit understands `seen`. Others would end the link. */
export const SEEN_FEATURE = 0x2000;
/** Feature bit of the same: the exit understands `instance`, and has other URLs, perhaps of the same relay. */
export const INSTANCE_FEATURE = 0x0080;
/** Feature bit of the same: the exit understands a `call` to another relay, and says `unreached` if it has no way. */
export const ELSEWHERE_FEATURE = 0x0040;

/** 16 random bytes: a token, or the id of a relay. */
const TOKEN = /^[0-9a-f]{32}$/;
/** 32 bytes: crypto/ticket.ts. */
const PROOF = /^[0-9a-f]{64}$/;
/** The first byte of a notice. No other first message on a link to an exit begins with it. */
const NOTICE = 0x00;

/** From the exit. `keys`: base64url, gate keys of all clients it accepts; `more`: the rest of the list follows. */
export interface PeersMessage {
  readonly type: 'bearers';
  readonly keys: readonly string[];
  readonly more: boolean;
}

export type ControlMessage =
  | PeersMessage
  /** From the relay: the gate knows the list that the exit announced last. */
  | { readonly type: 'registered' }
  /** From the relay, with `TAKEN_FEATURE`: so far it has room for `keys` of the `of` keys announced last. */
  | { readonly type: 'taken'; readonly keys: number; readonly of: number }
  /** From the relay, to exits whose ticket has `SEEN_FEATURE`: the IP address from which their control link comes. */
  | { readonly type: 'seen'; readonly address: string }
  /** From the relay, to exits whose ticket has `INSTANCE_FEATURE`, first: names it until it is started again. */
  | { readonly type: 'instance'; readonly id: string }
  /**
   * From the relay: a client waits. The exit answers with a data link whose ticket has `token`: to this relay, or, with
   * `ELSEWHERE_FEATURE`, to the one with the URL `relay`.
   */
  | { readonly type: 'call'; readonly token: string; readonly relay?: string }
  /** From the exit: it has no link to the other relay of the call with that token. */
  | { readonly type: 'unreached'; readonly token: string }
  /** From the relay: a newer exit of the same name took over. */
  | { readonly type: 'replaced' }
  /** From the relay: another exit is registered under the name; this one may wait for it with WHEN_FREE_FEATURE. */
  | { readonly type: 'occupied' }
  /** The relay's only message to an exit with a ticket for retired keys. `proof`: hex, the relay sent this. */
  | { readonly type: 'rotated'; readonly proof: string }
  | { readonly type: 'ping' };

export function encodeControl(message: ControlMessage): Message {
  return [Buffer.from(JSON.stringify(message))];
}

/** Undefined for anything but this version's text; only the order and spacing that JSON leaves free may differ. */
export function decodeControl(message: Message): ControlMessage | undefined {
  const bytes = message.reduce((sum, piece) => sum + piece.byteLength, 0);
  if (bytes > MAX_CONTROL_BYTES) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(message, bytes));
    return validated(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A list; its last message says that it is complete. @throws RangeError beyond MAX_ANNOUNCED_KEYS */
export function announcements(keys: readonly string[]): PeersMessage[] {
  if (keys.length > MAX_ANNOUNCED_KEYS) throw new RangeError(`more than ${MAX_ANNOUNCED_KEYS} keys`);
  const messages: PeersMessage[] = [];
  for (let at = 0; at === 0 || at < keys.length; at += KEYS_PER_MESSAGE) {
    const end = at + KEYS_PER_MESSAGE;
    messages.push({ type: 'bearers', keys: keys.slice(at, end), more: end < keys.length });
  }
  return messages;
}

/** What a relay sends a client in place of an exit's answer, before it closes the link; `proof` if it has one. */
export function encodeNotice(fault: WireFaultName, proof?: Uint8Array): Message {
  const notice = Buffer.alloc(3, NOTICE);
  notice.writeUInt16BE(wireCodeOf(fault), 1);
  return proof === undefined ? [notice] : [notice, proof];
}

function validated(value: unknown): ControlMessage | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { type, ...rest } = value as Readonly<Record<string, unknown>>;
  const members = Object.keys(rest).length;
  if (members === 1) return ofOneMember(type, rest);
  if (members === 2 && type === 'taken') return takenOf(rest.keys, rest.of);
  if (members === 2 && type === 'call') return callElsewhereOf(rest.token, rest.relay);
  if (members === 2 && type === 'bearers') return peersOf(rest.keys, rest.more);
  const isBare = type === 'registered' || type === 'replaced' || type === 'occupied' || type === 'ping';
  return members === 0 && isBare ? { type } : undefined;
}

function ofOneMember(type: unknown, member: Readonly<Record<string, unknown>>): ControlMessage | undefined {
  if (type === 'call') return callOf(member.token);
  if (type === 'unreached') return unreachedOf(member.token);
  if (type === 'seen') return seenOf(member.address);
  if (type === 'instance') return instanceOf(member.id);
  return type === 'rotated' ? rotatedOf(member.proof) : undefined;
}

function callOf(token: unknown): ControlMessage | undefined {
  return typeof token === 'string' && TOKEN.test(token) ? { type: 'call', token } : undefined;
}

/** The URL is checked by who would dial it. */
function callElsewhereOf(token: unknown, relay: unknown): ControlMessage | undefined {
  const isUrl = typeof relay === 'string' && relay.length <= MAX_URL_CHARS;
  return typeof token === 'string' && TOKEN.test(token) && isUrl ? { type: 'call', token, relay } : undefined;
}

function unreachedOf(token: unknown): ControlMessage | undefined {
  return typeof token === 'string' && TOKEN.test(token) ? { type: 'unreached', token } : undefined;
}

function instanceOf(id: unknown): ControlMessage | undefined {
  return typeof id === 'string' && TOKEN.test(id) ? { type: 'instance', id } : undefined;
}

function rotatedOf(proof: unknown): ControlMessage | undefined {
  return typeof proof === 'string' && PROOF.test(proof) ? { type: 'rotated', proof } : undefined;
}

/** Without a zone, which means nothing on another machine. */
function seenOf(address: unknown): ControlMessage | undefined {
  return typeof address === 'string' && parseIp(address) !== undefined ? { type: 'seen', address } : undefined;
}

function takenOf(keys: unknown, of: unknown): ControlMessage | undefined {
  const isCount = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_ANNOUNCED_KEYS;
  return isCount(keys) && isCount(of) && keys < of ? { type: 'taken', keys, of } : undefined;
}

function peersOf(keys: unknown, more: unknown): ControlMessage | undefined {
  if (!Array.isArray(keys) || typeof more !== 'boolean') return undefined;
  const valid = keys.every((key) => typeof key === 'string' && KEY.test(key));
  return valid ? { type: 'bearers', keys, more } : undefined;
}
