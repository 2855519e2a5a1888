/** Answers of another server, kept in one form for all who ask the same, and written for each of them. Pure. */
import { age } from './lifetime.ts';
import { answerFlags, type DnsQuery, FAILED_ANSWER, failure, knowsAuthenticData, truncated, withOpt } from './query.ts';
import {
  type DnsQuestion,
  FLAG,
  HEADER_BYTES,
  putU16,
  RCODE,
  readHeader,
  readQuestion,
  readRecords,
  TYPE,
  u16,
} from './wire.ts';

/** As the length before it says it (RFC 1035 §4.2.2). */
const MOST_TCP_BYTES = 65_535;

/**
 * An answer without EDNS, which is between two neighbours, from its OPT on: what stands behind would have to be moved,
 * and additional records may be missing. Undefined: it is no answer to this question.
 */
export function neutralAnswer(message: Uint8Array, question: DnsQuestion): Uint8Array | undefined {
  const header = readHeader(message);
  if (header === undefined || (header.flags & FLAG.response) === 0 || header.opcode !== 0) return undefined;
  const isError = header.rcode !== RCODE.noError && header.rcode !== RCODE.nxDomain;
  // Some servers leave the question out when they fail.
  if (isError) return new Uint8Array([...message.subarray(0, 4), 0, 0, 0, 0, 0, 0, 0, 0]);
  const asked = readQuestion(message);
  const records = readRecords(message);
  if (asked === undefined || records === undefined || !isSame(asked, question)) return undefined;
  const opt = records.findIndex(({ type, section }) => type === TYPE.opt && section === 'additional');
  const found = records[opt];
  if (found === undefined) return message;
  // The upper bits of an error.
  if (message[found.ttlAt] !== 0) return FAILED_ANSWER;
  const kept = new Uint8Array(message.subarray(0, found.at));
  putU16(kept, 10, opt - header.answers - header.authorities);
  return kept;
}

function isSame(a: DnsQuestion, b: DnsQuestion): boolean {
  return a.name === b.name && a.type === b.type && a.class === b.class;
}

export interface AnswerPlace {
  /** Seconds since the other server sent it. */
  readonly ageS: number;
  readonly over: 'udp' | 'tcp';
}

/** @param answer as of `neutralAnswer` */
export function answerTo(query: DnsQuery, answer: Uint8Array, { ageS, over }: AnswerPlace): Uint8Array {
  const rcode = (answer[3] ?? 0) & 0xf;
  if (answer.length === HEADER_BYTES) return failure(query, rcode);
  const proved = knowsAuthenticData(query) ? u16(answer, 2) & FLAG.authenticData : 0;
  const bytes = new Uint8Array(answer);
  if (ageS > 0) age(bytes, ageS);
  putU16(bytes, 0, query.id);
  putU16(bytes, 2, answerFlags(query, rcode) | proved);
  bytes.set(query.spelling, HEADER_BYTES);
  const whole = query.hasEdns ? withOpt(bytes, u16(answer, 10), query) : bytes;
  if (over === 'udp') return whole.length > query.mostUdpBytes ? truncated(query, rcode) : whole;
  return whole.length > MOST_TCP_BYTES ? bytes : whole;
}
