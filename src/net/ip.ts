/**
 * IP addresses as bytes, which are what the policy checks, and as text; and networks. Pure. Whether an address is
 * public is not decided here (special-ranges.ts).
 *
 * Text is read strictly: one spelling of an IPv4 address (four decimal octets without leading zeros), any RFC 4291 §2.2
 * spelling of an IPv6 address without a zone. Nothing here follows inet_aton: `127.1`, `0x7f.1` and `017700000001` are
 * not addresses. Node's own check is not used: its C side has been cut short by a NUL (CVE-2026-48930).
 */

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. */
export type IpBytes = Uint8Array;

export interface Network {
  readonly base: IpBytes;
  /** Length of the prefix, 0 to 32 or 128. */
  readonly bits: number;
}

/** Of either family; undefined for anything else. */
export function parseIp(text: string): IpBytes | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

const OCTET = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const DOTTED_QUAD = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);

export function parseIpv4(text: string): IpBytes | undefined {
  const match = DOTTED_QUAD.exec(text);
  if (!match) return undefined;
  const ip = new Uint8Array(4);
  for (let i = 0; i < 4; i++) ip[i] = Number(match[i + 1]);
  return ip;
}

export function parseIpv6(text: string): IpBytes | undefined {
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(text)) return undefined;
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const head = parseGroups(sides[0] ?? '', sides.length === 1);
  const tail = sides.length === 2 ? parseGroups(sides[1] ?? '', true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (sides.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** RFC 4291 §2.2: 16-bit groups; the last two may be written as an IPv4 address when they end the text. */
function parseGroups(text: string, atEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else {
      const ipv4 = atEnd && index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (!ipv4) return undefined;
      groups.push(...groupsOf(ipv4));
    }
  }
  return groups;
}

/** The 16-bit groups of an even number of bytes. */
export function groupsOf(bytes: Uint8Array): number[] {
  const groups: number[] = [];
  for (let i = 0; i + 1 < bytes.length; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  return groups;
}

/** The canonical text: a dotted quad, or RFC 5952 §4. An IPv4-mapped address is written in groups, too. */
export function formatIp(ip: IpBytes): string {
  return ip.length === 4 ? ip.join('.') : formatIpv6(ip);
}

/** RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIpv6(ip: IpBytes): string {
  const groups = groupsOf(ip);
  const { start, length } = longestZeroRun(groups);
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  }
  return best;
}

export function familyOf(ip: IpBytes): 4 | 6 {
  return ip.length === 4 ? 4 : 6;
}

export function sameIp(a: IpBytes, b: IpBytes): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export function networkContains({ base, bits }: Network, ip: IpBytes): boolean {
  if (ip.length !== base.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (ip[i] !== base[i]) return false;
  const mask = (0xff00 >> (bits & 7)) & 0xff;
  return (((ip[whole] ?? 0) ^ (base[whole] ?? 0)) & mask) === 0;
}

/** `ip` with all but the first `bits` set to zero. */
export function networkBase(ip: IpBytes, bits: number): IpBytes {
  return ip.map((byte, i) => byte & ((0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff));
}

/** `10.0.0.0/8`, `fd00::/8`; for tables in the source, so it throws on a slip of the pen. */
export function network(text: string): Network {
  const [address = '', bits = ''] = text.split('/');
  const base = parseIp(address);
  if (!base || !sameIp(base, networkBase(base, Number(bits)))) throw new TypeError(`not a network: ${text}`);
  return { base, bits: Number(bits) };
}

const V4_MAPPED = network('::ffff:0:0/96');

/** The kernel dials an IPv4-mapped address (RFC 4291 §2.5.5.2) as the IPv4 address in it, so all checks take it so. */
export function unmapIp(ip: IpBytes): IpBytes {
  return networkContains(V4_MAPPED, ip) ? ip.slice(12) : ip;
}
