/**
 * Networks that let no WebSocket through, or no more: clients and exits find the way that is left, say so, remember it,
 * and lose no stream when the way changes.
 * @module-tag waits
 */
import { readFile, stat, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { startUpgradeBox } from '../support/net/upgrade-box.ts';
import { payload } from '../support/payload.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { startSquid } from '../support/programs/squid.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import {
  type ClientOptions,
  invite,
  type RunningClient,
  type RunningRelay,
  spawnClient,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough, take } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

/** How long a stream may stand still when the route changes. */
const CHANGE_LIMIT_MS = 5_000;

async function clientAt(relay: RunningRelay, port: number, options: ClientOptions = {}): Promise<RunningClient> {
  const secret = await invite(relay, `laptop-${port}`, { allow: ['*'], url: `ws://127.0.0.1:${port}` });
  return await startClient(secret, options);
}

const routesOf = (process: WstunProcess) => process.events.filter(({ event }) => event === 'route');

/** nginx as `proxy_pass` alone configures it: HTTP/1.0, and no upgrade. */
async function strippingFront(relay: RunningRelay): Promise<number> {
  return (await startNginx(`location / { proxy_pass http://127.0.0.1:${relay.port}; }`)).port;
}

/** Whole and unchanged, through an echo server. */
async function roundTrip(socket: Socket): Promise<void> {
  const sent = payload(50_000);
  socket.write(sent);
  expect((await take(socket, sent.length)).equals(sent)).toBe(true);
}

interface Run {
  readonly relay: RunningRelay;
  readonly client: RunningClient;
  /** Of an echo server that the exit may dial. */
  readonly target: number;
}

async function expectEcho({ client, target }: Omit<Run, 'relay'>): Promise<void> {
  const socket = await connectThrough('SOCKS5', client.port, target);
  await roundTrip(socket);
  socket.destroy();
}

describe('a client in a network that lets no WebSocket through', () => {
  it('goes by HTTP link where nginx strips the upgrade, says why, and begins with it the next time', async () => {
    const relay = await startRelay();
    const [front, target] = [await strippingFront(relay), await tcpServer(echo)];
    const state = await tempDir();
    const secret = await invite(relay, 'laptop', { allow: ['*'], url: `ws://127.0.0.1:${front}` });
    const first = await startClient(secret, { env: { XDG_STATE_HOME: state } });
    await expectEcho({ client: first, target });
    expect(routesOf(first.process)).toEqual([
      {
        event: 'route',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        relay: `ws://127.0.0.1:${front}`,
        carrier: 'http',
        proxy: null,
        failed: [expect.objectContaining({ carrier: 'websocket', proxy: null, code: 'WSTUN-E219' })],
        unfinished: [],
      },
    ]);
    await first.process.signal('SIGTERM');
    await first.process.exited;
    const file = join(state, 'wstun', 'client', 'networks.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).not.toMatch(/127\.0\.0\.1:|ws:|http/);

    const second = await startClient(secret, { env: { XDG_STATE_HOME: state } });
    await expectEcho({ client: second, target });
    expect(routesOf(second.process)).toEqual([expect.objectContaining({ carrier: 'http', failed: [] })]);
  });

  it('keeps its streams where upgrades are stripped or swallowed all at once, and takes up its work in 5 s', async () => {
    const relay = await startRelay();
    const box = await startUpgradeBox(relay.port, 'passes', await strippingFront(relay));
    const client = await clientAt(relay, box.port);
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    await roundTrip(socket);
    for (const mode of ['goes-to-front', 'passes', 'swallows'] as const) {
      box.switchTo(mode);
      // By HTTP link nothing is lost where upgrades pass again.
      if (mode === 'passes') client.process.signal('SIGHUP');
      const since = performance.now();
      await roundTrip(socket);
      expect(performance.now() - since, mode).toBeLessThan(CHANGE_LIMIT_MS);
    }
    expect(routesOf(client.process).map(({ carrier }) => carrier)[0]).toBe('http');
    expect(client.process.events.filter(({ event }) => event === 'session-lost')).toEqual([]);
    socket.destroy();
  });

  it('that demands --transport websocket fails with what is in the way', async () => {
    const relay = await startRelay();
    const front = await strippingFront(relay);
    const secret = await invite(relay, 'laptop', { url: `ws://127.0.0.1:${front}` });
    const client = spawnClient(secret, { args: ['--transport', 'websocket', '--once'] });
    expect(await client.exited).toBe(69);
    expect(client.stderr).toContain('WSTUN-E219');
  });
});

describe('a client behind a proxy and a box that strips upgrades', () => {
  it('goes through the proxy by HTTP link, and its streams outlive a changed password', async () => {
    const relay = await startRelay();
    const front = await strippingFront(relay);
    const squid = await startSquid({ schemes: ['basic'], users: { alice: 'one' } });
    const file = join(await tempDir(), 'auth');
    await writeFile(file, 'alice:one\n', { mode: 0o600 });
    const proxy = `http://127.0.0.1:${squid.port}`;
    const client = await clientAt(relay, front, { args: ['--proxy', proxy, '--proxy-auth-file', file] });
    expect(routesOf(client.process)[0]).toMatchObject({
      carrier: 'http',
      proxy,
      failed: [{ code: 'WSTUN-E219', proxy }],
    });
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    await roundTrip(socket);
    await squid.setUsers({ alice: 'two' });
    await writeFile(file, 'alice:two\n', { mode: 0o600 });
    client.process.signal('SIGHUP');
    const since = performance.now();
    await roundTrip(socket);
    expect(performance.now() - since).toBeLessThan(CHANGE_LIMIT_MS);
    socket.destroy();
  });
});

describe('a named exit in a network that lets no WebSocket through', () => {
  it('registers by HTTP link, and serves clients', async () => {
    const relay = await startRelay({ args: ['--no-exit'] });
    const front = await strippingFront(relay);
    const registration = await invite(relay, 'home', { role: 'exit', url: `ws://127.0.0.1:${front}` });
    const exit = await startExit({ invite: registration });
    expect(routesOf(exit.process)).toEqual([expect.objectContaining({ carrier: 'http' })]);
    const secret = await invite(exit, 'laptop', { allow: ['*'] });
    await until(() => exit.process.stderr.includes('access list reloaded'));
    const client = await startClient(secret);
    await expectEcho({ client, target: await tcpServer(echo) });
  });
});
