/** Which name servers a machine uses (resolv.conf(5)). Pure: the texts of files come in. */
import { parseIp, sameIp } from '../net/ip.ts';

/** No more are asked by the system either (MAXNS). */
const MAX_SERVERS = 3;

/** Of one file, in its order. */
export function nameServersIn(text: string): readonly string[] {
  const found = [...text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map(([, address = '']) => address);
  return found.filter((address) => parseIp(address.replace(/%.*$/, '')) !== undefined).slice(0, MAX_SERVERS);
}

/**
 * Those of the network. A program on this machine that passes queries on, such as systemd-resolved, is none: what it
 * asks goes into the tunnel.
 * @param resolved what systemd-resolved has of the network; undefined: it does not run
 */
export function networkServers(resolvConf: string, resolved: string | undefined): readonly string[] {
  const outside = nameServersIn(resolvConf).filter((address) => !isLoopback(address));
  if (outside.length > 0 || resolved === undefined) return outside;
  return nameServersIn(resolved).filter((address) => !isLoopback(address));
}

/** Whether an answer comes from a server that was asked: others may guess its id. Zones of addresses do not count. */
export function isOneOf(servers: readonly string[], sender: string): boolean {
  const ip = addressOf(sender);
  return ip !== undefined && servers.some((server) => sameIp(addressOf(server) ?? new Uint8Array(), ip));
}

function addressOf(text: string): ReturnType<typeof parseIp> {
  return parseIp(text.replace(/%.*$/, ''));
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}
