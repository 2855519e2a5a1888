/**
 * Tells networks apart, as far as a program without special rights can: by gateways, own networks, name servers. What
 * it returns names places, so it is not to be kept as it is.
 */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { type Clock, systemClock } from '../../clock.ts';
import { readHead, readRoutes } from './network-watch.ts';

export interface NetworkTraits {
  /** `describeRoutes`; undefined where routes cannot be listed. */
  readonly routes: string | undefined;
  readonly interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>;
  /** The content of resolv.conf, or ''. */
  readonly resolver: string;
}

/** How the names of interfaces begin, by what they are: another adapter of the same kind is the same network. */
const KINDS: readonly (readonly [string, RegExp])[] = [
  ['wifi', /^(?:wl|wifi|ath)/],
  ['wired', /^(?:en|eth)/],
  ['mobile', /^(?:ww|ppp|rmnet|usb)/],
  ['tunnel', /^(?:tun|tap|wg|utun)/],
];

/** The same text in the same network. Undefined: there is none, or nothing is known of it. Pure. */
export function describeNetwork({ routes, interfaces, resolver }: NetworkTraits): string | undefined {
  const gateways = (routes ?? '').split('\n').flatMap((line) => {
    const [name, gateway] = line.split(' ');
    return name !== undefined && gateway !== undefined ? [{ name, gateway }] : [];
  });
  if (routes !== undefined && gateways.length === 0) return undefined;
  const isUsed = (name: string): boolean => routes === undefined || gateways.some((each) => each.name === name);
  const lines = [
    ...gateways.map(({ name, gateway }) => `gateway ${kindOf(name)} ${gateway}`),
    ...Object.entries(interfaces).flatMap(([name, infos = []]) =>
      isUsed(name) ? ownNetworks(infos).map((network) => `network ${kindOf(name)} ${network}`) : [],
    ),
    ...(resolver.match(/^(?:nameserver|search|domain)\s.*$/gm) ?? []).map((line) => line.trim().split(/\s+/).join(' ')),
  ];
  return lines.length === 0 ? undefined : [...new Set(lines)].sort((a, b) => (a < b ? -1 : 1)).join('\n');
}

/** A named exit dials for each link of its clients, and a look reads four files. */
const SAME_MS = 250;

/** Tells in which network this machine is now, or was so shortly before. */
export function networkTeller(clock: Clock = systemClock): () => string | undefined {
  let told: string | undefined;
  let toldAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = clock.now();
    if (now - toldAt >= SAME_MS) {
      told = thisNetwork();
      toldAt = now;
    }
    return told;
  };
}

function thisNetwork(): string | undefined {
  try {
    const resolver = ['/run/systemd/resolve/resolv.conf', '/etc/resolv.conf'].map(readHead).find(Boolean) ?? '';
    return describeNetwork({ routes: readRoutes(), interfaces: networkInterfaces(), resolver });
  } catch {
    // Sandboxes hide interfaces.
    return undefined;
  }
}

function kindOf(name: string): string {
  return KINDS.find(([, form]) => form.test(name))?.[0] ?? name.replace(/\d+$/, '');
}

/** Only of IPv4: prefixes of IPv6 may change every day. */
function ownNetworks(infos: readonly NetworkInterfaceInfo[]): string[] {
  return infos.flatMap(({ family, internal, address, netmask }) => {
    if (internal || family !== 'IPv4') return [];
    const mask = netmask.split('.').map(Number);
    return address
      .split('.')
      .map((part, i) => Number(part) & (mask[i] ?? 0))
      .join('.');
  });
}
