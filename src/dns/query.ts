/**
 * A query as a name server gets it: what is asked, what the asker can take, and whether there is an answer at once
 * (RFC 1035 §4.1, RFC 6891). Pure.
 */
import {
  CLASS_IN,
  type DnsQuestion,
  FLAG,
  HEADER_BYTES,
  putU16,
  RCODE,
  readHeader,
  readQuestion,
  readRecords,
  TYPE,
} from './wire.ts';

/** Without EDNS (RFC 1035 §4.2.1). */
const PLAIN_UDP_BYTES = 512;
/** More over UDP would be cut into fragments that get lost (RFC 9715 §3); TCP is there. */
const MOST_UDP_BYTES = 4096;
/** EDNS: "DNSSEC OK" (RFC 3225), in the TTL of OPT. */
const DNSSEC_OK = 0x8000;
/** What we take, as OPT says it. */
const OWN_UDP_BYTES = 1232;
const OPT_BYTES = 11;
/** The upper bits of BADVERS, 16. */
const BAD_VERSION_UPPER = 1;

/** OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: no types of records that a zone has. */
const META_TYPES: ReadonlySet<number> = new Set([TYPE.opt, 249, 250, 251, 252, 253, 254]);

export interface DnsQuery {
  readonly id: number;
  readonly flags: number;
  /** Undefined: it cannot be read, and an answer has none either. */
  readonly question: DnsQuestion | undefined;
  /** The question as it was spelt, with type and class. */
  readonly spelling: Uint8Array;
  readonly hasEdns: boolean;
  readonly wantsDnssec: boolean;
  /** An answer of more bytes is truncated over UDP. */
  readonly mostUdpBytes: number;
}

export type Asked = DnsQuery & { readonly question: DnsQuestion };

export type Judged =
  /** Not to be answered: it is no query, or an answer could go round in a circle. */
  | { readonly kind: 'drop' }
  /** @field answer whole, to be sent as it is */
  | { readonly kind: 'answer'; readonly answer: Uint8Array }
  /** @field key the same for all queries with the same answer */
  | { readonly kind: 'ask'; readonly query: Asked; readonly key: string };

export function judge(message: Uint8Array): Judged {
  const header = readHeader(message);
  if (header === undefined || (header.flags & FLAG.response) !== 0) return { kind: 'drop' };
  const question = header.questions === 1 ? readQuestion(message) : undefined;
  const spelling = new Uint8Array(message.subarray(HEADER_BYTES, question?.end ?? HEADER_BYTES));
  const plain = { id: header.id, flags: header.flags, question, spelling, ...WITHOUT_EDNS };
  const refuse = (rcode: number): Judged => ({ kind: 'answer', answer: failure(plain, rcode) });
  if (header.opcode !== 0) return refuse(RCODE.notImp);
  const edns = question === undefined ? undefined : readEdns(message);
  if (question === undefined || edns === undefined) return refuse(RCODE.formErr);
  const query = { ...plain, question, ...edns };
  if (edns.version > 0) return { kind: 'answer', answer: badVersion(query) };
  if (question.class !== CLASS_IN || META_TYPES.has(question.type))
    return { kind: 'answer', answer: failure(query, RCODE.notImp) };
  if (question.type === TYPE.any) return { kind: 'answer', answer: minimalAny(query) };
  if (question.name.endsWith(LOCALHOST)) return { kind: 'answer', answer: localhost(query) };
  return { kind: 'ask', query, key: keyOf(query) };
}

const WITHOUT_EDNS = { hasEdns: false, wantsDnssec: false, mostUdpBytes: PLAIN_UDP_BYTES };

type Edns = typeof WITHOUT_EDNS & { readonly version: number };

/** Undefined: this is no query (RFC 6891 §6.1.1: at most one OPT, of the root). */
function readEdns(message: Uint8Array): Edns | undefined {
  const records = readRecords(message);
  if (records === undefined || records.some(({ section }) => section !== 'additional')) return undefined;
  const opts = records.filter(({ type }) => type === TYPE.opt);
  const [opt] = opts;
  if (opt === undefined) return { ...WITHOUT_EDNS, version: 0 };
  if (opts.length > 1 || message[opt.at] !== 0) return undefined;
  const mostUdpBytes = Math.min(MOST_UDP_BYTES, Math.max(PLAIN_UDP_BYTES, opt.class));
  const version = Math.floor(opt.ttl / 0x10000) & 0xff;
  return { hasEdns: true, wantsDnssec: (opt.ttl & DNSSEC_OK) !== 0, mostUdpBytes, version };
}

function keyOf({ question, flags, wantsDnssec }: Asked): string {
  const kind = `${question.type} ${wantsDnssec ? 'do' : ''} ${(flags & FLAG.checkingDisabled) !== 0 ? 'cd' : ''}`;
  return `${kind} ${question.name}`;
}

/** The query that asks the same for the next server; options of EDNS are between two neighbours (RFC 6891 §6.2.6). */
export function forwarded({ question, flags, wantsDnssec }: Asked, id: number): Uint8Array {
  const asked = Uint8Array.from([...question.name].map((char) => char.charCodeAt(0)));
  const bytes = new Uint8Array(HEADER_BYTES + asked.length + 4 + (wantsDnssec ? OPT_BYTES : 0));
  putU16(bytes, 0, id);
  putU16(bytes, 2, FLAG.recursionDesired | (flags & FLAG.checkingDisabled));
  putU16(bytes, 4, 1);
  bytes.set(asked, HEADER_BYTES);
  putU16(bytes, HEADER_BYTES + asked.length, question.type);
  putU16(bytes, HEADER_BYTES + asked.length + 2, question.class);
  if (!wantsDnssec) return bytes;
  putU16(bytes, 10, 1);
  putOpt(bytes, bytes.length - OPT_BYTES, 0, true);
  return bytes;
}

/** A failure of no query in particular, as `neutralAnswer` has it: only the header. */
const bareFailure = (rcode: number): Uint8Array =>
  Uint8Array.of(0, 0, FLAG.response >> 8, rcode, 0, 0, 0, 0, 0, 0, 0, 0);

export const FAILED_ANSWER = bareFailure(RCODE.servFail);
export const REFUSED_ANSWER = bareFailure(RCODE.refused);

/** Flags of an answer to it: what the asker said comes back, and we resolve for it. */
export function answerFlags({ flags }: Pick<DnsQuery, 'flags'>, rcode: number): number {
  const opcode = flags & 0x7800;
  const echoed = flags & (FLAG.recursionDesired | FLAG.checkingDisabled);
  return FLAG.response | opcode | echoed | FLAG.recursionAvailable | rcode;
}

/** Whether the asker understands that an answer was proved (RFC 6840 §5.8). */
export function knowsAuthenticData({ flags, wantsDnssec }: DnsQuery): boolean {
  return wantsDnssec || (flags & FLAG.authenticData) !== 0;
}

/** An answer without records. */
export function failure(query: DnsQuery, rcode: number, extraFlags = 0): Uint8Array {
  return assemble(query, answerFlags(query, rcode) | extraFlags, []);
}

/** What stands in place of an answer that is too long: TCP has the whole (RFC 2181 §9). */
export function truncated(query: DnsQuery, rcode: number): Uint8Array {
  return failure(query, rcode, FLAG.truncated);
}

function badVersion(query: DnsQuery): Uint8Array {
  const answer = failure(query, RCODE.noError);
  answer[answer.length - OPT_BYTES + 5] = BAD_VERSION_UPPER;
  return answer;
}

/** RFC 8482 §4.2: HINFO with CPU "RFC8482", in place of all records. */
function minimalAny(query: DnsQuery): Uint8Array {
  const cpu = [...'RFC8482'].map((char) => char.charCodeAt(0));
  return assemble(query, answerFlags(query, RCODE.noError), [ownRecord(TYPE.hinfo, [cpu.length, ...cpu, 0])]);
}

/** `localhost` and all names below it are this machine, and are nobody else's to answer (RFC 6761 §6.3). */
const LOCALHOST = '\u0009localhost\u0000';
const LOOPBACK: Readonly<Record<number, readonly number[]>> = {
  [TYPE.a]: [127, 0, 0, 1],
  [TYPE.aaaa]: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
};

function localhost(query: Asked): Uint8Array {
  const address = LOOPBACK[query.question.type];
  const answers = address === undefined ? [] : [ownRecord(query.question.type, address)];
  return assemble(query, answerFlags(query, RCODE.noError), answers);
}

/** Of the name that is asked for, for an hour. */
function ownRecord(type: number, data: readonly number[]): Uint8Array {
  return Uint8Array.from([0xc0, HEADER_BYTES, 0, type, 0, CLASS_IN, 0, 0, 0x0e, 0x10, 0, data.length, ...data]);
}

function assemble(query: DnsQuery, flags: number, answers: readonly Uint8Array[]): Uint8Array {
  const length = answers.reduce((sum, { length: bytes }) => sum + bytes, 0);
  const end = HEADER_BYTES + query.spelling.length + length;
  const bytes = new Uint8Array(end + (query.hasEdns ? OPT_BYTES : 0));
  putU16(bytes, 0, query.id);
  putU16(bytes, 2, flags);
  putU16(bytes, 4, query.spelling.length > 0 ? 1 : 0);
  putU16(bytes, 6, answers.length);
  bytes.set(query.spelling, HEADER_BYTES);
  let at = HEADER_BYTES + query.spelling.length;
  for (const answer of answers) {
    bytes.set(answer, at);
    at += answer.length;
  }
  if (query.hasEdns) putOwnOpt(bytes, end, query);
  return bytes;
}

/** At the end of an answer that has room for it: ours, as the asker has sent one. */
function putOwnOpt(bytes: Uint8Array, at: number, { wantsDnssec }: DnsQuery): void {
  putU16(bytes, 10, 1);
  putOpt(bytes, at, 0, wantsDnssec);
}

function putOpt(bytes: Uint8Array, at: number, upper: number, isDnssecOk: boolean): void {
  bytes[at] = 0;
  putU16(bytes, at + 1, TYPE.opt);
  putU16(bytes, at + 3, OWN_UDP_BYTES);
  bytes[at + 5] = upper;
  putU16(bytes, at + 7, isDnssecOk ? DNSSEC_OK : 0);
}

/** The same answer with our OPT at its end. @param answer without one */
export function withOpt(answer: Uint8Array, additionals: number, { wantsDnssec }: DnsQuery): Uint8Array {
  const bytes = new Uint8Array(answer.length + OPT_BYTES);
  bytes.set(answer);
  putU16(bytes, 10, additionals + 1);
  putOpt(bytes, answer.length, 0, wantsDnssec);
  return bytes;
}
