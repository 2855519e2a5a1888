/** Listening on an address, or on a socket that another program holds open, with a fault that says why it failed. */
import { once } from 'node:events';
import { isIPv6, type Server } from 'node:net';
import { WstunError } from '../errors.ts';
import { cannotListen, type ListenOption } from '../listen-fault.ts';
import type { HostPort } from '../net/host-port.ts';

/** A TCP socket that already listens and outlives this process: connections then wait for the next process. */
interface PassedSocket {
  readonly fd: number;
  /** For faults. */
  readonly name: string;
}

export type ListenPlace = HostPort | PassedSocket;

/**
 * Connections that the kernel holds until they are accepted: a thousand clients may return at once, also while a relay
 * restarts whose socket was passed to it. The kernel's own limit (net.core.somaxconn) is the same on Linux.
 */
const BACKLOG = 4_096;

/** The unspecified address, in any spelling (RFC 4291 §2.2): by default a socket there also takes IPv4 connections. */
const ANY_IPV6 = /^[0:]+$/;

/**
 * Whether `place` must not take IPv4, because another place takes it at the same port: the second of them would fail. A
 * name may be one of IPv4. Port 0 is another port for each.
 */
function isIpv6Only(place: HostPort, all: readonly ListenPlace[]): boolean {
  if (place.port === 0 || !isIPv6(place.host) || !ANY_IPV6.test(place.host)) return false;
  return all.some((other) => 'port' in other && other.port === place.port && !isIPv6(other.host));
}

/** Closing closes a passed socket only in this process. @throws WstunError cannot-listen, bad-passed-socket */
export async function listen(
  server: Server,
  place: ListenPlace,
  all: readonly ListenPlace[] = [place],
  option: ListenOption = '--listen',
): Promise<HostPort> {
  const where = 'fd' in place ? { fd: place.fd } : { ...place, ipv6Only: isIpv6Only(place, all) };
  try {
    server.listen({ ...where, backlog: BACKLOG });
    await once(server, 'listening');
  } catch (error) {
    throw faultOf(place, error, option);
  }
  const bound = server.address();
  if (typeof bound === 'object' && bound !== null) return { host: bound.address, port: bound.port };
  if ('fd' in place) throw unusable(place, 'it is a Unix socket');
  return place;
}

function faultOf(place: ListenPlace, cause: unknown, option: ListenOption): WstunError {
  if (!('fd' in place)) return cannotListen(place, cause, option);
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
  return unusable(place, code === 'EINVAL' ? 'it is not a listening TCP socket' : code, cause);
}

function unusable({ fd, name }: PassedSocket, reason: string, cause?: unknown): WstunError {
  const shown = name === '' ? `descriptor ${fd}` : `descriptor ${fd} (${name})`;
  return new WstunError('bad-passed-socket', `${shown}: ${reason}`, { cause });
}
