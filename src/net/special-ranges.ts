/**
 * Which addresses are public: decided on their bytes, from the IANA special-purpose registries (RFC 6890 and its
 * successors). Pure. What rules open as well is not decided here (exit/policy.ts).
 *
 * IPv4 has a list of what is denied. IPv6 also has what is allowed: only 2000::/3 is assigned as global unicast, so a
 * range that is registered tomorrow is denied today.
 */
import { type IpBytes, network, networkContains, unmapIp } from './ip.ts';

const SPECIAL_RANGES = [
  [network('0.0.0.0/8'), 'this network'], // RFC 791; 0.0.0.0 connects to the machine itself
  [network('10.0.0.0/8'), 'private'], // RFC 1918
  [network('100.64.0.0/10'), 'carrier-grade NAT'], // RFC 6598
  [network('127.0.0.0/8'), 'loopback'], // RFC 1122 §3.2.1.3
  [network('169.254.0.0/16'), 'link-local'], // RFC 3927; the metadata services of clouds
  [network('172.16.0.0/12'), 'private'],
  [network('192.0.0.0/24'), 'protocol assignments'], // RFC 6890
  [network('192.0.2.0/24'), 'documentation'], // RFC 5737
  [network('192.31.196.0/24'), 'AS112'], // RFC 7535
  [network('192.52.193.0/24'), 'AMT'], // RFC 7450
  [network('192.88.99.0/24'), '6to4 relay'], // RFC 7526
  [network('192.168.0.0/16'), 'private'],
  [network('192.175.48.0/24'), 'AS112'], // RFC 7534
  [network('198.18.0.0/15'), 'benchmarking'], // RFC 2544
  [network('198.51.100.0/24'), 'documentation'],
  [network('203.0.113.0/24'), 'documentation'],
  [network('224.0.0.0/4'), 'multicast'], // RFC 5771
  [network('240.0.0.0/4'), 'reserved'], // RFC 1112; holds the broadcast address
  [network('168.63.129.16/32'), 'cloud platform'], // Azure's WireServer: a public number, but on the host itself
  [network('::1/128'), 'loopback'], // RFC 4291 §2.5.3
  [network('fc00::/7'), 'private'], // RFC 4193
  [network('fe80::/10'), 'link-local'], // RFC 4291 §2.5.6
  [network('2001::/23'), 'protocol assignments'], // RFC 2928; holds Teredo and ORCHID, which hide other addresses
  [network('2001:db8::/32'), 'documentation'], // RFC 3849
  [network('2002::/16'), '6to4'], // RFC 3056; hides an IPv4 address
  [network('2620:4f:8000::/48'), 'AS112'], // RFC 7534
  [network('3fff::/20'), 'documentation'], // RFC 9637
] as const;
const GLOBAL_V6 = network('2000::/3'); // RFC 4291 §2.4, the part that IANA assigns

type RangeName = (typeof SPECIAL_RANGES)[number][1] | 'not global unicast';

/** NAT64 (RFC 6052 §2.1). With DNS64 every IPv4 site has such an address, so it cannot be denied as a whole. */
const NAT64 = network('64:ff9b::/96');

/** The name of the special range in which this address lies, or undefined for a public one. */
export function specialRange(address: IpBytes): RangeName | undefined {
  return rangeOf(embeddedIpv4(address) ?? unmapIp(address));
}

/** The same, of the address as it is: not of an IPv4 address inside. */
export function rangeOf(ip: IpBytes): RangeName | undefined {
  const hit = SPECIAL_RANGES.find(([range]) => networkContains(range, ip));
  if (hit) return hit[1];
  return ip.length === 4 || networkContains(GLOBAL_V6, ip) ? undefined : 'not global unicast';
}

/** The IPv4 address that a NAT64 gateway would dial for this one, if any. */
export function embeddedIpv4(ip: IpBytes): IpBytes | undefined {
  return networkContains(NAT64, ip) ? ip.slice(12) : undefined;
}

/** 0.0.0.0 and `::` are no address of anything, but connecting to them reaches the machine itself. */
export function isUnspecified(ip: IpBytes): boolean {
  return ip.every((byte) => byte === 0);
}

/** Multicast (RFC 5771, RFC 4291 §2.7), or the broadcast address; the machine's own networks have others. */
export function isToMany(address: IpBytes): boolean {
  const ip = embeddedIpv4(address) ?? unmapIp(address);
  const [first = 0] = ip;
  return ip.length === 4 ? (first >= 224 && first < 240) || ip.every((byte) => byte === 255) : first === 255;
}
