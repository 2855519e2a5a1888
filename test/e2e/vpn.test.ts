/**
 * `wstun vpn` with real programs, which know of no proxy, on a machine whose uplink is watched.
 * @module-tag waits
 */

import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { echoDatagrams, exchangeDatagrams } from '../support/net/datagrams.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { ip } from '../support/net/namespaces.ts';
import { startWatchedUplink, type WatchedUplink } from '../support/net/watched-uplink.ts';
import { startGitServer } from '../support/programs/git-server.ts';
import { run, runWell } from '../support/programs/programs.ts';
import { isTun2proxyHere, PATH_WITH_TUN2PROXY } from '../support/programs/tun2proxy.ts';
import { linesWith, WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import { invite, type RunningRelay, startRelay } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const RELAY = 'relay.example.net';
const OTHER_ADDRESS = '51.7.0.7';
/** As in the machine's resolv.conf. */
const NAME_SERVER = '51.7.0.53';
const LARGE = Buffer.alloc(4 * 1024 * 1024, 'x');

let uplink: WatchedUplink;
let relay: RunningRelay;
let secret: string;
let web: number;

beforeAll(async () => {
  uplink = await startWatchedUplink();
  await uplink.addAddress(OTHER_ADDRESS);
  await uplink.setFile('hosts', `127.0.0.1 localhost\n${uplink.relayAddress} ${RELAY}\n`);
  const here = { addresses: ['127.0.0.1'] };
  const dns = await startDnsServer({ 'site.example.net': here, 'git.example.net': here });
  relay = await startRelay({ dns, args: ['--listen', '0.0.0.0:8443'] });
  secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://${RELAY}:8443` });
  web = await startSite();
});

async function startSite(): Promise<number> {
  const server: Server = createServer((request, response) => {
    if (request.url === '/large') return void response.end(LARGE);
    if (request.url === '/Packages') return void response.end('Package: hello\nVersion: 1\nArchitecture: all\n\n');
    if (request.url?.startsWith('/page') === true) return void response.end('<title>t</title><p>carried');
    response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => [server.close(), server.closeAllConnections()]);
  return (server.address() as AddressInfo).port;
}

/** Routes, rules, devices and the name server of the machine; not what the kernel still adds for its own address. */
async function machineState(): Promise<string> {
  const commands = ['-4 rule', '-6 rule', '-4 route show table all', '-6 route show table all', '-o link'];
  const { stdout } = await run(
    'sh',
    ['-c', `${commands.map((each) => `ip ${each}`).join('; ')}; cat /etc/resolv.conf`],
    { within: uplink.there },
  );
  return stdout.replace(/^local fe80.*\n/gm, '');
}

async function startVpn(state: string, args: readonly string[] = []): Promise<WstunProcess> {
  const env = { WSTUN_INVITE: secret, XDG_STATE_HOME: state, PATH: PATH_WITH_TUN2PROXY };
  const process = new WstunProcess(['vpn', '--json', ...args], { env, within: uplink.there });
  await process.event('ready', 30_000);
  // Killed, it would leave its routes to the next test.
  atEnd(async () => {
    process.signal('SIGTERM');
    await process.exited;
  });
  return process;
}

const fetchPage = (path: string, ...args: string[]) =>
  run('curl', ['-sS', '--max-time', '20', `http://site.example.net:${web}${path}`, ...args], {
    within: uplink.there,
    limitMs: 25_000,
  });

describe.skipIf(!isTun2proxyHere)('wstun vpn', () => {
  it('carries curl, git, dig, apt and Chromium of a machine without names, and no packet goes past the relay', async () => {
    const before = await machineState();
    await uplink.watch([uplink.relayAddress, OTHER_ADDRESS]);
    const vpn = await startVpn(await tempDir());
    const page = await fetchPage('/page');
    expect(page.stdout, page.stderr + vpn.describe()).toBe('<title>t</title><p>carried');
    expect((await fetchPage('/page', '-6')).code).not.toBe(0);
    const asked = await runWell('dig', ['+short', '+time=2', 'site.example.net'], { within: uplink.there });
    expect(asked).toMatch(/^198\.18\.\d+\.\d+\n$/);
    const git = await startGitServer();
    const clone = join(await tempDir(), 'clone');
    await runWell('git', ['clone', '-q', `http://git.example.net:${git.port}/repo.git`, clone], {
      within: uplink.there,
    });
    const lists = await aptFolder();
    const apt = await run('apt-get', [...lists, 'update'], { within: uplink.there });
    expect(apt.stdout).toContain('Packages');
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', `--user-data-dir=${await tempDir()}`];
    const shown = await run('chromium', [...flags, '--dump-dom', `http://site.example.net:${web}/page`], {
      within: uplink.there,
      limitMs: 40_000,
    });
    expect(shown.stdout, shown.stderr).toContain('carried');
    expect(await uplink.strayed()).toEqual([]);
    vpn.signal('SIGTERM');
    expect(await vpn.exited).toBe(0);
    expect(await machineState()).toBe(before);
  });

  it.each([
    ['51.9.0.10', '32'],
    ['2600:51::10', '128'],
  ])('carries datagrams, and connections to the address %s', async (address, bits) => {
    await ip('address', 'add', `${address}/${bits}`, 'dev', 'lo', ...(bits === '128' ? ['nodad'] : []));
    const vpn = await startVpn(await tempDir());
    const ports = [await echoDatagrams(address), await echoDatagrams(address)];
    expect(await exchangeDatagrams(uplink.there, address, ports), vpn.describe()).toBe('2 ports, 28 answers\n');
    const server = createServer((_request, response) => response.end('literal')).listen(0, address);
    await once(server, 'listening');
    atEnd(() => server.close());
    const { port } = server.address() as AddressInfo;
    const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}/`;
    expect(await runWell('curl', ['-sS', '--max-time', '20', url], { within: uplink.there })).toBe('literal');
  });

  it('makes rules again that another program has deleted', async () => {
    const before = await machineState();
    const vpn = await startVpn(await tempDir());
    const during = await machineState();
    for (const family of ['-4', '-6']) await ip('-n', uplink.namespace, family, 'rule', 'delete', 'priority', '7804');
    await until(() => linesWith(vpn, 'they are there again').length > 0, 10_000);
    expect(await machineState()).toBe(during);
    vpn.signal('SIGTERM');
    expect(await vpn.exited).toBe(0);
    expect(await machineState()).toBe(before);
  });

  it('restores the routes and says why when tun2proxy ends', async () => {
    const before = await machineState();
    const vpn = await startVpn(await tempDir());
    const { stdout } = await run('pgrep', ['-P', String(vpn.pid)]);
    await runWell('kill', ['-KILL', ...stdout.split('\n').filter(Boolean)]);
    expect(await vpn.exited).toBe(69);
    expect(vpn.events.at(-1)).toMatchObject({ event: 'ended', code: 'WSTUN-E271' });
    expect(await machineState()).toBe(before);
  });

  it('says what is missing: tun2proxy, root, and that another one runs', async () => {
    const state = await tempDir();
    const start = (more: Readonly<Record<string, string>>, drop: readonly string[] = []) =>
      wstun(['vpn'], {
        env: { WSTUN_INVITE: secret, XDG_STATE_HOME: state, ...more },
        within: [...uplink.there, ...drop],
      });
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    expect((await start({ HOME: '/' }, nobody)).stderr).toMatch(/needs root.*sudo wstun vpn.*WSTUN-E196/s);
    await startVpn(state);
    expect((await start({ PATH: PATH_WITH_TUN2PROXY })).stderr).toMatch(/is running.*WSTUN-E198/s);
  });

  it('works on when the relay gets another address, and after it was killed the next one restores the routes', async () => {
    await uplink.setFile('hosts', '127.0.0.1 localhost\n');
    await uplink.addAddress(NAME_SERVER);
    const dns = await startDnsServer(
      { [RELAY]: { addresses: [uplink.relayAddress] } },
      { host: NAME_SERVER, port: 53 },
    );
    atEnd(() => dns.close());
    const before = await machineState();
    const state = await tempDir();
    const vpn = await startVpn(state);
    expect((await fetchPage('/page')).stdout).toContain('carried');
    dns.zone.set(RELAY, { addresses: [OTHER_ADDRESS] });
    await uplink.removeRelayAddress();
    // Else it takes half a minute until the client believes that the link is dead.
    await runWell('ss', ['-K', 'dport', '=', '8443'], { within: uplink.there });
    await vpn.event('resumed', 30_000);
    expect((await fetchPage('/page')).stdout, vpn.describe()).toContain('carried');
    // Nothing else was asked around the tunnel.
    expect(new Set(dns.questions)).toEqual(new Set([`A ${RELAY}`, `AAAA ${RELAY}`]));
    await vpn.kill();
    expect(await machineState()).not.toBe(before);
    const next = await startVpn(state);
    expect((await fetchPage('/page')).stdout, next.describe()).toContain('carried');
    await next.kill();
    const restored = await wstun(['vpn', '--restore'], { env: { XDG_STATE_HOME: state }, within: uplink.there });
    expect(restored).toMatchObject({ code: 0, stdout: 'The routes are as they were before wstun vpn.\n' });
    expect(await machineState()).toBe(before);
  });
});

/** A machine's packages from one source, and nothing of this machine's. */
async function aptFolder(): Promise<readonly string[]> {
  const folder = await tempDir();
  for (const name of ['lists/partial', 'cache/archives/partial']) await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, 'sources.list'), `deb [trusted=yes] http://site.example.net:${web}/ ./\n`);
  await writeFile(join(folder, 'status'), '');
  return Object.entries({
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': '-',
    'Dir::State': folder,
    'Dir::State::Lists': join(folder, 'lists'),
    'Dir::State::Status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
