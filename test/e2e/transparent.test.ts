/**
 * `wstun client --tproxy` and `--redirect` behind the rules of nftables that `wstun vpn --print` shows.
 * @module-tag waits
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { echoDatagrams, exchangeDatagrams } from '../support/net/datagrams.ts';
import { addNamespace, ip, wire, within } from '../support/net/namespaces.ts';
import { startWatchedUplink, type WatchedUplink } from '../support/net/watched-uplink.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { linesWith, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

/** Of the test's namespace, where the relay's exit finds them; the machines have no route to them but the default one. */
const TARGET = { 4: '51.9.0.10', 6: '2600:51::10' } as const;

let uplink: WatchedUplink;
let relay: RunningRelay;
let secret: string;
/** A machine that has the watched one as its router. */
let inside: readonly string[];

beforeAll(async () => {
  uplink = await startWatchedUplink();
  await ip('address', 'add', `${TARGET[4]}/32`, 'dev', 'lo');
  await ip('address', 'add', `${TARGET[6]}/128`, 'dev', 'lo', 'nodad');
  relay = await startRelay({ args: ['--listen', '0.0.0.0:8443'] });
  secret = await invite(relay, 'gateway', { allow: ['*'], url: `ws://${uplink.relayAddress}:8443` });
  inside = await addInside(uplink.namespace);
  await uplink.watch([uplink.relayAddress]);
});

async function addInside(gateway: string): Promise<readonly string[]> {
  const id = randomBytes(2).toString('hex');
  const [namespace, near, far] = [`in${id}`, `gw${id}`, `pc${id}`];
  await addNamespace(namespace);
  await wire(
    { namespace: gateway, name: near, address: '192.168.77.1' },
    { namespace, name: far, address: '192.168.77.2' },
  );
  await ip('-n', namespace, 'route', 'add', 'default', 'via', '192.168.77.1');
  await ip('-n', gateway, '-6', 'route', 'add', 'default', 'dev', uplink.interface);
  await ip('-n', gateway, '-6', 'address', 'add', 'fd77::1/64', 'dev', near, 'nodad');
  await ip('-n', namespace, '-6', 'address', 'add', 'fd77::2/64', 'dev', far, 'nodad');
  await ip('-n', namespace, '-6', 'route', 'add', 'default', 'via', 'fd77::1');
  return within(namespace);
}

/** Says hello, and echoes until the other end has finished. */
async function greeter(host: string): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
    socket.on('error', () => {});
    socket.write('hello ');
    socket.pipe(socket);
  });
  server.listen({ host, port: 0 });
  await once(server, 'listening');
  atEnd(() => server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** What a person pastes. */
async function applyRules(what: 'tproxy' | 'redirect'): Promise<void> {
  const { stdout, stderr } = await wstun(['vpn', '--print', what], {
    env: { WSTUN_INVITE: secret },
    within: uplink.there,
  });
  expect(stderr).toBe('');
  await runWell('sh', ['-e', '-c', stdout], { within: uplink.there });
  const undo = stdout.slice(stdout.indexOf('# To undo')).replaceAll(/^#\s*/gm, '');
  atEnd(() => runWell('sh', ['-e', '-c', undo.slice(undo.indexOf('\n'))], { within: uplink.there }));
}

function startGateway(args: readonly string[]): Promise<RunningClient> {
  return startClient(secret, { args, within: uplink.there });
}

const talk = (there: readonly string[], host: string, port: number) =>
  run('nc.openbsd', ['-N', '-w', '10', host, String(port)], { within: there, input: 'there' });

describe('wstun client --redirect', () => {
  it.each([4, 6] as const)(
    'carries connections over IPv%i of the machine itself and of those behind it',
    async (family) => {
      await startGateway(['--redirect', '7892']);
      await applyRules('redirect');
      const port = await greeter(TARGET[family]);
      for (const there of [inside, uplink.there]) {
        const { stdout, stderr } = await talk(there, TARGET[family], port);
        expect(stdout, stderr).toBe('hello there');
      }
      expect(await uplink.strayed()).toEqual([]);
    },
  );

  it('refuses a connection that no rule has led there', async () => {
    const { process } = await startGateway(['--redirect', '7892']);
    const { stdout } = await talk(inside, '192.168.77.1', 7892);
    expect(stdout).toBe('');
    await until(() => linesWith(process, 'no rule of the firewall has led it here').length > 0);
  });
});

describe('wstun client --tproxy', () => {
  it.each([4, 6] as const)('carries connections over IPv%i of the machines behind it', async (family) => {
    await startGateway(['--tproxy', '7893']);
    await applyRules('tproxy');
    const port = await greeter(TARGET[family]);
    const { stdout, stderr } = await talk(inside, TARGET[family], port);
    expect(stdout, stderr).toBe('hello there');
    const refused = await talk(inside, TARGET[family], 9);
    expect(refused).toMatchObject({ stdout: '' });
    expect(await uplink.strayed()).toEqual([]);
  });

  it.each([4, 6] as const)(
    'carries datagrams over IPv%i, and answers come from where they were sent to',
    async (family) => {
      const { process } = await startGateway(['--tproxy', '7893']);
      await applyRules('tproxy');
      const ports = [await echoDatagrams(TARGET[family]), await echoDatagrams(TARGET[family])];
      const answers = await exchangeDatagrams(inside, TARGET[family], ports);
      // Each size to each port, from a socket that takes answers of nobody else.
      expect(answers, process.describe()).toBe('2 ports, 28 answers\n');
      expect(await uplink.strayed()).toEqual([]);
    },
  );

  it('refuses what no rule has led there, and what goes to the relay', async () => {
    const { process } = await startGateway(['--tproxy', '7893']);
    await applyRules('tproxy');
    await runWell('nft', ['delete', 'element', 'inet', 'wstun_tproxy', 'around4', `{ ${uplink.relayAddress} }`], {
      within: uplink.there,
    });
    expect((await talk(inside, '192.168.77.1', 7893)).stdout).toBe('');
    expect((await talk(inside, uplink.relayAddress, 8443)).stdout).toBe('');
    await until(() => linesWith(process, 'no rule of the firewall has led it here').length > 0);
    await until(() => linesWith(process, 'it goes to the relay').length > 0);
  });

  it('says what it needs where it may not open a transparent socket', async () => {
    const drop = ['setpriv', '--bounding-set=-net_admin,-net_raw', '--inh-caps=-net_admin,-net_raw'];
    const { code, stderr } = await wstun(['client', '--listen', '127.0.0.1:0', '--tproxy', '7893', '--no-keep'], {
      env: { WSTUN_INVITE: secret },
      within: [...uplink.there, ...drop],
    });
    expect(code).toBe(78);
    expect(stderr).toMatch(/may not open a transparent socket.*CAP_NET_ADMIN.*WSTUN-E195/s);
  });
});
