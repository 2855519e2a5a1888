/** Finds the addresses and ports of this program, so that the policy can prevent streams that lead back to it. */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { WstunError } from '../errors.ts';
import { type IpBytes, parseIp } from '../net/ip.ts';
import type { OwnEndpoints } from './policy.ts';

/** How long a list of the interfaces' addresses is used, ms: asking costs 0.1 ms, and they change when networks do. */
const INTERFACES_HOLD_MS = 5_000;

export interface OwnEndpointsOptions {
  /** Asked at every dial: the ports of the program's listeners, and of its public URL. */
  readonly ports: () => readonly number[];
  /** Asked at every dial: addresses of the machine that no interface has (a cloud's NAT). */
  readonly publicAddresses?: () => readonly IpBytes[];
  /** For tests. */
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
  readonly now?: () => number;
}

/** Returns what an exit asks at every dial. @throws WstunError interfaces-hidden, now rather than at the first dial */
export function createOwnEndpoints(options: OwnEndpointsOptions): () => OwnEndpoints {
  const { interfaces = networkInterfaces, publicAddresses = () => [], now = () => performance.now() } = options;
  let addresses: readonly IpBytes[] = [];
  let expires = -Infinity;
  return () => {
    if (now() >= expires) {
      expires = now() + INTERFACES_HOLD_MS;
      addresses = interfaceAddresses(listInterfaces(interfaces));
    }
    return { addresses: [...publicAddresses(), ...addresses], ports: options.ports() };
  };
}

/** Without them a stream could lead back here, so it does not start. @throws WstunError interfaces-hidden */
function listInterfaces(interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]>): NodeJS.Dict<NetworkInterfaceInfo[]> {
  try {
    return interfaces();
  } catch (error) {
    throw new WstunError('interfaces-hidden', error instanceof Error ? error.message : '');
  }
}

function interfaceAddresses(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): IpBytes[] {
  const infos = Object.values(interfaces).flatMap((list) => list ?? []);
  return infos.flatMap(({ address }) => parseIp(address) ?? []);
}
