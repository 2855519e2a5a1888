/**
 * What `wstun vpn` changes on a Linux machine, as commands of iproute2 (ip(8)), each with the one that undoes it. Pure:
 * it runs nothing.
 *
 * The machine's own routing table stays as it is. Rules in front of it (ip-rule(8)) send everything to a table of our
 * own, which leads into the tun device, except what goes to the relay and to the local network. So whatever else
 * happens to the machine's routes, such as another gateway, is followed; and to undo everything is to delete the rules.
 */
import { familyOf, parseIp } from '../net/ip.ts';
import { nameServersIn } from './name-servers.ts';

export const DEVICE = 'wstun0';
/** Of routing; our own. */
const TABLE = '7894';
/** Before that of the main table, 32766, and behind those of others (Tailscale has 5210 and more). */
const PRIORITY = { relay: 7800, ownDns: 7801, dns: 7802, local: 7803, all: 7804 } as const;
/** For names; a half of the range for benchmarks (RFC 2544), which nobody routes. */
export const VIRTUAL_POOL = '198.18.0.0/16';
/** Of the device: in the other half. */
const OWN_IPV4 = '198.19.255.254';
const OWN_IPV6 = 'fd77:7374:756e::1';
export const RESOLV_CONF = '/etc/resolv.conf';
/** Any address that nobody has: queries to it go into the tunnel like all others. */
const NAME_SERVER = '198.19.255.53';
/** Where the tunnel is down: without it, what is to go there would take the machine's own default route. */
const LAST_METRIC = '4278198272';

/**
 * Private and link-local addresses, which follow the machine's own routes to networks, but not its default route. Not
 * all that it has routes to: a DHCP server can send any (RFC 3442), and so could lead anything around the tunnel.
 */
const LOCAL_NETWORKS: Readonly<Record<Family, readonly string[]>> = {
  4: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16'],
  6: ['fc00::/7', 'fe80::/10'],
};

type Family = 4 | 6;

export type Command = readonly [program: string, ...args: readonly string[]];

export type Change =
  | { readonly kind: 'command'; readonly run: Command; readonly undo: Command }
  /** @field before undefined: there was no such file */
  | { readonly kind: 'file'; readonly path: string; readonly before?: string | undefined; readonly after: string };

export interface VpnFacts {
  /** Of relays and proxies, IP addresses. */
  readonly around: readonly string[];
  /** The local UDP port of our own queries for the addresses of relays; undefined: there are none. */
  readonly ownDnsPort: number | undefined;
  /** `carried`: through the tunnel. `blocked`: nothing but to the relay and to the local network. `absent`: no IPv6. */
  readonly ipv6: 'carried' | 'blocked' | 'absent';
  /** A file to be changed, too. */
  readonly file?: Extract<Change, { kind: 'file' }> | undefined;
}

/** All that is to be done, in this order. To undo it: the other way round. */
export function planVpn({ around, ownDnsPort, ipv6, file }: VpnFacts): readonly Change[] {
  const families: readonly Family[] = ipv6 === 'absent' ? [4] : [4, 6];
  const carried: readonly Family[] = ipv6 === 'carried' ? [4, 6] : [4];
  return [
    change('ip tuntap add mode tun name', DEVICE, 'ip link delete', DEVICE),
    ...carried.map(ownAddress),
    change(`ip link set ${DEVICE} up`, '', `ip link set ${DEVICE} down`, ''),
    ...families.map((family) => route(family, `unreachable default metric ${LAST_METRIC}`)),
    ...carried.map((family) => route(family, `default dev ${DEVICE}`)),
    ...around.flatMap((address) => passAround(address, ipv6)),
    ...families.flatMap((family) => nameRules(family, ownDnsPort)),
    ...families.flatMap((family) =>
      LOCAL_NETWORKS[family].map((network) =>
        rule(family, PRIORITY.local, `to ${network} lookup main suppress_prefixlength 0`),
      ),
    ),
    ...families.map((family) => rule(family, PRIORITY.all, `lookup ${TABLE}`)),
    ...(file === undefined ? [] : [file]),
  ];
}

/**
 * A machine that knows no name server asks itself (resolv.conf(5)): then it needs one. Undefined: it knows one.
 * @param now the content of the file; undefined: there is none
 */
export function nameServerFile(now: string | undefined): VpnFacts['file'] {
  if (now !== undefined && nameServersIn(now).length > 0) return undefined;
  return { kind: 'file', path: RESOLV_CONF, before: now, after: `${now ?? ''}nameserver ${NAME_SERVER}\n` };
}

/**
 * An address to which packets take the machine's own routes. None for what is no address, and where there is no IPv6
 * for one of that.
 */
export function passAround(address: string, ipv6: VpnFacts['ipv6']): readonly Change[] {
  const ip = parseIp(address);
  const isMissing = ip === undefined || (familyOf(ip) === 6 && ipv6 === 'absent');
  return isMissing ? [] : [rule(familyOf(ip), PRIORITY.relay, `to ${address} lookup main`)];
}

/**
 * Name servers of the local network, too, are only asked through the tunnel: what is asked there says who is visited.
 */
function nameRules(family: Family, ownDnsPort: number | undefined): readonly Change[] {
  const own = `ipproto udp sport ${ownDnsPort} dport 53 lookup main`;
  return [
    ...(ownDnsPort === undefined ? [] : [rule(family, PRIORITY.ownDns, own)]),
    ...['udp', 'tcp'].map((protocol) => rule(family, PRIORITY.dns, `ipproto ${protocol} dport 53 lookup ${TABLE}`)),
  ];
}

function ownAddress(family: Family): Change {
  const address = family === 4 ? `${OWN_IPV4}/32` : `${OWN_IPV6}/128`;
  // Without a check whether another machine has it: there is none, and the address would be unusable for a second.
  const more = family === 4 ? '' : 'nodad';
  return change(
    `ip -${family} address add ${address} dev ${DEVICE}`,
    more,
    `ip -${family} address delete ${address} dev ${DEVICE}`,
    '',
  );
}

function route(family: Family, what: string): Change {
  return change(
    `ip -${family} route add`,
    `${what} table ${TABLE}`,
    `ip -${family} route delete`,
    `${what} table ${TABLE}`,
  );
}

function rule(family: Family, priority: number, what: string): Change {
  const text = `priority ${priority} ${what}`;
  return change(`ip -${family} rule add`, text, `ip -${family} rule delete`, text);
}

function change(run: string, what: string, undo: string, undoWhat: string): Change {
  return { kind: 'command', run: words(`${run} ${what}`), undo: words(`${undo} ${undoWhat}`) };
}

function words(text: string): Command {
  const [program = '', ...args] = text.trim().split(/\s+/);
  return [program, ...args];
}

export function isRule(each: Change): boolean {
  return each.kind === 'command' && each.run[2] === 'rule';
}

/** @param line of `ip rule` */
export function isOurRule(line: string): boolean {
  const priority = Number(/^(\d+):/.exec(line)?.[1]);
  return priority >= PRIORITY.relay && priority <= PRIORITY.all;
}

/** For a person who wants to run them. */
export function describeChange(each: Change): string {
  return each.kind === 'command' ? each.run.join(' ') : `echo '${each.after.trim()}' > ${each.path}`;
}

export function describeUndo(each: Change): string {
  if (each.kind === 'command') return each.undo.join(' ');
  return each.before === undefined ? `rm ${each.path}` : `# put back what was in ${each.path}`;
}

/** What runs between the device and the proxy. @param proxy `host:port` */
export function tunArguments(proxy: string, ipv6: VpnFacts['ipv6']): readonly string[] {
  return [
    ...['--tun', DEVICE, '--proxy', `socks5://${proxy}`],
    ...['--dns', 'virtual', '--virtual-dns-pool', VIRTUAL_POOL],
    ...['--max-sessions', '1024', '--udp-timeout', '60'],
    ...(ipv6 === 'carried' ? ['--ipv6-enabled'] : []),
  ];
}
