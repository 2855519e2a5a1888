/**
 * DNS messages as bytes (RFC 1035 §4): header, question, records, where they are. Pure. Nothing is decoded that is only
 * passed on, so that records of every type, also unknown ones (RFC 3597), stay what they were.
 */

export const HEADER_BYTES = 12;
/** A name with its labels' lengths and the root (RFC 1035 §2.3.4). */
const MAX_NAME_BYTES = 255;

/** In the second word of the header; the last two are of RFC 4035 §3.2. */
export const FLAG = {
  response: 0x8000,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
} as const;

export const RCODE = { noError: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5 } as const;
export const TYPE = { a: 1, soa: 6, hinfo: 13, aaaa: 28, opt: 41, svcb: 64, https: 65, any: 255 } as const;
export const CLASS_IN = 1;

export interface DnsHeader {
  readonly id: number;
  readonly flags: number;
  readonly opcode: number;
  /** Without the upper bits of EDNS. */
  readonly rcode: number;
  readonly questions: number;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
}

export interface DnsQuestion {
  /** The name in wire form and lower case (RFC 4343), as latin1. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the next section begins. */
  readonly end: number;
}

export interface DnsRecord {
  readonly section: 'answer' | 'authority' | 'additional';
  /** Where its name begins. */
  readonly at: number;
  readonly type: number;
  /** Of OPT: the size of UDP messages that its sender takes. */
  readonly class: number;
  readonly ttlAt: number;
  readonly ttl: number;
  readonly dataAt: number;
  readonly end: number;
}

export const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
export const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, Math.floor(value / 0x10000));
  putU16(bytes, at + 2, value % 0x10000);
}

/** Undefined: it is too short for one. */
export function readHeader(message: Uint8Array): DnsHeader | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const flags = u16(message, 2);
  return {
    ...{ id: u16(message, 0), flags, opcode: (flags >> 11) & 0xf, rcode: flags & 0xf },
    ...{ questions: u16(message, 4), answers: u16(message, 6) },
    ...{ authorities: u16(message, 8), additionals: u16(message, 10) },
  };
}

/** The first question, whose name cannot be compressed. Undefined: there is none, or it is malformed. */
export function readQuestion(message: Uint8Array): DnsQuestion | undefined {
  if (message.length < HEADER_BYTES || u16(message, 4) === 0) return undefined;
  let at = HEADER_BYTES;
  for (let length = message[at]; length !== 0; length = message[at]) {
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
  }
  const end = at + 5;
  if (at + 1 - HEADER_BYTES > MAX_NAME_BYTES || end > message.length) return undefined;
  const name = lowerCase(message.subarray(HEADER_BYTES, at + 1));
  return { name, type: u16(message, at + 1), class: u16(message, at + 3), end };
}

/** Lengths of labels are below 64, so that no letter is one of them. */
function lowerCase(name: Uint8Array): string {
  return String.fromCharCode(...name.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)));
}

/** All records after the one question. Undefined: malformed, or with bytes after the last one. */
export function readRecords(message: Uint8Array): readonly DnsRecord[] | undefined {
  const header = readHeader(message);
  const question = readQuestion(message);
  if (header === undefined || question === undefined || header.questions !== 1) return undefined;
  const records: DnsRecord[] = [];
  let at = question.end;
  for (const section of ['answer', 'authority', 'additional'] as const) {
    const count = { answer: header.answers, authority: header.authorities, additional: header.additionals }[section];
    for (let i = 0; i < count; i++) {
      const record = readRecord(message, at, section);
      if (record === undefined) return undefined;
      records.push(record);
      at = record.end;
    }
  }
  return at === message.length ? records : undefined;
}

function readRecord(message: Uint8Array, at: number, section: DnsRecord['section']): DnsRecord | undefined {
  const fixed = endOfName(message, at);
  if (fixed === undefined || fixed + 10 > message.length) return undefined;
  const dataAt = fixed + 10;
  const end = dataAt + u16(message, fixed + 8);
  if (end > message.length) return undefined;
  const type = u16(message, fixed);
  return {
    section,
    at,
    type,
    class: u16(message, fixed + 2),
    ttlAt: fixed + 4,
    ttl: u32(message, fixed + 4),
    dataAt,
    end,
  };
}

/** A pointer ends a name, wherever it leads (RFC 1035 §4.1.4). */
function endOfName(message: Uint8Array, from: number): number | undefined {
  let at = from;
  for (;;) {
    const length = message[at];
    if (length === undefined || at - from >= MAX_NAME_BYTES) return undefined;
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if (length > 63) return undefined;
    at += 1 + length;
    if (length === 0) return at;
  }
}
