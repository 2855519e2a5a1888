/**
 * The header of the PROXY protocol, version 2, that goes before a connection and says who made it: HAProxy's
 * specification of 2020 (doc/proxy-protocol.txt) §2.2. Pure.
 */
import type { IpBytes } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const [LOCAL, PROXY] = [0x20, 0x21];
const [UNSPECIFIED, TCP4, TCP6] = [0x00, 0x11, 0x21];

/** @param to where the connection was accepted. One that is no address makes it a connection of our own (LOCAL). */
export function proxyHeader(from: Target, to: Target): Buffer {
  if (from.kind !== 'ip' || to.kind !== 'ip') return header(LOCAL, UNSPECIFIED, []);
  const isV4 = from.ip.length === 4 && to.ip.length === 4;
  const address = (ip: IpBytes) => (isV4 ? ip : asIpv6(ip));
  return header(PROXY, isV4 ? TCP4 : TCP6, [
    ...address(from.ip),
    ...address(to.ip),
    ...[from.port >> 8, from.port & 0xff, to.port >> 8, to.port & 0xff],
  ]);
}

/** IPv4-mapped where the two families differ (RFC 4291 §2.5.5.2): a header has one. */
function asIpv6(ip: IpBytes): IpBytes {
  return ip.length === 16 ? ip : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ip);
}

function header(command: number, family: number, addresses: readonly number[]): Buffer {
  return Buffer.from([...SIGNATURE, command, family, 0, addresses.length, ...addresses]);
}
