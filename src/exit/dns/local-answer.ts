/** Answers for names that no name server is asked for: those of the hosts file, and localhost. Pure. */
import { type DnsQuestion, FLAG, HEADER_BYTES, putU16, putU32, TYPE } from '../../dns/wire.ts';
import type { IpBytes } from '../../net/ip.ts';

/** The file may change at any time; it is looked at every five seconds. */
const TTL_S = 5;

/** Without records where the name has no address of that family, or another type is asked for: it exists. */
export function localAnswer(
  { type, class: classIn }: DnsQuestion,
  spelling: Uint8Array,
  all: readonly IpBytes[],
): Uint8Array {
  const length = type === TYPE.a ? 4 : type === TYPE.aaaa ? 16 : 0;
  const addresses = all.filter((ip) => ip.length === length);
  const recordBytes = 12 + length;
  const bytes = new Uint8Array(HEADER_BYTES + spelling.length + addresses.length * recordBytes);
  putU16(bytes, 2, FLAG.response);
  putU16(bytes, 4, 1);
  putU16(bytes, 6, addresses.length);
  bytes.set(spelling, HEADER_BYTES);
  let at = HEADER_BYTES + spelling.length;
  for (const ip of addresses) {
    // The name is that of the question.
    putU16(bytes, at, 0xc000 | HEADER_BYTES);
    putU16(bytes, at + 2, type);
    putU16(bytes, at + 4, classIn);
    putU32(bytes, at + 6, TTL_S);
    putU16(bytes, at + 10, length);
    bytes.set(ip, at + 12);
    at += recordBytes;
  }
  return bytes;
}
