/**
 * How limits group addresses: by IPv4 address, or by the /64 of an IPv6 address, since one machine can use every
 * address in that. Pure. Which addresses are limited at all is decided by the caller.
 */
import { formatIp, groupsOf, type IpBytes, parseIp, unmapIp } from './ip.ts';

/**
 * The bytes of what a socket says, without what a socket of both families or a link-local address adds.
 * @param address as `socket.remoteAddress` has it
 */
export function parseSocketAddress(address: string): IpBytes | undefined {
  const ip = parseIp(address.replace(/%.*$/, ''));
  return ip && unmapIp(ip);
}

/** @param ip as `parseSocketAddress` gives it */
export function sourceOfIp(ip: IpBytes): string {
  if (ip.length === 4) return formatIp(ip);
  const groups = groupsOf(ip.subarray(0, 8)).map((group) => group.toString(16));
  return `${groups.join(':')}::/64`;
}
