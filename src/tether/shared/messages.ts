/** The messages on a control link (docs/tether-protocol.md §5), before they are sealed. Pure; the page has the same. */

const MAX_BYTES = 4_096;
/** 16 random bytes that identify a link. */
const TOKEN = /^[0-9a-f]{32}$/;
const UPSTREAM_URL = /^wss?:\/\/[^\s#]+$/;

/** On the wire. `standby`: another page carries links. `idle`: the laptop reaches the relay, or needs no link. */
export const DUTY = { active: 'carry', standby: 'spare', idle: 'rest' } as const;
export type Duty = (typeof DUTY)[keyof typeof DUTY];
/** Why the upstream connection did not open: something answers at the relay's host, or nothing does. */
type FailReason = 'refused' | 'unreachable';

export type LaptopMessage =
  | { readonly type: 'open'; readonly link: string; readonly url: string }
  | { readonly type: 'requests'; readonly link: string }
  | { readonly type: 'duty'; readonly duty: Duty }
  | { readonly type: 'replaced' }
  | { readonly type: 'ping' };

export type PageMessage =
  | { readonly type: 'joined'; readonly time: number }
  | { readonly type: 'failed'; readonly link: string; readonly reason: FailReason }
  | { readonly type: 'pong' };

export function encodeMessage(message: LaptopMessage | PageMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(message));
}

/** Undefined for anything that a laptop of this version would not have sent. */
export function decodeLaptopMessage(bytes: Uint8Array): LaptopMessage | undefined {
  const { type, rest, fields } = parsed(bytes);
  if (type === 'ping' || type === 'replaced') return fields === 0 ? { type } : undefined;
  if (type === 'duty') return fields === 1 && isDuty(rest.duty) ? { type, duty: rest.duty } : undefined;
  const { link, url } = rest;
  if (type === 'requests') return fields === 1 && matches(TOKEN, link) ? { type, link } : undefined;
  if (type !== 'open' || fields !== 2 || !matches(TOKEN, link) || !matches(UPSTREAM_URL, url)) return undefined;
  return { type, link, url };
}

/** Undefined for anything that a page of this version would not have sent. */
export function decodePageMessage(bytes: Uint8Array): PageMessage | undefined {
  const { type, rest, fields } = parsed(bytes);
  if (type === 'pong') return fields === 0 ? { type } : undefined;
  const { time, link, reason } = rest;
  if (type === 'joined') return fields === 1 && isTime(time) ? { type, time } : undefined;
  if (type !== 'failed' || fields !== 2 || !matches(TOKEN, link) || !isReason(reason)) return undefined;
  return { type, link, reason };
}

interface Parsed {
  readonly type: unknown;
  readonly rest: Readonly<Record<string, unknown>>;
  /** Number of members other than `type`. */
  readonly fields: number;
}

const NOTHING: Parsed = { type: undefined, rest: {}, fields: 0 };

function parsed(bytes: Uint8Array): Parsed {
  if (bytes.length > MAX_BYTES) return NOTHING;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return NOTHING;
    const { type, ...rest } = value as Readonly<Record<string, unknown>>;
    return { type, rest, fields: Object.keys(rest).length };
  } catch {
    return NOTHING;
  }
}

function matches(pattern: RegExp, value: unknown): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function isDuty(value: unknown): value is Duty {
  return value === DUTY.active || value === DUTY.standby || value === DUTY.idle;
}

function isReason(value: unknown): value is FailReason {
  return value === 'refused' || value === 'unreachable';
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}
