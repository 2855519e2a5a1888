/**
 * To which of some vetted addresses a datagram can go at all. There is no race as for TCP, since nothing may answer.
 */
import { familyOf, formatIp, type IpBytes } from '../../net/ip.ts';
import { interleave } from '../dialer.ts';
import { UdpSocket } from './udp-socket.ts';

/** Of a name: more than anyone has who lists one family in vain. To ask for a route takes no time. */
export const MAX_ADDRESSES = 8;
const IGNORED = { handleMessage: () => {}, handleFailed: () => {} };

/** The first to which the system has a route, as RFC 6724 asks by a connected socket; else the first. */
export async function firstWithRoute(addresses: readonly IpBytes[], port: number): Promise<IpBytes | undefined> {
  const ordered = interleave(addresses).slice(0, MAX_ADDRESSES);
  const families = new Set(ordered.map(familyOf));
  if (families.size < 2) return ordered[0];
  for (const ip of ordered) if (await hasRoute(ip, port)) return ip;
  return ordered[0];
}

async function hasRoute(ip: IpBytes, port: number): Promise<boolean> {
  const socket = new UdpSocket(familyOf(ip), IGNORED);
  try {
    await socket.connect(formatIp(ip), port);
    return true;
  } catch {
    return false;
  } finally {
    socket.close();
    await socket.closed;
  }
}
