/** The rules of nftables for --tproxy and --redirect, as text that a person can paste and undo. Pure. */
import { parseIp } from '../net/ip.ts';

/** Of packets, and of a routing table: our own. */
const MARK = '0x7893';
const TABLE = 7893;

/** What stays on the machine and in its networks, and what is no destination of a connection (IANA's registries). */
const AROUND_IPV4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.168.0.0/16', '224.0.0.0/3'],
];
const AROUND_IPV6 = ['::1', 'fc00::/7', 'fe80::/10', 'ff00::/8'];

export interface FirewallFacts {
  /** Where `wstun client` listens. */
  readonly port: number;
  /** The addresses of relays, and of proxies to them. */
  readonly relays: readonly string[];
}

/** For a gateway: what others send through this machine, TCP and UDP. */
export function tproxyRules({ port, relays }: FirewallFacts): string {
  return `# A gateway: connections and datagrams of the machines that use this one as
# their router go to wstun client --tproxy ${port}. Run this as root.

# Packets that the rules below have marked are for this machine, whatever
# their destination.
${ipLines('add')}

nft -f - <<'RULES'
${tableStart('wstun_tproxy', relays)}
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    # For this machine itself, for its networks, and to the relay: as ever.
    fib daddr type { local, broadcast, multicast } accept
    ip daddr @around4 accept
    ip6 daddr @around6 accept
    # The rest. Nothing is led here while no client listens: then it is dropped.
    meta l4proto { tcp, udp } meta mark set ${MARK} tproxy to :${port} accept
    meta l4proto { tcp, udp } drop
  }
}
RULES

# TCP and UDP need no forwarding. With it, everything else (ping) is forwarded
# around the tunnel; this turns it off:
#   sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
# The relay has another address now:
#   nft add element inet wstun_tproxy around4 '{ 192.0.2.1 }'
# To undo all of this:
#   nft delete table inet wstun_tproxy
${ipLines('delete')
  .split('\n')
  .map((line) => `#   ${line}`)
  .join('\n')}
`;
}

/** For TCP: of others, as above, and of this machine's own programs. */
export function redirectRules({ port, relays }: FirewallFacts): string {
  return `# Connections (TCP only) of this machine's own programs, and of the machines
# that use it as their router, go to wstun client --redirect ${port}. Run this as root.

nft -f - <<'RULES'
${tableStart('wstun_redirect', relays)}
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type { local, broadcast, multicast } accept
    ip daddr @around4 accept
    ip6 daddr @around6 accept
    meta l4proto tcp redirect to :${port}
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type { local, broadcast, multicast } accept
    ip daddr @around4 accept
    ip6 daddr @around6 accept
    meta l4proto tcp redirect to :${port}
  }
}
RULES

# The relay has another address now:
#   nft add element inet wstun_redirect around4 '{ 192.0.2.1 }'
# To undo all of this:
#   nft delete table inet wstun_redirect
`;
}

/** Deleted first, so that the lines can be pasted twice. */
function tableStart(name: string, relays: readonly string[]): string {
  return `table inet ${name}
delete table inet ${name}
table inet ${name} {
${addressSet('around4', 'ipv4_addr', [...AROUND_IPV4, ...ofFamily(4, relays)])}
${addressSet('around6', 'ipv6_addr', [...AROUND_IPV6, ...ofFamily(6, relays)])}`;
}

function addressSet(name: string, type: string, elements: readonly string[]): string {
  const lines = elements.map((element) => `      ${element}`).join(',\n');
  return `  set ${name} {
    type ${type}; flags interval; auto-merge
    elements = {
${lines}
    }
  }`;
}

/** An address comes from a name server, and becomes a part of what root runs. */
function ofFamily(family: 4 | 6, addresses: readonly string[]): readonly string[] {
  return addresses.filter((address) => parseIp(address)?.length === (family === 4 ? 4 : 16));
}

function ipLines(verb: 'add' | 'delete'): string {
  return ['-4', '-6']
    .flatMap((family) => [
      `ip ${family} rule ${verb} fwmark ${MARK} lookup ${TABLE}`,
      `ip ${family} route ${verb} local default dev lo table ${TABLE}`,
    ])
    .join('\n');
}
