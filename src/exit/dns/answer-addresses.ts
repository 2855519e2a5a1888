/** The addresses that an answer of a name server leads to: of A, AAAA, and the hints of SVCB and HTTPS. Pure. */
import { CLASS_IN, type DnsRecord, HEADER_BYTES, readRecords, TYPE, u16 } from '../../dns/wire.ts';
import type { IpBytes } from '../../net/ip.ts';

/** Parameters of RFC 9460 §7.3. */
const IPV4_HINT = 4;
const IPV6_HINT = 6;

/** In all sections: programs use what comes with an answer, too. Undefined: malformed. @param answer a copy */
export function addressesIn(answer: Uint8Array): readonly IpBytes[] | undefined {
  if (answer.length === HEADER_BYTES) return [];
  const found: IpBytes[] = [];
  for (const record of readRecords(answer) ?? [undefined]) {
    const addresses = record && addressesOf(answer, record);
    if (addresses === undefined) return undefined;
    found.push(...addresses);
  }
  return found;
}

function addressesOf(answer: Uint8Array, record: DnsRecord): readonly IpBytes[] | undefined {
  if (record.class !== CLASS_IN) return [];
  const data = answer.subarray(record.dataAt, record.end);
  switch (record.type) {
    case TYPE.a:
      return data.length === 4 ? [data] : undefined;
    case TYPE.aaaa:
      return data.length === 16 ? [data] : undefined;
    case TYPE.svcb:
    case TYPE.https:
      return hintsOf(data);
    default:
      return [];
  }
}

/** RFC 9460 §2.2: a priority, a name that is not compressed, and parameters. */
function hintsOf(data: Uint8Array): readonly IpBytes[] | undefined {
  let at = 2;
  for (let length = data[at]; length !== 0; length = data[at]) {
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
  }
  at += 1;
  const found: IpBytes[] = [];
  while (at < data.length) {
    const [key, start] = [u16(data, at), at + 4];
    const end = start + u16(data, at + 2);
    if (start > data.length || end > data.length) return undefined;
    const size = key === IPV4_HINT ? 4 : key === IPV6_HINT ? 16 : 0;
    if (size > 0 && (end - start) % size !== 0) return undefined;
    for (let each = start; size > 0 && each < end; each += size) found.push(data.subarray(each, each + size));
    at = end;
  }
  return found;
}
