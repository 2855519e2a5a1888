/** Obstacles: paths to the relay that carry little, only some ports, one version of IP, or lead elsewhere first. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { addNamespace, ip, within } from '../net/namespaces.ts';
import type { RoutedNetwork } from '../net/routed-network.ts';
import { payload } from '../payload.ts';
import { makeCertificate } from '../programs/certificate.ts';
import { startPortal } from '../programs/nginx.ts';
import { run, runWell, spawnBound } from '../programs/programs.ts';
import { startClient } from '../programs/wstun-stack.ts';
import { atEnd } from '../scope.ts';
import { tempDir } from '../temp-dir.ts';
import { until } from '../until.ts';
import type { Course, Name, Obstacle } from './obstacle.ts';
import { FILE_BYTES, type ObstacleNetwork, RELAY } from './obstacle-network.ts';
import { isMeasuring } from './run-obstacle.ts';

const NAMES: readonly Name[] = [
  [RELAY, 'relay.example.org'],
  // On a busy machine it is told a little later.
  [/after \d+(?:\.\d)? s/g, 'after 2.0 s'],
];
const URL_443 = `wss://${RELAY}`;

/** Until the end of the test; the file of each namespace. */
export async function setFile(namespace: string, file: 'hosts' | 'resolv.conf', text: string): Promise<void> {
  const dir = `/etc/netns/${namespace}`;
  await mkdir(dir, { recursive: true });
  atEnd(() => rm(dir, { recursive: true, force: true }));
  await writeFile(`${dir}/${file}`, text);
}

export function routedOf({ routed }: ObstacleNetwork): RoutedNetwork {
  if (routed === undefined) throw new Error('this obstacle needs a routed network');
  return routed;
}

async function nameInHosts(network: ObstacleNetwork): Promise<RoutedNetwork> {
  const routed = routedOf(network);
  await setFile(routed.laptop, 'hosts', `${routed.relayAddress} ${RELAY}\n`);
  return routed;
}

/** @returns what takes them away */
async function addRules(routed: RoutedNetwork, rules: readonly (readonly string[])[]): Promise<() => Promise<void>> {
  const iptables = (...args: readonly string[]) => runWell('iptables', ['-w', ...args], { within: routed.router });
  for (const [table = '', chain = '', ...rest] of rules) await iptables('-t', table, '-A', chain, ...rest);
  let isThere = true;
  return async () => {
    if (!isThere) return;
    isThere = false;
    for (const [table = '', chain = '', ...rest] of rules) await iptables('-t', table, '-D', chain, ...rest);
  };
}

const FIREWALL: Obstacle = {
  what: 'a firewall that lets out ports 443 and 53 only',
  program: 'iptables, in network namespaces',
  helps: 'a URL of the relay at port 443 in the invite',
  says: 'connected through relay.example.org',
  start: async (network) => {
    const routed = await nameInHosts(network);
    const open = (protocol: string, port: string) => ['-p', protocol, '--dport', port, '-j', 'ACCEPT'];
    const end = await addRules(routed, [
      ['filter', 'FORWARD', '-m', 'state', '--state', 'ESTABLISHED,RELATED', '-j', 'ACCEPT'],
      ...[open('tcp', '443'), open('tcp', '53'), open('udp', '53')].map((rule) => ['filter', 'FORWARD', ...rule]),
      ['filter', 'FORWARD', '-j', 'DROP'],
    ]);
    const invite = await network.inviteTo(`${URL_443}:8443`, URL_443);
    return { invite, client: { env: network.env, within: routed.there }, names: NAMES, end };
  },
};

const LOGIN = 'http://login.hotel.example/';
const LEADS_TO_LOGIN =
  'this network answers in place of the relay and leads to a page: http://relay.example.org/ leads to ' +
  'http://login.hotel.example/. Open http://login.hotel.example/ in a browser: the network may require a login. ' +
  'wstun reconnects automatically. (WSTUN-E270)';
const PORTAL_CERTIFICATE = makeCertificate('DNS:login.hotel.example');

/** What goes there by http:// or https:// gets to the portal instead. */
async function leadAway(routed: RoutedNetwork, to: readonly string[]): Promise<() => Promise<void>> {
  const portal = await startPortal(PORTAL_CERTIFICATE, LOGIN);
  const lead = (port: string, place: number) => {
    const match = ['PREROUTING', ...to, '-p', 'tcp', '--dport', port];
    return ['nat', ...match, '-j', 'DNAT', '--to-destination', `${routed.relayAddress}:${place}`];
  };
  return await addRules(routed, [lead('80', portal.http), lead('443', portal.https)]);
}

const PORTAL: Obstacle = {
  what: 'a captive portal that leads http:// and https:// to its login',
  program: 'nginx, iptables',
  helps: 'the login',
  says: LEADS_TO_LOGIN,
  start: async (network) => {
    const routed = await nameInHosts(network);
    const clearTheWay = await leadAway(routed, []);
    const client = { env: network.env, within: routed.there };
    return {
      invite: await network.inviteTo(URL_443),
      first: client,
      client,
      names: NAMES,
      clearTheWay,
      end: clearTheWay,
    };
  },
};

/** Of `tc`, each way: 100 kB/s. */
const THROTTLE = ['tbf', 'rate', '800kbit', 'burst', '16kb', 'latency', '300ms'];

const SLOW: Obstacle = {
  what: 'a path of 100 kB/s each way',
  program: 'tc, `tbf`',
  helps: '',
  says: '',
  start: async (network) => {
    const routed = await nameInHosts(network);
    for (const dev of routed.interfaces)
      await runWell('tc', ['qdisc', 'add', 'dev', dev, 'root', ...THROTTLE], { within: routed.router });
    const end = async (): Promise<void> => {
      for (const dev of routed.interfaces)
        await runWell('tc', ['qdisc', 'del', 'dev', dev, 'root'], { within: routed.router });
    };
    const client = { env: network.env, within: routed.there };
    // The whole file takes 100 s.
    const bytes = isMeasuring ? FILE_BYTES : 500_000;
    const plain = isMeasuring ? { plain: await plainServer(routed) } : {};
    return { invite: await network.inviteTo(URL_443), client, bytes, isSlow: true, end, ...plain };
  },
};

async function plainServer(routed: RoutedNetwork): Promise<NonNullable<Course['plain']>> {
  const server = createServer((_request, response) => void response.end(payload(FILE_BYTES, 1)));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  atEnd(() => void server.close().closeAllConnections());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return { url: `http://${routed.relayAddress}:${port}/file`, within: routed.there };
}

const IPV6_ONLY: Obstacle = {
  what: 'a network with IPv6 only',
  program: 'network namespaces',
  helps: '',
  says: '',
  start: async (network) => {
    const id = randomBytes(2).toString('hex');
    const [laptop, near, far] = [`six${id}`, `sixn${id}`, `sixf${id}`];
    await addNamespace(laptop);
    await ip('link', 'add', far, 'type', 'veth', 'peer', 'name', near, 'netns', laptop);
    await ip('address', 'add', `fd78:${id}::1/64`, 'dev', far, 'nodad');
    await ip('-n', laptop, 'address', 'add', `fd78:${id}::2/64`, 'dev', near, 'nodad');
    await ip('link', 'set', far, 'up');
    await ip('-n', laptop, 'link', 'set', near, 'up');
    await setFile(laptop, 'hosts', `fd78:${id}::1 ${RELAY}\n`);
    return { invite: await network.inviteTo(URL_443), client: { env: network.env, within: within(laptop) } };
  },
};

/** Of the relay, and of a portal; both public, so that a private one in their place is a lie. */
const GOOD = '93.184.216.34';
const PORTALS = '93.184.216.99';

/** From now on the laptop resolves the relay's name to that address alone. @returns what ends it */
export async function resolveTo(routed: RoutedNetwork, address: string): Promise<() => Promise<void>> {
  await setFile(routed.laptop, 'hosts', '127.0.0.1 localhost\n');
  await setFile(routed.laptop, 'resolv.conf', 'nameserver 127.0.0.1\n');
  const answer = [`--address=/${RELAY}/${address}`, '--no-resolv', '--no-hosts'];
  const local = ['--listen-address=127.0.0.1', '--bind-interfaces', '--pid-file=', '--user=root'];
  const server = spawnBound('dnsmasq', ['--keep-in-foreground', '--conf-file=/dev/null', ...local, ...answer], {
    within: routed.there,
  });
  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const end = async (): Promise<void> => {
    server.kill('SIGKILL');
    await closed;
  };
  atEnd(end);
  let found = '';
  await until(() => {
    void run('getent', ['ahosts', RELAY], { within: routed.there }).then(({ stdout }) => {
      found = stdout;
    });
    return found.includes(address);
  }, 5_000);
  return end;
}

function lyingServer(what: string, lie: string, says: string): Obstacle {
  return {
    ...{ what, program: 'dnsmasq, nginx, iptables', helps: '', says },
    start: async (network) => {
      const routed = routedOf(network);
      await run('ip', ['address', 'add', `${GOOD}/32`, 'dev', 'lo']);
      await run('ip', ['route', 'replace', `${GOOD}/32`, 'via', routed.relayAddress], { within: routed.router });
      const [invite, state] = [await network.inviteTo(URL_443), await tempDir()];
      const client = { env: { ...network.env, XDG_STATE_HOME: state }, within: routed.there };
      const endTruth = await resolveTo(routed, GOOD);
      const before = await startClient(invite, client);
      before.process.signal('SIGTERM');
      await before.process.exited;
      await endTruth();
      const leadBack = await leadAway(routed, ['-d', lie]);
      const endLie = await resolveTo(routed, lie);
      const end = () => Promise.all([leadBack(), endLie()]);
      return { invite, client, names: NAMES, end };
    },
  };
}

/** They need a routed network. */
export const PATHS: readonly Obstacle[] = [
  FIREWALL,
  PORTAL,
  SLOW,
  IPV6_ONLY,
  lyingServer('a name server that answers with a private address, after a first visit', '10.79.1.1', ''),
  lyingServer('a name server that answers with the address of a portal, after a first visit', PORTALS, LEADS_TO_LOGIN),
];
