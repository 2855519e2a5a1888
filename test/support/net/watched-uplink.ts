/**
 * A machine in a network namespace whose uplink is watched: which packets leave by it that do not go to the relay. Its
 * default route leads to the test's own namespace, where anything that strays would be welcome. Needs nftables.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runWell } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';
import { addNamespace, ip, wire, within } from './namespaces.ts';

export interface WatchedUplink {
  /** In front of a command that is to run on the machine. */
  readonly there: readonly string[];
  readonly namespace: string;
  readonly interface: string;
  /** Of the test's namespace, as the machine sees it. */
  readonly relayAddress: string;
  readonly ownAddress: string;
  /** Of the test's namespace, too. */
  addAddress(address: string): Promise<void>;
  /** `relayAddress` is not there any more. */
  removeRelayAddress(): Promise<void>;
  /** The wire carries so much each way, and queues what takes 100 ms. */
  shape(mbit: number): Promise<void>;
  /** Files of the machine's /etc: programs that start from now on see them, and those that run see what is in them. */
  setFile(name: string, content: string): Promise<void>;
  /** From now on packets are counted that go to none of these. */
  watch(allowed: readonly string[]): Promise<void>;
  allow(address: string): Promise<void>;
  /** Destinations of the others since then. */
  strayed(): Promise<readonly string[]>;
}

/** Of public addresses, as an exit connects to no others, and as no rule for local networks is for them. */
const NET = '51.7.0';

export async function startWatchedUplink(): Promise<WatchedUplink> {
  const id = randomBytes(2).toString('hex');
  const [namespace, there, outer] = [`wm${id}`, `up${id}`, `out${id}`];
  const folder = `/etc/netns/${namespace}`;
  await mkdir(folder, { recursive: true });
  atEnd(() => rm(folder, { recursive: true, force: true }));
  const setFile = (name: string, content: string) => writeFile(join(folder, name), content);
  await setFile('hosts', '127.0.0.1 localhost\n');
  // Nobody is there.
  await setFile('resolv.conf', `nameserver ${NET}.53\noptions timeout:1\n`);
  await addNamespace(namespace);
  await wire({ namespace, name: there, address: `${NET}.2` }, { name: outer, address: `${NET}.1` });
  await ip('-n', namespace, 'route', 'add', 'default', 'via', `${NET}.1`);
  await ip('route', 'add', `${NET}.2`, 'dev', outer);
  const nft = (text: string) => runWell('nft', ['-f', '-'], { within: within(namespace), input: text });
  return {
    ...{ there: within(namespace), namespace, interface: there, relayAddress: `${NET}.1`, ownAddress: `${NET}.2` },
    setFile,
    shape: async (mbit) => {
      const args = ['root', 'tbf', 'rate', `${mbit}mbit`, 'burst', '16k', 'latency', '100ms'];
      await runWell('tc', ['qdisc', 'add', 'dev', outer, ...args]);
      await runWell('tc', ['qdisc', 'add', 'dev', there, ...args], { within: within(namespace) });
    },
    addAddress: async (address) => void (await ip('address', 'add', `${address}/32`, 'dev', outer)),
    removeRelayAddress: async () => void (await ip('address', 'delete', `${NET}.1/24`, 'dev', outer)),
    watch: async (allowed) => void (await nft(watchRules(there, allowed))),
    allow: async (address) => void (await nft(`add element inet watch allowed { ${address} }`)),
    strayed: async () => {
      const listed = await runWell('nft', ['-j', 'list', 'table', 'inet', 'watch'], { within: within(namespace) });
      const { nftables } = JSON.parse(listed) as { nftables: { set?: { name: string; elem?: string[] } }[] };
      return nftables.flatMap(({ set }) => (set?.name.startsWith('strayed') ? (set.elem ?? []) : []));
    },
  };
}

/** What the kernel says for itself when an interface comes up (RFC 4861) is of no program. */
function watchRules(device: string, allowed: readonly string[]): string {
  return `table inet watch {
  set allowed { type ipv4_addr; elements = { ${allowed.join(', ')} } }
  set strayed4 { type ipv4_addr; size 1000; flags dynamic; }
  set strayed6 { type ipv6_addr; size 1000; flags dynamic; }
  chain out {
    type filter hook postrouting priority 300; policy accept;
    oifname != "${device}" accept
    ip daddr @allowed accept
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
    meta nfproto ipv4 update @strayed4 { ip daddr }
    meta nfproto ipv6 update @strayed6 { ip6 daddr }
  }
}
`;
}
