/**
 * A laptop in a network namespace of its own, behind a router in another, and the test's own namespace, where relay and
 * targets are. The router does to packets what networks do: it drops them, or lets only small ones through and says
 * nothing.
 */
import { randomBytes } from 'node:crypto';
import { runWell } from '../programs/programs.ts';
import { addNamespace, ip, wire, within } from './namespaces.ts';

export interface RoutedNetwork {
  /** In front of a command that is to run on the laptop. */
  readonly there: readonly string[];
  readonly relayAddress: string;
  /** The name of the laptop's namespace: files for it are in /etc/netns. */
  readonly laptop: string;
  /** In front of a command that is to run on the router. */
  readonly router: readonly string[];
  /** Of the router, towards the laptop and towards the relay. */
  readonly interfaces: readonly [string, string];
  /** From now on all packets of the TCP connections that stand are dropped, both ways; new ones pass. */
  freezeConnections(): Promise<void>;
  /** From now on all packets of TCP are dropped, or none any more. */
  setHole(isThere: boolean): Promise<void>;
  /** The router carries packets of up to so many bytes, drops longer ones, and nobody hears of it. */
  limitPackets(bytes: number): Promise<void>;
}

/** Until the test, or the file, is over. */
export async function startRoutedNetwork(): Promise<RoutedNetwork> {
  const id = randomBytes(2).toString('hex');
  const [laptop, router] = [`lt${id}`, `rt${id}`];
  const [inner, outer] = [`in${id}`, `out${id}`];
  const net = `10.78.${1 + ((randomBytes(1)[0] ?? 0) % 250)}`;
  for (const namespace of [laptop, router]) await addNamespace(namespace);
  await wire(
    { namespace: laptop, name: `lap${id}`, address: '10.79.1.2' },
    { namespace: router, name: inner, address: '10.79.1.1' },
  );
  await wire({ namespace: router, name: outer, address: `${net}.1` }, { name: `rel${id}`, address: `${net}.3` });
  await runWell('sysctl', ['-qw', 'net.ipv4.ip_forward=1'], { within: within(router) });
  await ip('-n', laptop, 'route', 'add', 'default', 'via', '10.79.1.1');
  await ip('route', 'add', '10.79.1.0/24', 'via', `${net}.1`);
  const iptables = (...args: string[]): Promise<string> =>
    runWell('iptables', ['-w', ...args], { within: within(router) });
  return {
    there: within(laptop),
    relayAddress: `${net}.3`,
    ...{ laptop, router: within(router), interfaces: [inner, outer] },
    freezeConnections: async () => {
      const standing = await runWell('ss', ['-Htn', 'state', 'established'], { within: within(laptop) });
      const ports = [...standing.matchAll(/10\.79\.1\.2:(\d+)/g)].map(([, port = '']) => port);
      for (const port of ports) {
        await iptables('-A', 'FORWARD', '-p', 'tcp', '--sport', port, '-j', 'DROP');
        await iptables('-A', 'FORWARD', '-p', 'tcp', '--dport', port, '-j', 'DROP');
      }
    },
    setHole: async (isThere) => {
      await iptables(isThere ? '-I' : '-D', 'FORWARD', '-p', 'tcp', '-j', 'DROP');
    },
    limitPackets: async (bytes) => {
      await iptables('-A', 'OUTPUT', '-p', 'icmp', '--icmp-type', '3', '-j', 'DROP');
      for (const name of [inner, outer]) await ip('-n', router, 'link', 'set', name, 'mtu', String(bytes));
    },
  };
}
