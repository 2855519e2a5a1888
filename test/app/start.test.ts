/** Relay, named exit and client in this process, over real sockets, as a program starts them. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ServingState } from '../../src/app/serving-state.ts';
import { Tether } from '../../src/app/tether.ts';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import {
  type Client,
  type ClientOptions,
  type Exit,
  type ExitOptions,
  type PeerOptions,
  type Relay,
  type RelayOptions,
  startClient,
  startExit,
  startRelay,
  WstunError,
} from '../../src/index.ts';
import { faultOfPromise } from '../support/faults.ts';
import { closedPort } from '../support/net/tcp.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

// It is built; the tests of e2e/ use it.
vi.mock('../../src/tether/laptop/page-file.ts', () => ({ readPage: () => Buffer.from('page') }));

const LOOPBACK = { host: '127.0.0.1', port: 0 };

async function relayFor(options: Partial<RelayOptions> = {}): Promise<Relay> {
  const state = join(await tempDir(), 'relay');
  const relay = await startRelay({ state, listen: [LOOPBACK], ...options });
  onTestFinished(() => relay.close(0));
  return relay;
}

async function clientFor(invite: string, options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = await startClient({ invite, listen: LOOPBACK, ...options });
  onTestFinished(() => client.close(0));
  return client;
}

async function exitFor(invite: string, options: Partial<ExitOptions> = {}): Promise<Exit> {
  const exit = await startExit({ state: join(await tempDir(), 'exit'), invite, ...options });
  onTestFinished(() => exit.close(0));
  return exit;
}

/** A page, its port, and how it is fetched through a client. `/slow` is answered when `answer` is called. */
async function page() {
  const held: (() => void)[] = [];
  const server = createServer(({ url }, response) => {
    if (url === '/slow') held.push(() => response.end('late'));
    else response.end('here');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => server.closeAllConnections());
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const fetchBy = async ({ listen }: Client, path = '/'): Promise<string> => {
    const request = get({ ...listen, path: `http://127.0.0.1:${port}${path}`, agent: false });
    const [answer] = await once(request, 'response');
    let text = `${answer.statusCode} `;
    for await (const chunk of answer) text += String(chunk);
    return text;
  };
  return { allow: [`127.0.0.1:${port}`], fetchBy, held };
}

describe('a relay', () => {
  it('a relay that invites a client accepts it at once, and ends its sessions when it is removed', async () => {
    const relay = await relayFor();
    expect(relay).toMatchObject({
      urlSource: 'guessed',
      admin: undefined,
      firstInvite: expect.stringMatching(/^wstun1_/),
    });
    const { allow, fetchBy } = await page();
    const lost: string[] = [];
    const client = await clientFor(await relay.invite('alice', { allow }), {
      events: { onSessionLost: (error) => lost.push(error.fault) },
    });
    expect(await fetchBy(client)).toBe('200 here');
    await relay.remove('alice');
    await until(() => lost.length === 1);
    expect(lost).toEqual(['access-removed']);
  });

  it('a relay that cannot listen leaves nothing open: its directory and port can be used at once', async () => {
    const taken = await relayFor();
    const port = Number(taken.listen[0]?.split(':')[1]);
    const state = join(await tempDir(), 'second');
    const listen = [LOOPBACK, { host: '127.0.0.1', port }];
    expect(await faultOfPromise(startRelay({ state, listen }))).toBe('cannot-listen');
    await taken.close();
    expect((await relayFor({ state, listen: [{ host: '127.0.0.1', port }] })).listen).toEqual([`127.0.0.1:${port}`]);
  });

  it('a relay whose used tickets cannot be opened closes the files that it has opened', async () => {
    const closed = vi.spyOn(ServingState.prototype, 'close');
    onTestFinished(() => closed.mockRestore());
    const state = await tempDir();
    await writeFile(join(state, 'used-tickets'), '');
    expect(await faultOfPromise(startRelay({ state, listen: [LOOPBACK] }))).toBe('state-unusable');
    expect(closed).toHaveBeenCalledOnce();
  });

  it('a relay waits for streams that are open when it closes, and a second call ends them', async () => {
    const relay = await relayFor();
    const { allow, fetchBy, held } = await page();
    const client = await clientFor(await relay.invite('alice', { allow }));
    const [first, second] = [fetchBy(client, '/slow'), fetchBy(client, '/slow')];
    await until(() => held.length === 2);
    let closed = false;
    const closing = relay.close().then(() => {
      closed = true;
    });
    for (const answer of held.splice(0, 1)) answer();
    expect(await first).toBe('200 late');
    expect(closed).toBe(false);
    await relay.close(0);
    await closing;
    expect(await second).toMatch(/^502 .*WSTUN-E435/);
  });

  it.each<[string, Partial<RelayOptions>]>([
    ['a resume window of more than a day', { resumeWindowMs: 86_400_001 }],
    ['a resume window that is no whole number', { resumeWindowMs: 1.5 }],
    ['too many pending connections', { maxPendingPerAddress: 1_000_001 }],
    ['a path with a space', { path: '/a b' }],
    ['a public address that is a name', { publicAddresses: ['relay.example.org'] }],
    ['a host whose address is none', { hosts: { 'page.internal': 'localhost' } }],
  ])('a relay rejects %s as an option (WSTUN-E101)', async (_, options) => {
    const error = await relayFor(options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WstunError);
    expect(error).toMatchObject({ fault: 'bad-option', code: 'WSTUN-E101' });
  });
});

describe('an option of a wrong type', () => {
  const invalid = (options: unknown) => options as RelayOptions & ClientOptions & ExitOptions;

  it.each([undefined, null, {}, { state: 5, listen: [LOOPBACK] }, { listen: [LOOPBACK] }, { state: 'unused' }])(
    'a relay rejects the options %j (WSTUN-E101)',
    async (options) => {
      expect(await faultOfPromise(startRelay(invalid(options)))).toBe('bad-option');
    },
  );

  it.each<[object]>([
    [{ listen: [] }],
    [{ listen: [{ port: 0 }] }],
    [{ listen: [{ host: '', port: 0 }] }],
    [{ listen: [{ host: '127.0.0.1', port: '0' }] }],
    [{ listen: LOOPBACK }],
    [{ tls: { certFile: 'cert.pem' } }],
    [{ admin: 9090 }],
    [{ url: 5 }],
    [{ ownUrl: 5 }],
    [{ ownUrl: Array.from({ length: 17 }, (_, i) => `wss://relay${i}.example`) }],
    [{ dns: '192.0.2.1' }],
    [{ hosts: { wiki: 5 } }],
    [{ exit: 'no' }],
    [{ logger: {} }],
  ])('a relay rejects the option %j (WSTUN-E101)', async (option) => {
    expect(await faultOfPromise(relayFor(option))).toBe('bad-option');
  });

  it('a client without an invite is rejected, and so is an exit without a state directory', async () => {
    for (const options of [undefined, null, {}])
      expect(await faultOfPromise(startClient(invalid(options)))).toBe('invite-missing');
    for (const options of [undefined, {}]) expect(await faultOfPromise(startExit(invalid(options)))).toBe('bad-option');
  });

  it.each<[object]>([
    [{ invite: 5 }],
    [{ listen: [LOOPBACK] }],
    [{ listen: { port: 0 } }],
    [{ credentials: 'ann:pass' }],
    [{ allowLan: 'false' }],
    [{ tether: false }],
    [{ once: 1 }],
    [{ events: () => {} }],
  ])('a client rejects the option %j (WSTUN-E101)', async (option) => {
    expect(await faultOfPromise(clientFor('wstun1_', option))).toBe('bad-option');
  });

  it.each<[object | null]>([
    [null],
    [{ role: 'bogus' }],
    [{ allow: '*' }],
    [{ limits: { sessions: 0 } }],
    [{ limits: { rate: 5 } }],
    [{ limits: { rate: 8_001 } }],
    [{ limits: { rate: '20mbit' } }],
    [{ limits: { quota: 999 } }],
    [{ limits: { quota: Number.NaN } }],
    [{ limits: { session: 2 } }],
  ])('a relay adds no peer with the options %j (WSTUN-E101)', async (options) => {
    const relay = await relayFor();
    expect(await faultOfPromise(relay.invite('alice', options as PeerOptions))).toBe('bad-option');
    await relay.invite('alice', { limits: { sessions: 2, rate: 8_000, quota: 1_024 } });
  });

  it('a relay adds no peer whose name is a number', async () => {
    const relay = await relayFor();
    expect(await faultOfPromise(relay.invite(5 as unknown as string))).toBe('bad-name');
    expect(await faultOfPromise(relay.remove(5 as unknown as string))).toBe('name-unknown');
  });
});

describe('a client', () => {
  it('a client looks for another address when its tether has started, as the network may have changed', async () => {
    const { firstInvite = '' } = await relayFor();
    const calls: string[] = [];
    const start = vi.spyOn(Tether.prototype, 'start').mockImplementation(async () => void calls.push('start'));
    const look = vi.spyOn(Tether.prototype, 'look').mockImplementation(() => void calls.push('look'));
    onTestFinished(() => start.mockRestore());
    onTestFinished(() => look.mockRestore());
    await clientFor(firstInvite, { tether: LOOPBACK });
    expect(calls.slice(0, 2)).toEqual(['start', 'look']);
  });

  it('a client rejects an invite for an exit, and a proxy that is open to the network', async () => {
    const relay = await relayFor();
    expect(await faultOfPromise(clientFor(await relay.invite('home', { role: 'exit' })))).toBe('invite-for-exit');
    const open = clientFor(relay.firstInvite ?? '', { listen: { host: '0.0.0.0', port: 0 } });
    expect(await faultOfPromise(open)).toBe('open-to-network');
    expect(await faultOfPromise(clientFor('wstun1_'))).toMatch(/^invite-/);
  });

  it('a client rejects a name server that is open to the network, also later, and forwards that it cannot read', async () => {
    const { firstInvite = '' } = await relayFor();
    const open = { dnsListen: { host: '0.0.0.0', port: 0 } };
    const credentials = { user: 'ann', pass: 'secret' };
    expect(await faultOfPromise(clientFor(firstInvite, { ...open, credentials }))).toBe('open-to-network');
    for (const remoteForwards of [['8080'], Array.from({ length: 33 }, (_, at) => `${at + 1}:localhost:80`)])
      expect(await faultOfPromise(clientFor(firstInvite, { remoteForwards }))).toBe('bad-option');
    const listening: unknown[] = [];
    const events = { onDnsListening: (listen: unknown) => listening.push(listen) };
    const client = await clientFor(firstInvite, { ...open, allowLan: true, events });
    expect(listening).toEqual([{ host: '0.0.0.0', port: expect.any(Number) }]);
    expect(await faultOfPromise(client.update({}))).toBe('open-to-network');
    expect(await faultOfPromise(client.update({ allowLan: true }))).toBeUndefined();
  });

  it.each(['On', 'ON', '', 'none', true, null])(
    'a client rejects %j as encryption (WSTUN-E101)',
    async (encryption) => {
      const { firstInvite = '' } = await relayFor();
      const wrong = clientFor(firstInvite, { encryption } as unknown as ClientOptions);
      expect(await faultOfPromise(wrong)).toBe('bad-option');
    },
  );

  it.each([
    { user: '', pass: '' },
    { user: 'ann', pass: '' },
    { user: 'a:b', pass: 'c' },
    { user: 'ann', pass: 'p'.repeat(256) },
    { user: 'ann' },
    { user: 1, pass: 2 },
  ])(
    'a client rejects the credentials %j, also where they would open its proxy to the network',
    async (credentials) => {
      const { firstInvite = '' } = await relayFor();
      const options = { listen: { host: '0.0.0.0', port: 0 }, credentials } as ClientOptions;
      expect(await faultOfPromise(clientFor(firstInvite, options))).toBe('bad-credentials');
    },
  );

  it('a relay with `ownUrl` opens tickets for the URL that it has guessed, and none for others', async () => {
    const relay = await relayFor({ ownUrl: 'wss://relay.example' });
    const { allow, fetchBy } = await page();
    const invite = await relay.invite('alice', { allow });
    expect(await fetchBy(await clientFor(invite))).toBe('200 here');
    const { port } = new URL(relay.url);
    const elsewhere = encodeInvite({ ...decodeInvite(invite), relayUrls: [`ws://localhost:${port}`] });
    const client = await clientFor(elsewhere, { once: true });
    expect(await faultOfPromise(client.ended)).toBe('relay-refused');
    expect(relay.status().refusals).toMatchObject({ misdirected: expect.any(Number) });
  });

  it('a client with `once` ends with the reason, and a program that does not ask for it goes on', async () => {
    const { firstInvite = '' } = await relayFor({ url: `ws://127.0.0.1:${await closedPort()}` });
    const client = await clientFor(firstInvite, { once: true });
    // An unhandled rejection would fail the test run.
    await until(() => inspect(client.ended).includes('rejected'));
    expect(await faultOfPromise(client.ended)).toBe('relay-unreachable');
    await client.close();
  });

  it('the status of a client says where it is connected, how, and what it has carried', async () => {
    const { allow, fetchBy, held } = await page();
    const relay = await relayFor();
    const client = await clientFor(await relay.invite('alice', { allow }));
    const fetched = fetchBy(client, '/slow');
    await until(() => held.length === 1);
    const status = client.status();
    expect(status).toMatchObject({
      ...{ role: 'client', pid: process.pid, state: 'connected', links: 1, streamCount: 1, resumes: 0, streamsLost: 0 },
      listen: `127.0.0.1:${client.listen.port}`,
      relay: relay.listen[0],
      exit: 'relay',
      route: { carrier: 'websocket' },
      streams: [{ target: allow[0], received: 0 }],
      traffic: { received: 0, sentPerSecond: 0, receivedPerSecond: 0 },
    });
    expect(status.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(status.outage).toBeUndefined();
    expect(status.startedAt).toBeLessThanOrEqual(status.since);
    held[0]?.();
    await fetched;
    const { traffic } = client.status();
    expect(traffic.received).toBeGreaterThan('200 late'.length);
    expect(traffic.receivedPerSecond).toBeGreaterThan(0);
  });

  it('the status of a client says what leads where beside the proxy, and why a port at the exit is not open', async () => {
    const relay = await relayFor();
    const client = await clientFor(await relay.invite('alice', { listen: ['127.0.0.1:1024-65535'] }), {
      dnsListen: LOOPBACK,
      forwards: ['0:intra.example:80', '0:[2001:db8::1]:53/udp'],
      remoteForwards: ['0:[::1]:80', '[::1]:1:socks'],
    });
    await until(() => client.status().remoteForwards?.every(({ state }) => state !== 'opening') === true);
    expect(client.status()).toMatchObject({
      nameServer: expect.stringMatching(/^127\.0\.0\.1:[1-9]/),
      forwards: [
        { forward: '0:intra.example:80', protocol: 'tcp', to: 'intra.example:80' },
        { forward: '0:[2001:db8::1]:53/udp', protocol: 'udp', to: '[2001:db8::1]:53' },
      ],
      remoteForwards: [
        { ...{ forward: '127.0.0.1:0:[::1]:80', to: '[::1]:80' }, state: 'listening' },
        { ...{ forward: '[::1]:1:socks', to: 'socks' }, state: 'refused', fault: { code: 'WSTUN-E315' } },
      ],
      associations: 0,
    });
    expect(client.status().remoteForwards?.[0]?.bound).toMatch(/^127\.0\.0\.1:[1-9]/);
    for (const { listen } of client.status().forwards ?? []) expect(listen).toMatch(/^127\.0\.0\.1:[1-9]/);
    const without = (await clientFor(await relay.invite('bob'))).status();
    expect(without).not.toHaveProperty('forwards');
    expect(without).not.toHaveProperty('remoteForwards');
    expect(without).not.toHaveProperty('nameServer');
  });

  it('a relay and an exit say who is on, which exits are registered, and what was refused', async () => {
    const { allow, fetchBy, held } = await page();
    const relay = await relayFor();
    const exit = await exitFor(await relay.invite('home', { role: 'exit' }));
    await until(() => exit.status().relay?.registeredAt !== undefined);
    const own = await clientFor(await relay.invite('alice', { allow }));
    const behind = await clientFor(await exit.invite('bob', { allow }));
    const fetched = [fetchBy(own, '/slow'), fetchBy(behind, '/slow')];
    await until(() => held.length === 2);
    const address = '127.0.0.1';
    expect(relay.status()).toMatchObject({
      ...{ role: 'relay', pid: process.pid, listen: relay.listen, peerCount: 2 },
      exits: [{ name: 'home', since: expect.any(Number) }],
      peers: expect.arrayContaining([
        expect.objectContaining({ name: 'alice', address, links: 1, streams: 1 }),
        expect.objectContaining({ exit: 'home', address, links: 1 }),
      ]),
    });
    const forwarded = relay.status().peers.find((peer) => peer.exit === 'home');
    expect(forwarded?.streams).toBeUndefined();
    expect(forwarded?.traffic.sent).toBeGreaterThan(0);
    expect(forwarded?.traffic.received).toBeGreaterThan(0);
    expect(exit.status()).toMatchObject({
      ...{ role: 'exit', peerCount: 1, exits: [], refusals: {} },
      relay: { address: relay.listen[0] },
      peers: [{ name: 'bob', links: 1, streams: 1 }],
    });
    expect(exit.status().peers[0]?.address).toBeUndefined();
    for (const answer of held) answer();
    await Promise.all(fetched);
    await own.close(0);
    await until(() => relay.status().peerCount === 1);
    // No rule allows it.
    await get({ ...behind.listen, path: 'http://127.0.0.1:1/', agent: false }).on('error', () => {});
    await until(() => exit.status().refusals['dial-not-allowed'] === 1);
    await get(`http://${relay.listen[0]}/`).on('error', () => {});
    await until(() => relay.status().refusals['no-ticket'] === 1);
    await relay.close(0);
    await until(() => exit.status().relay?.fault !== undefined);
    expect(exit.status().relay?.registeredAt).toBeUndefined();
  });

  it('the promise `ended` of a client resolves when it is closed', async () => {
    const relay = await relayFor();
    const client = await clientFor(relay.firstInvite ?? '');
    await client.close();
    await client.ended;
  });
});

describe('options of a client that have no effect', () => {
  it.each<[string, Partial<ClientOptions>]>([
    ['no browser', { browserArgs: ['--x'] }],
    ['a tab', { browserArgs: ['--x'], viaBrowser: 'open' }],
    ['a proxy', { viaBrowser: true, proxy: 'http://127.0.0.1:1' }],
    ['credentials for a proxy', { viaBrowser: true, proxyAuthFile: '/none' }],
    ['a carrier', { viaBrowser: true, transport: 'http' }],
  ])('are rejected: with %s', async (_name, options) => {
    const relay = await relayFor();
    expect(await faultOfPromise(clientFor(relay.firstInvite ?? '', options))).toBe('bad-option');
  });
});

describe('a named exit', () => {
  it('a client and an exit show no invite or password when they are inspected', async () => {
    const relay = await relayFor();
    const invites = [relay.firstInvite ?? '', await relay.invite('home', { role: 'exit' })] as const;
    const reaching = {
      proxy: 'http://ann:not-to-be-shown@127.0.0.1:1',
      headers: { Cookie: 'not-to-be-shown' },
      userAgent: 'shown',
    };
    const credentials = { user: 'ann', pass: 'not-to-be-shown' };
    const client = await clientFor(invites[0], { credentials, ...reaching });
    const exit = await exitFor(invites[1], { via: 'socks5://ann:not-to-be-shown@127.0.0.1:1', ...reaching });
    const shown = inspect([client, exit], { depth: 8, maxArrayLength: 50 });
    expect(shown).not.toContain('wstun1_');
    expect(shown).not.toContain('not-to-be-shown');
  });

  it('a client of an exit gets its page through the relay, and the exit remembers its invite', async () => {
    const relay = await relayFor({ exit: false });
    const { allow, fetchBy } = await page();
    const registered: boolean[] = [];
    const events = { onRegistered: ({ first }: { first: boolean }) => void registered.push(first) };
    const exit = await exitFor(await relay.invite('home', { role: 'exit' }), { events });
    expect(exit.name).toBe('home');
    await until(() => registered.length === 1);
    const client = await clientFor(await exit.invite('alice', { allow }));
    expect(await fetchBy(client)).toBe('200 here');
    await exit.close();
    const again = await startExit({ state: exit.state, events });
    onTestFinished(() => again.close(0));
    await until(() => registered.length === 2);
    expect(registered).toEqual([true, true]);
    expect(await fetchBy(client)).toBe('200 here');
  });

  it('an exit does not start twice with one directory, nor without an invite, nor with a relay’s directory', async () => {
    const relay = await relayFor();
    const exit = await exitFor(await relay.invite('home', { role: 'exit' }));
    expect(await faultOfPromise(startExit({ state: exit.state }))).toBe('exit-running');
    expect(await faultOfPromise(startExit({ state: join(await tempDir(), 'empty') }))).toBe('invite-missing');
    expect(await faultOfPromise(startExit({ state: relay.state }))).toBe('state-unusable');
    expect(await faultOfPromise(exitFor(relay.firstInvite ?? ''))).toBe('invite-for-client');
    await exit.close();
    await (await startExit({ state: exit.state })).close(0);
  });
});
