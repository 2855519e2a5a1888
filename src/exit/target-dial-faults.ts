/** What the system's errors mean for the program that wanted the connection. Pure. */
import type { WireFaultName } from '../errors.ts';

/** errno(3), connect(2). */
const FAULT_OF_CODE: ReadonlyMap<string, WireFaultName> = new Map([
  ['ECONNREFUSED', 'dial-refused'],
  ['ECONNRESET', 'target-reset'],
  ['ETIMEDOUT', 'dial-timed-out'],
  ['EHOSTUNREACH', 'dial-host-unreachable'],
  ['EHOSTDOWN', 'dial-host-unreachable'],
  ['ENETUNREACH', 'dial-network-unreachable'],
  ['ENETDOWN', 'dial-network-unreachable'],
  // Without IPv6 (or IPv4) on the machine, these occur instead of ENETUNREACH.
  ['EADDRNOTAVAIL', 'dial-network-unreachable'],
  ['EAFNOSUPPORT', 'dial-network-unreachable'],
  // A firewall of the exit's own machine.
  ['EACCES', 'dial-not-allowed'],
  ['EPERM', 'dial-not-allowed'],
  // Out of descriptors, memory or local ports: caused by the exit, not by the target.
  ['EMFILE', 'dial-busy'],
  ['ENFILE', 'dial-busy'],
  ['ENOBUFS', 'dial-busy'],
  ['ENOMEM', 'dial-busy'],
  ['EAGAIN', 'dial-busy'],
]);

export function dialFaultOf(error: unknown): WireFaultName {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return FAULT_OF_CODE.get(code) ?? 'dial-failed';
}

/** If several addresses failed, the most specific: the target's answer, silence, the network, this exit. */
const BY_WEIGHT = [
  'dial-refused',
  'target-reset',
  'dial-timed-out',
  'dial-host-unreachable',
  'dial-network-unreachable',
  'dial-not-allowed',
  'dial-busy',
  'dial-failed',
] as const satisfies readonly WireFaultName[];

/** The most specific of `faults`, which are some of the above. */
export function mostSpecific(faults: ReadonlySet<WireFaultName>): WireFaultName {
  return BY_WEIGHT.find((fault) => faults.has(fault)) ?? 'dial-failed';
}
