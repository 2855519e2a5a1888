/** Binds a port that was asked for, or a free one of those that are allowed; and what the system's refusals mean. */
import { WstunError } from '../../errors.ts';
import { formatIp, type IpBytes, parseIp } from '../../net/ip.ts';
import { isUnspecified } from '../../net/special-ranges.ts';
import type { Target } from '../../tunnel/stream/stream.ts';
import type { PortRange } from '../ports.ts';
import { dialFaultOf } from '../target-dial-faults.ts';

/** Ports that are tried for port 0. Of a range that is nearly full, some attempts fail. */
const MAX_TRIES = 64;

/** Opens a socket there. Rejects with the system's error. */
export type Bind<T> = (address: string, port: number) => Promise<T>;

/** Rejects with a WstunError: listen-in-use, listen-failed, dial-busy. @param ports in the order in which to try */
export async function bindFirst<T>(ip: IpBytes, ports: readonly number[], bind: Bind<T>): Promise<T> {
  for (const port of ports.slice(0, MAX_TRIES)) {
    try {
      return await bindAt(ip, port, bind);
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE') throw faultOf(error);
    }
  }
  throw new WstunError('listen-in-use');
}

/** All addresses are those of IPv4 where the machine has no IPv6. */
async function bindAt<T>(ip: IpBytes, port: number, bind: Bind<T>): Promise<T> {
  try {
    return await bind(formatIp(ip), port);
  } catch (error) {
    const isWithout = codeOf(error) === 'EAFNOSUPPORT' || codeOf(error) === 'EADDRNOTAVAIL';
    if (!isWithout || ip.length === 4 || !isUnspecified(ip)) throw error;
    return await bind('0.0.0.0', port);
  }
}

/** All ports of the ranges, in random order. @param random as of Clock */
export function shuffledPorts(ranges: readonly PortRange[], random: () => number): number[] {
  const ports = ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, at) => first + at));
  for (let at = 0; at < Math.min(MAX_TRIES, ports.length); at++) {
    const other = at + Math.floor(random() * (ports.length - at));
    [ports[at], ports[other]] = [ports[other] ?? 0, ports[at] ?? 0];
  }
  return ports;
}

/** An address as sockets write it, with a zone or as IPv4 inside IPv6. */
export function targetOf(address: string, port: number): Target {
  const plain = address.replace(/%.*$/, '');
  const inner = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  const ip = parseIp(inner ?? plain);
  return ip === undefined ? { kind: 'name', name: plain, port } : { kind: 'ip', ip, port };
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The address is not this machine's, or the system forbids the port. */
function faultOf(error: unknown): WstunError {
  const fault = dialFaultOf(error) === 'dial-busy' ? 'dial-busy' : 'listen-failed';
  return new WstunError(fault, codeOf(error), { cause: error });
}
