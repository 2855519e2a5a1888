/**
 * IP addresses as bytes, which are what the policy judges: text in, text out, and networks. Pure. Whether an address is
 * public is not decided here (address.ts).
 *
 * Nothing here follows inet_aton: `127.1`, `0x7f.1` and `017700000001` are not addresses.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. */
export type IpBytes = Uint8Array;

export interface Network {
  readonly base: IpBytes;
  /** Length of the prefix, 0 to 32 or 128. */
  readonly bits: number;
}

/**
 * The bytes of a canonical dotted quad or of an RFC 4291 §2.2 IPv6 address without a zone; undefined for anything else.
 */
export function parseIp(text: string): IpBytes | undefined {
  // Node's own check is strict, but is only to see characters of addresses: its C side has been cut short by a NUL
  // (CVE-2026-48930).
  if (!/^[0-9a-fA-F:.]{2,45}$/.test(text)) return undefined;
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  return isIPv6(text) ? bytesOfIpv6(text) : undefined;
}

/** `text` has passed `isIPv6`: only its meaning is left to find. */
function bytesOfIpv6(text: string): IpBytes {
  const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
  );
  const [head = [], tail = []] = hex.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const zeros = new Array<string>(8 - head.length - tail.length).fill('0');
  return Uint8Array.from(
    [...head, ...zeros, ...tail].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    }),
  );
}

/** The canonical text: a dotted quad, or RFC 5952 §4. */
export function formatIp(ip: IpBytes): string {
  if (ip.length === 4) return ip.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (((ip[2 * i] ?? 0) << 8) | (ip[2 * i + 1] ?? 0)).toString(16));
  // The URL standard serialises IPv6 hosts as RFC 5952 has it, in brackets.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
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

/** `ip` with everything behind the first `bits` set to zero. */
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

/**
 * An IPv4-mapped address (RFC 4291 §2.5.5.2) is the IPv4 address it holds: the kernel dials it as one, so all judge it
 * as one.
 */
export function unmapIp(ip: IpBytes): IpBytes {
  return networkContains(V4_MAPPED, ip) ? ip.slice(12) : ip;
}
