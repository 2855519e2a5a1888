/** How long an answer may be kept, and what its records say later (RFC 1035 §3.2.1, RFC 2308, RFC 2181 §8). Pure. */
import { type DnsRecord, FLAG, putU32, RCODE, readHeader, readQuestion, readRecords, TYPE, u32 } from './wire.ts';

/** A zone that says more is asked again after a day: most resolvers do so (RFC 8767 §4). */
export const MAX_TTL_S = 86_400;
/** RFC 2308 §5: one to three hours. */
export const MAX_NEGATIVE_TTL_S = 10_800;
/** A failure: RFC 9520 §3.2 asks for one second at least. */
const FAILURE_TTL_S = 1;

/** Seconds; 0: it is not to be kept. @param answer to a question of class IN */
export function lifetimeOf(answer: Uint8Array): number {
  const header = readHeader(answer);
  if (header?.rcode === RCODE.servFail) return FAILURE_TTL_S;
  const question = readQuestion(answer);
  if (header === undefined || question === undefined || (header.flags & FLAG.truncated) !== 0) return 0;
  const records = readRecords(answer)?.filter(({ type }) => type !== TYPE.opt);
  if (records === undefined || (header.rcode !== RCODE.noError && header.rcode !== RCODE.nxDomain)) return 0;
  const isPositive = header.rcode === RCODE.noError && hasAnswer(records, question.type);
  const limits = records.map(({ ttl }) => validTtl(ttl));
  const most = isPositive ? MAX_TTL_S : Math.min(MAX_NEGATIVE_TTL_S, negativeTtl(answer, records));
  return Math.min(most, ...limits);
}

function hasAnswer(records: readonly DnsRecord[], type: number): boolean {
  return records.some((record) => record.section === 'answer' && record.type === type);
}

/** RFC 2181 §8: with its highest bit it counts as 0. */
const validTtl = (ttl: number): number => (ttl > 0x7fffffff ? 0 : ttl);

/** The zone's own figure, the last of its SOA. Without one nothing is known. */
function negativeTtl(answer: Uint8Array, records: readonly DnsRecord[]): number {
  const soa = records.find(({ section, type }) => section === 'authority' && type === TYPE.soa);
  return soa === undefined || soa.end - soa.dataAt < 22 ? 0 : validTtl(u32(answer, soa.end - 4));
}

/** Lowers all TTLs in place, to 0 at least. @param answer well-formed */
export function age(answer: Uint8Array, seconds: number): void {
  for (const { type, ttl, ttlAt } of readRecords(answer) ?? [])
    if (type !== TYPE.opt) putU32(answer, ttlAt, Math.max(0, validTtl(ttl) - seconds));
}
