/** How limits group addresses: one of IPv4, or the /64 of IPv6, all of which one machine can use. Pure. */
import { formatIp, groupsOf, type IpBytes, parseIp, unmapIp } from './ip.ts';

/** Of `socket.remoteAddress`, without what a socket of both families or a link-local address adds. */
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
