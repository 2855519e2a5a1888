/**
 * A laptop in a network namespace of its own, that joins and leaves networks. The test is in all of them, and so is the
 * phone, and has the relay and the targets; what comes and goes at the laptop changes nothing here, as browsers drop
 * what they do when something does. Needs root, and says so where it is not.
 */
import { randomBytes } from 'node:crypto';
import { addNamespace, ip, within } from './namespaces.ts';

/** Of the private addresses, a corner that nobody uses. Each is a network of its own. */
const NETWORKS = [11, 12].map((number) => ({ laptop: `10.213.${number}.2`, test: `10.213.${number}.1` }));

export interface Network {
  /** Of the laptop. */
  readonly address: string;
  leave(): Promise<void>;
}

export interface RoamingLaptop {
  readonly within: readonly string[];
  /** Its addresses in either network, whether or not it has joined. */
  readonly addresses: readonly [string, string];
  join(kind: 'wlan' | 'eth', network: 0 | 1): Promise<Network>;
  /** It gets a default route, or another. */
  changeRoute(via: Network): Promise<void>;
}

/** In no network. Until the test is over. */
export async function startRoamingLaptop(): Promise<RoamingLaptop> {
  const id = randomBytes(2).toString('hex');
  const [laptop, air, port] = [`wr${id}`, `wa${id}`, `air${id}`];
  for (const namespace of [laptop, air]) await addNamespace(namespace);
  await ip('-n', air, 'link', 'add', 'bridge', 'type', 'bridge');
  await ip('-n', air, 'link', 'set', 'bridge', 'up');
  const plug = async (name: string): Promise<void> => {
    await ip('-n', air, 'link', 'set', name, 'master', 'bridge', 'up');
  };
  await ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'test', 'netns', air);
  await ip('link', 'set', port, 'addrgenmode', 'none');
  for (const { test } of NETWORKS) await ip('address', 'add', `${test}/24`, 'dev', port);
  await ip('link', 'set', port, 'up');
  await plug('test');

  const join = async (kind: 'wlan' | 'eth', network: 0 | 1): Promise<Network> => {
    const [name, { laptop: address }] = [`${kind}${network}`, NETWORKS[network]!];
    // The same card each time: the phone still knows it.
    const card = ['address', `02:00:00:00:00:1${network}`];
    await ip('-n', laptop, 'link', 'add', name, ...card, 'type', 'veth', 'peer', 'name', name, 'netns', air);
    await plug(name);
    await ip('-n', laptop, 'address', 'add', `${address}/24`, 'dev', name);
    await ip('-n', laptop, 'link', 'set', name, 'up');
    return { address, leave: async () => void (await ip('-n', laptop, 'link', 'delete', name)) };
  };
  return {
    within: within(laptop),
    addresses: [NETWORKS[0]!.laptop, NETWORKS[1]!.laptop],
    join,
    changeRoute: async ({ address }) =>
      void (await ip('-n', laptop, 'route', 'replace', 'default', 'via', address.replace(/2$/, '1'))),
  };
}
