/**
 * Web servers in front of a relay that damage requests, by default or because a line of their configuration is missing:
 * the relay's log and its clients say what is wrong, and strangers see the same answer as ever.
 */
import { describe, expect, it } from 'vitest';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { startApache } from '../support/programs/apache.ts';
import { startHaproxy } from '../support/programs/haproxy.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { freePort, runWell } from '../support/programs/programs.ts';
import { invite, spawnClient, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';

interface Front {
  readonly name: string;
  /** Returns the port and the path of the front. */
  readonly start: (relay: number) => Promise<{ readonly port: number; readonly path?: string }>;
  readonly relayArgs?: readonly string[];
  readonly code: string;
  /** In the relay's log, at warn. */
  readonly log: RegExp;
}

const nginx =
  (locations: (relay: number) => string, path = '') =>
  async (relay: number) => ({
    port: (await startNginx(locations(relay))).port,
    path,
  });

const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";';

const FRONTS: readonly Front[] = [
  {
    name: 'nginx with proxy_pass alone',
    start: nginx((relay) => `location / { proxy_pass http://127.0.0.1:${relay}; }`),
    code: 'WSTUN-E219',
    log: /a valid ticket of alice came without its WebSocket upgrade \(HTTP\/1\.0, no Upgrade, Connection: close\)/,
  },
  {
    name: 'nginx that passes the upgrade on in HTTP/1.0',
    start: nginx((relay) => `location / { proxy_pass http://127.0.0.1:${relay}; ${UPGRADE} }`),
    code: 'WSTUN-E219',
    log: /without its WebSocket upgrade \(HTTP\/1\.0\)/,
  },
  {
    name: 'nginx with HTTP/1.1 and no upgrade',
    start: nginx((relay) => `location / { proxy_pass http://127.0.0.1:${relay}; proxy_http_version 1.1; gzip on; }`),
    code: 'WSTUN-E219',
    log: /without its WebSocket upgrade \(no Upgrade, Connection: close\)/,
  },
  {
    name: 'nginx that strips the path',
    start: nginx(
      (relay) => `location /assets/ { proxy_pass http://127.0.0.1:${relay}/; proxy_http_version 1.1; ${UPGRADE} }`,
      '/assets',
    ),
    relayArgs: ['--path', '/assets'],
    code: 'WSTUN-E220',
    log: /a valid ticket of alice came under the path \/… instead of \/assets\/…/,
  },
  {
    name: 'nginx that adds a path',
    start: nginx(
      (relay) => `location / { proxy_pass http://127.0.0.1:${relay}/app/; proxy_http_version 1.1; ${UPGRADE} }`,
    ),
    relayArgs: ['--path', '/'],
    code: 'WSTUN-E220',
    log: /under the path \/app\/… instead of \/…/,
  },
  {
    name: 'Apache with ProxyPass alone',
    start: async (relay) => ({ port: await startApache(`ProxyPass / http://127.0.0.1:${relay}/`) }),
    code: 'WSTUN-E219',
    log: /without its WebSocket upgrade \(.*no Upgrade/,
  },
  {
    name: 'HAProxy that drops the upgrade',
    start: async (relay) => ({ port: await startHaproxy(relay, 'http-request del-header Upgrade') }),
    code: 'WSTUN-E219',
    log: /without its WebSocket upgrade/,
  },
  {
    name: 'HAProxy that rewrites the path',
    start: async (relay) => ({ port: await startHaproxy(relay, 'http-request set-path /other%[path]') }),
    relayArgs: ['--path', '/'],
    code: 'WSTUN-E220',
    log: /under the path \/other\/… instead of \/…/,
  },
];

describe.each(FRONTS)('behind $name', ({ start, relayArgs = [], code, log }) => {
  it('a client and a relay behind a misconfigured front say what is wrong, and a stranger sees a plain 404', async () => {
    const relayPort = await freePort();
    const front = await start(relayPort);
    const origin = `127.0.0.1:${front.port}${front.path ?? ''}`;
    const relay = await startRelay({ port: relayPort, args: ['--url', `ws://${origin}`, ...relayArgs] });
    const client = spawnClient(await invite(relay, 'alice', { allow: ['*'] }), { args: ['--transport', 'websocket'] });
    const event = await client.event('retrying');
    expect(event).toMatchObject({ code });
    await expect.poll(() => relay.process.stderr).toMatch(log);
    const warnings = relay.process.stderr.split('\n').filter((line) => log.test(line));
    expect(warnings.map((line) => JSON.parse(line))).toMatchObject([{ level: 'warn', peer: 'alice' }]);
    const url = `http://${origin}/${'x'.repeat(168)}`;
    const answer = await runWell('curl', ['-s', '-i', url]);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    expect(answer).not.toMatch(/^etag:/im);
  });
});

describe.each([
  {
    name: 'Apache with upgrade=websocket',
    start: async (relay: number) =>
      await startApache(`ProxyPass "/assets/" "http://127.0.0.1:${relay}/assets/" upgrade=websocket`),
  },
  { name: 'HAProxy as it is', start: async (relay: number) => await startHaproxy(relay, '') },
])('behind $name', ({ start }) => {
  it('a client connects through a front that is configured as docs/operations.md says', async () => {
    const port = await freePort();
    const url = `ws://127.0.0.1:${await start(port)}/assets`;
    const relay = await startRelay({ port, args: ['--url', url, '--path', '/assets'] });
    const client = await startClient(await invite(relay, 'alice', { allow: ['*'] }));
    const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
    const { sent, received } = await exchange(socket, 1_000_000);
    expect(received).toEqual({ bytes: 1_000_000, hash: sent });
  });
});
