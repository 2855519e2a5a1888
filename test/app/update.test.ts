/** What a running client, exit and relay change on request, over real sockets in this process. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, get } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type Client,
  type ClientOptions,
  type Relay,
  type RelayOptions,
  startClient,
  startExit,
  startRelay,
} from '../../src/index.ts';
import { faultOfPromise } from '../support/faults.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const NAME = 'page.internal';
/** For what takes a moment on a quiet machine. */
const LIMIT_MS = 20_000;

async function relayFor(options: Partial<RelayOptions> = {}): Promise<Relay> {
  const relay = await startRelay({ state: join(await tempDir(), 'relay'), listen: [LOOPBACK], ...options });
  onTestFinished(() => relay.close(0));
  return relay;
}

async function clientFor(invite: string, options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = await startClient({ invite, listen: LOOPBACK, ...options });
  onTestFinished(() => client.close(0));
  return client;
}

/** A page, and how it is fetched through a client. */
async function page() {
  const server = createServer((_request, response) => response.end('here'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => server.closeAllConnections());
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const fetchBy = async ({ listen }: Client, host = '127.0.0.1', headers = {}): Promise<number | undefined> => {
    const at = { host: '127.0.0.1', port: listen.port };
    const request = get({ ...at, path: `http://${host}:${port}/`, agent: false, headers });
    const [answer] = await once(request, 'response');
    answer.resume();
    return answer.statusCode;
  };
  return { allow: [`127.0.0.1:${port}`, `${NAME}:${port}`], fetchBy };
}

/** A proxy on the way to a relay, and the credentials that it was sent. */
async function proxy() {
  const seen: string[] = [];
  const streams = new Set<Duplex>();
  const server = createServer().on('connect', (request, socket) => {
    const [, given] = request.headers['proxy-authorization']?.split(' ') ?? [];
    if (given === undefined)
      return void socket.end('HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n');
    seen.push(Buffer.from(given, 'base64').toString());
    const to = connect(Number(request.url?.replace(/^.*:/, '')), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      to.pipe(socket).pipe(to);
    });
    for (const each of [socket, to]) streams.add(each.on('error', () => {}));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.close();
    for (const each of streams) each.destroy();
  });
  return { url: (user: string) => `http://${user}@127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

describe('a client that is updated', { timeout: 180_000 }, () => {
  it('goes through another proxy, with other credentials, from the next link on', async () => {
    const { allow, fetchBy } = await page();
    const { url, seen } = await proxy();
    const client = await clientFor(await (await relayFor()).invite('alice', { allow }), { proxy: 'none' });
    expect(await fetchBy(client)).toBe(200);
    await client.update({ proxy: url('me:one') });
    expect(seen).toEqual([]);
    client.reconnect();
    await until(() => seen.includes('me:one'), LIMIT_MS);
    await client.update({ proxy: url('me:two') });
    client.reconnect();
    await until(() => seen.includes('me:two'), LIMIT_MS);
    expect(await fetchBy(client)).toBe(200);
  });

  it('asks programs for other credentials, or for none', async () => {
    const { allow, fetchBy } = await page();
    const client = await clientFor(await (await relayFor()).invite('alice', { allow }));
    const basic = (text: string) => ({ 'Proxy-Authorization': `Basic ${Buffer.from(text).toString('base64')}` });
    await client.update({ credentials: { user: 'me', pass: 'secret' } });
    expect(await fetchBy(client)).toBe(407);
    expect(await fetchBy(client, undefined, basic('me:secret'))).toBe(200);
    await client.update({});
    expect(await fetchBy(client)).toBe(200);
  });

  it('changes nothing if one option is wrong', async () => {
    const { allow, fetchBy } = await page();
    const client = await clientFor(await (await relayFor()).invite('alice', { allow }));
    const credentials = { user: 'me', pass: 'secret' };
    const wrong = [
      ['bad-proxy', { proxy: 'ftp://x' }],
      ['proxy-file-unusable', { proxyAuthFile: '/missing' }],
      ['bad-option', { tlsCa: ['/missing'] }],
      ['bad-option', { source: '127.0.0.1', family: 6 as const }],
    ] as const;
    for (const [fault, options] of wrong) {
      expect(await faultOfPromise(client.update({ credentials, ...options }))).toBe(fault);
      expect(await fetchBy(client)).toBe(200);
    }
  });

  it('does not open its proxy to other machines by an update', async () => {
    const { allow, fetchBy } = await page();
    const credentials = { user: 'me', pass: 'secret' };
    const listen = { host: '0.0.0.0', port: 0 };
    const client = await clientFor(await (await relayFor()).invite('alice', { allow }), { listen, credentials });
    expect(await faultOfPromise(client.update({}))).toBe('open-to-network');
    expect(await fetchBy(client)).toBe(407);
    await client.update({ allowLan: true });
    expect(await fetchBy(client)).toBe(200);
  });
});

describe('a relay that is updated', { timeout: 180_000 }, () => {
  it('finds and dials targets in another way from the next stream on', async () => {
    const { allow, fetchBy } = await page();
    const relay = await relayFor();
    const client = await clientFor(await relay.invite('alice', { allow }));
    expect(await fetchBy(client, NAME)).not.toBe(200);
    await relay.update({ hosts: { [NAME]: '127.0.0.1' } });
    expect(await fetchBy(client, NAME)).toBe(200);
    const { url, seen } = await proxy();
    await relay.update({ hosts: { [NAME]: '127.0.0.1' }, via: url('me:via') });
    expect(await fetchBy(client, NAME)).toBe(200);
    expect(seen).toEqual(['me:via']);
    expect(await faultOfPromise(relay.update({ via: 'https://x' }))).toBe('bad-proxy');
    expect(await fetchBy(client, NAME)).toBe(200);
    expect(seen).toEqual(['me:via', 'me:via']);
  });

  it('shows another decoy of the same kind, and no other', async () => {
    const [one, other] = [await tempDir(), await tempDir()];
    for (const directory of [one, other]) await writeFile(join(directory, 'index.html'), directory);
    const relay = await relayFor({ decoy: one });
    const shown = async () => (await fetch(`http://${relay.listen[0]}/`)).text();
    expect(await shown()).toBe(one);
    await relay.update({ decoy: other });
    expect(await shown()).toBe(other);
    for (const options of [{ decoy: 'http://127.0.0.1:81' }, {}, { decoy: '/missing' }])
      expect(await faultOfPromise(relay.update(options))).toBe('bad-option');
    expect(await shown()).toBe(other);
  });

  it('cannot lose the proxies that its PROXY protocol needs', async () => {
    const relay = await relayFor({ trustProxy: ['loopback'], proxyProtocol: true });
    await relay.update({ trustProxy: ['10.0.0.0/8'] });
    // Nobody here is trusted any more: a connection without a header is a visitor's.
    expect((await fetch(`http://${relay.listen[0]}/`)).status).toBe(404);
    expect(await faultOfPromise(relay.update({}))).toBe('bad-option');
    expect(await faultOfPromise(relay.update({ trustProxy: ['10.0.0.0/99'] }))).toBe('bad-option');
  });
});

describe('an exit that is updated', { timeout: 180_000 }, () => {
  it('finds targets, and reaches its relay, in another way', async () => {
    const { allow, fetchBy } = await page();
    const relay = await relayFor({ exit: false });
    const state = join(await tempDir(), 'exit');
    let registered = 0;
    const events = {
      onRegistered: () => {
        registered += 1;
      },
    };
    const exit = await startExit({
      state,
      invite: await relay.invite('home', { role: 'exit' }),
      events,
      proxy: 'none',
    });
    onTestFinished(() => exit.close(0));
    await until(() => registered === 1, LIMIT_MS);
    const client = await clientFor(await exit.invite('alice', { allow }));
    const { url, seen } = await proxy();
    await exit.update({ hosts: { [NAME]: '127.0.0.1' }, proxy: url('me:exit'), resumeWindowMs: 5000 });
    exit.reconnect();
    await until(() => seen.includes('me:exit'), LIMIT_MS);
    expect(await fetchBy(client, NAME)).toBe(200);
    expect(await faultOfPromise(exit.update({ proxy: 'ftp://x', hosts: {} }))).toBe('bad-proxy');
    expect(await fetchBy(client, NAME)).toBe(200);
  });
});
