/** Which addresses of this machine a phone on the same network can reach. Pure: the interfaces are passed in. */
import type { networkInterfaces } from 'node:os';
import { parseIp } from '../../net/ip.ts';
import { rangeOf } from '../../net/special-ranges.ts';

type Interfaces = ReturnType<typeof networkInterfaces>;

/** Networks inside this machine, and those that do not lead to a phone. */
const INNER = /^(docker|br-|veth|virbr|vmnet|vboxnet|lxc|cni|podman|tun|tap|utun|wg|tailscale|zt|ppp|awdl|llw)/i;
const WIRELESS = /^(wl|wifi|wi-fi|wlan)/i;

export interface LanAddress {
  readonly address: string;
  /** The lower, the more likely it is the phone's network. */
  readonly rank: number;
}

/** Candidates, the most likely first: IPv4, because a code's URL should be short and work in a phone's browser. */
export function lanAddresses(interfaces: Interfaces): LanAddress[] {
  const found = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(({ family, internal, address }) => family === 'IPv4' && !internal && rangeName(address) !== 'link-local')
      .map(({ address }) => ({ address, rank: rankOf(name, address) })),
  );
  return found.sort((a, b) => a.rank - b.rank);
}

function rankOf(name: string, address: string): number {
  const isPrivate = rangeName(address) === 'private';
  return (INNER.test(name) ? 4 : 0) + (isPrivate ? 0 : 2) + (WIRELESS.test(name) ? 0 : 1);
}

function rangeName(address: string) {
  const ip = parseIp(address);
  return ip && rangeOf(ip);
}
