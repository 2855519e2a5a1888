/**
 * Relays on several machines, here several processes, that work together by real NATS servers.
 * @module-tag waits
 */
import { randomBytes } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeInvite, encodeInvite } from '../../src/crypto/invite.ts';
import { audienceOf, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { TicketDialer } from '../../src/tunnel/dial/ticket-dialer.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { makeAuthority } from '../support/programs/authority.ts';
import { startNats, urlsOf } from '../support/programs/nats.ts';
import { WstunCluster } from '../support/programs/wstun-cluster.ts';
import { wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  spawnClient,
  startClient,
  startExit,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { rawExchange } from '../support/proxy/raw-http.ts';
import { connectThrough, endOf } from '../support/proxy/through-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const LIMIT = { timeout: 240_000 };

async function use({ port }: RunningClient, target: number, bytes: number): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  const { sent, received } = await exchange(socket, bytes, 1);
  expect(received).toEqual({ bytes, hash: sent });
  socket.destroy();
}

/** For docs/scaling.md. */
function note(figure: string): void {
  if (process.env.FIGURES !== undefined) process.stdout.write(`${figure}\n`);
}

/** An exit that is registered at one of them, and what its clients' invites are made with. */
async function exitAt(cluster: WstunCluster, at: number) {
  const registration = await cluster.invite('home', { role: 'exit' }, [at]);
  const exit = await startExit({ invite: registration });
  const clientOf = async (name: string, relay: number) =>
    await invite(exit, name, { allow: ['127.0.0.1'], url: cluster.urlOf(relay) });
  return { exit, clientOf };
}

/** With another relay's invite: all have the same keys. */
async function clientAt(cluster: WstunCluster, secret: string, at: number): Promise<RunningClient> {
  return await startClient(encodeInvite({ ...decodeInvite(secret), relayUrls: [cluster.urlOf(at)] }));
}

/** How long a relay takes to say that an exit is absent, ms, from the moment at which the link stands. */
async function absentAfter(secret: string): Promise<number> {
  const parsed = decodeInvite(secret);
  const dialer = new TicketDialer(parsed, silentLogger);
  const [url = ''] = parsed.relayUrls;
  const scope = { role: 'client', destination: parsed.exitName ?? '' } as const;
  const link = await dialer.dial(url, scope, { signal: new AbortController().signal });
  const start = performance.now();
  const recorder = new LinkRecorder(link);
  await until(() => recorder.messages.length > 0);
  const took = performance.now() - start;
  expect(Buffer.from(recorder.messages[0] ?? []).toString('hex')).toBe('00000e');
  return took;
}

describe('a cluster of relays', () => {
  it('a client at one relay reaches an exit that is registered at another one: 16 MiB each way', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start();
    const { clientOf } = await exitAt(cluster, 0);
    const secret = await clientOf('alice', 1);
    await use(await startClient(secret), target, 16 * MIB);
  });

  it(
    'an exit goes itself to a relay that its invite does not have, where that proves its name by TLS',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const authority = makeAuthority('/CN=cluster');
      const dir = await tempDir();
      const { cert, key } = authority.issue('IP:127.0.0.1');
      const texts = { 'ca.pem': authority.cert, 'cert.pem': cert, 'key.pem': key };
      for (const [name, text] of Object.entries(texts)) await writeFile(join(dir, name), text, { mode: 0o600 });
      const trusting = ['--tls-ca', join(dir, 'ca.pem')];
      const tls = ['--tls-cert', join(dir, 'cert.pem'), '--tls-key', join(dir, 'key.pem')];
      const cluster = await WstunCluster.start({ args: ['--no-exit', ...tls] });
      const exit = await startExit({ invite: await cluster.invite('home', { role: 'exit' }), args: trusting });
      const secret = await invite(exit, 'alice', { allow: ['127.0.0.1'], url: cluster.urlOf(1) });
      await use(await startClient(secret, { args: trusting }), target, MIB);
      // Its own relay has forwarded nothing.
      expect(cluster.relay(0).process.stderr).not.toContain('a client was connected to its exit');
      expect(cluster.relay(1).process.stderr).toContain('a client was connected to its exit');
    },
  );

  it(
    'wstun relay status shows all relays of a cluster, their exits, and who is on at which of them',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const cluster = await WstunCluster.start();
      const { clientOf } = await exitAt(cluster, 0);
      await use(await startClient(await clientOf('alice', 1)), target, MIB);
      const place = ['--cluster', urlsOf(cluster.servers)];
      const { stdout } = await wstun(['relay', 'status', ...place]);
      expect(stdout).toMatch(/^2 relays, 1 exit, 2 clients\n {2}home {2}at [0-9a-f]{8}\n/);
      expect(stdout).toContain(`at ${cluster.urlOf(1)}`);
      const { stdout: lines } = await wstun(['status', '--json', ...place]);
      const relays = lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      const at = (url: string) => relays.find((relay) => relay.url === url);
      expect(at(cluster.urlOf(0))).toMatchObject({ exits: [{ name: 'home' }], cluster: { name: 'wstun', relays: 2 } });
      expect(at(cluster.urlOf(1))).toMatchObject({ exits: [], peers: [{ name: 'home/1', exit: 'home' }] });
    },
  );

  it('a client of an exit that is at no relay is told so in less than 50 ms', LIMIT, async () => {
    const cluster = await WstunCluster.start();
    const { exit, clientOf } = await exitAt(cluster, 0);
    const secret = await clientOf('alice', 1);
    // Its keys are known at the other relay.
    const client = await startClient(secret);
    await client.process.kill();
    exit.process.signal('SIGTERM');
    await exit.process.exited;
    await until(() => cluster.relay(0).process.stderr.includes('exit disconnected'));
    const times: number[] = [];
    for (let at = 0; at < 10; at++) times.push(await absentAfter(secret));
    times.sort((a, b) => a - b);
    note(`absent after ms: ${times.map((ms) => ms.toFixed(1))}`);
    expect(times.at(-2), `ms: ${times.map(Math.round)}`).toBeLessThan(50);
  });

  it('a name that is removed by a command loses its sessions at three relays within a second', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start({ relays: 3, servers: 3, args: [] });
    const secret = await cluster.invite('alice', { allow: ['*'] });
    const clients = await Promise.all([0, 1, 2].map((at) => clientAt(cluster, secret, at)));
    const sockets = await Promise.all(clients.map(({ port }) => connectThrough('SOCKS5', port, target)));
    const ends = sockets.map(endOf);
    const start = performance.now();
    await cluster.access.list.remove('alice');
    const written = performance.now();
    expect(await Promise.all(ends)).toEqual(['reset', 'reset', 'reset']);
    const took = performance.now() - start;
    note(
      `removed at three relays after ${took.toFixed(0)} ms, of which the command took ${(written - start).toFixed(0)}`,
    );
    expect(took).toBeLessThan(1_000);
    for (const { process } of clients)
      expect(await process.event('session-lost')).toMatchObject({ code: 'WSTUN-E207' });
  });
});

/** A request with a ticket of its own: 101 where it opens a link, 404 as to a stranger. */
async function statusOf(port: number, ticket: string): Promise<string> {
  const key = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`;
  const fields = ['Host: relay', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', key];
  const request = `${[`GET /${ticket} HTTP/1.1`, ...fields].join('\r\n')}\r\n\r\n`;
  return (await rawExchange(port, request, { limitMs: 700 })).bytes.slice(9, 12);
}

describe('workers of relays in a cluster', () => {
  it('clients at any worker of one relay reach an exit at a worker of another one', LIMIT, async () => {
    const target = await tcpServer(echo);
    const cluster = await WstunCluster.start({ args: ['--no-exit', '--workers', '2'] });
    const { clientOf } = await exitAt(cluster, 0);
    const secret = await clientOf('alice', 1);
    const clients = await Promise.all(Array.from({ length: 4 }, () => startClient(secret)));
    await Promise.all(clients.map((client) => use(client, target, MIB)));
    const { stdout } = await wstun(['relay', 'status', '--json', '--cluster', urlsOf(cluster.servers)]);
    const processes = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(processes.map(({ cluster: { relays } }) => relays)).toEqual([2, 2, 2, 2]);
    expect(cluster.relays.map(({ process }) => process.stderr).join('')).not.toContain('the same URL');
  });
});

describe('tickets at relays of a cluster', () => {
  const FIELDS = { role: 'client', destination: '', protocol: 1, features: 0 } as const;
  const SHARED = 'wss://www.example.org';

  async function setUp() {
    const cluster = await WstunCluster.start({ args: ['--url', SHARED] });
    const { peer, relayGateKey } = decodeInvite(await cluster.invite('alice'));
    const sealer = new TicketSealer(peer, relayGateKey);
    const portOf = (at: number) => cluster.relay(at).port;
    const ticket = (url?: string) => sealer.seal(FIELDS, Date.now(), url === undefined ? undefined : audienceOf(url));
    return { cluster, portOf, ticket };
  }

  it(
    'a ticket for the URL that several relays have, or for none, opens at one of them and at no other',
    LIMIT,
    async () => {
      const { portOf, ticket } = await setUp();
      for (const url of [SHARED, undefined]) {
        const one = ticket(url);
        expect(await statusOf(portOf(0), one)).toBe('101');
        expect(await statusOf(portOf(1), one)).toBe('404');
        expect(await statusOf(portOf(0), one)).toBe('404');
        const other = ticket(url);
        const answers = await Promise.all([0, 1].map((at) => statusOf(portOf(at), other)));
        expect(new Set(answers)).toEqual(new Set(['101', '404']));
      }
    },
  );

  it(
    'while NATS is away, a relay opens only tickets for its own URL; those used before stay used when it is back',
    LIMIT,
    async () => {
      const { cluster, portOf, ticket } = await setUp();
      const used = ticket(SHARED);
      expect(await statusOf(portOf(0), used)).toBe('101');
      for (const server of cluster.servers) await server.kill();
      await until(() => cluster.relay(0).process.stderr.includes('the connection to the cluster was lost'));
      expect(await statusOf(portOf(0), ticket(cluster.urlOf(0)))).toBe('101');
      expect(await statusOf(portOf(0), ticket(SHARED))).toBe('404');
      for (const server of cluster.servers) await server.start();
      for (const at of [0, 1])
        await expect.poll(() => statusOf(portOf(at), ticket(SHARED)), { timeout: 20_000 }).toBe('101');
      expect(await statusOf(portOf(1), used)).toBe('404');
    },
  );
});

describe('a quota in a cluster', () => {
  it('a quota that a name uses up at three relays is exceeded by 1 % at most', LIMIT, async () => {
    const QUOTA = 60_000_000;
    const target = await tcpServer((socket) => socket.on('error', () => {}).pipe(socket));
    const cluster = await WstunCluster.start({ relays: 3, args: [] });
    // 2 Mbit/s each way at each relay: 1.5 MB/s together, so that it takes 40 s, and 1 % is 0.4 s of it.
    const secret = await cluster.invite('alice', { allow: ['*'], quota: '60MB', rate: '2mbit' });
    const clients = await Promise.all([0, 1, 2].map((at) => clientAt(cluster, secret, at)));
    const ends = clients.map(async ({ port }) => {
      const socket = await connectThrough('SOCKS5', port, target);
      const block = Buffer.alloc(64 * 1024);
      const write = (): void => {
        while (socket.writable && socket.write(block));
      };
      socket.on('drain', write).resume();
      write();
      return await endOf(socket);
    });
    expect(await Promise.all(ends)).toEqual(['reset', 'reset', 'reset']);
    const used = async () => (await cluster.access.usage(Date.now())).bytes.get('alice') ?? 0;
    await expect.poll(used, { timeout: 10_000 }).toBeGreaterThanOrEqual(QUOTA);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    note(`of a quota: ${((await used()) / QUOTA).toFixed(5)}`);
    expect((await used()) / QUOTA).toBeLessThan(1.01);
  });
});

describe('the access list of a cluster', () => {
  it('wstun access import copies the list of a relay once, and then its directory needs --cluster', LIMIT, async () => {
    const alone = await startRelay();
    await invite(alone, 'bob', { allow: ['10.0.0.0/8'], quota: '5GB' });
    const [server] = await startNats();
    const place = ['--state', alone.state, '--cluster', server?.url ?? ''];
    const run = (verb: string, ...args: string[]) => wstun(['access', verb, ...args, ...place]);
    expect(await run('import')).toMatchObject({ code: 0, stdout: 'default\nbob\n' });
    expect(await run('import')).toMatchObject({ code: 0, stdout: '' });
    expect((await run('list')).stdout).toBe('bob  10.0.0.0/8  quota=5GB\ndefault\n');
    expect(await run('set', 'bob', '--quota', 'none', '--disallow', '10.0.0.0/8')).toMatchObject({ code: 0 });
    expect(JSON.parse((await run('show', 'bob', '--json')).stdout)).toMatchObject({ name: 'bob', allow: [], used: 0 });
    expect(await run('remove', 'default')).toMatchObject({ code: 0 });
    alone.process.signal('SIGTERM');
    await alone.process.exited;

    const args = ['--cluster', server?.url ?? '', '--url', `ws://127.0.0.1:${alone.port}`];
    const again = await startRelay({ state: alone.state, port: alone.port, args });
    expect(again.invite).toBeUndefined();
    const carol = (await run('add', 'carol')).stdout.trim();
    await startClient(carol);
    const refused = await wstun(['access', 'list', '--state', alone.state]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('has its access list in a cluster')]);
  });

  it('a relay of a cluster does not start with a URL that is only guessed', async () => {
    const args = ['relay', '--state', join(await tempDir(), 'state'), '--listen', '127.0.0.1:0'];
    const { code, stderr } = await wstun([...args, '--cluster', 'nats://127.0.0.1:1'], { limitMs: 15_000 });
    expect([code, stderr]).toEqual([2, expect.stringContaining('--cluster needs the URL')]);
  });
});

describe('keys of a cluster', () => {
  it(
    'after wstun keys rotate and a copy of identity.key, an old invite says at each relay why it fails',
    LIMIT,
    async () => {
      const cluster = await WstunCluster.start({ args: [] });
      const secret = await cluster.invite('alice');
      const clients = await Promise.all([0, 1].map((at) => clientAt(cluster, secret, at)));
      const [first, second] = [cluster.relay(0), cluster.relay(1)];
      const place = ['--state', first.state, '--cluster', urlsOf(cluster.servers)];
      const { code, stdout, stderr } = await wstun(['keys', 'rotate', '--yes', ...place]);
      expect([code, stdout], stderr).toEqual([0, 'alice\n']);
      await copyFile(join(first.state, 'identity.key'), join(second.state, 'identity.key'));
      for (const { process } of clients)
        expect(await process.event('session-lost')).toMatchObject({ code: 'WSTUN-E215' });
      const renewed = (await wstun(['access', 'renew', 'alice', '--yes', ...place])).stdout.trim();
      for (const at of [0, 1]) await clientAt(cluster, renewed, at);
      // Also one that comes only now: at the second relay that is known from the cluster alone.
      const late = spawnClient(encodeInvite({ ...decodeInvite(secret), relayUrls: [cluster.urlOf(1)] }), {
        args: ['--once'],
      });
      expect(await late.exited).toBe(77);
      expect(late.stderr).toContain('WSTUN-E215');
    },
  );
});

describe('what goes over NATS', () => {
  it(
    'a session between a client and an exit at two relays costs less than 2 KB of NATS, whatever it carries',
    LIMIT,
    async () => {
      const target = await tcpServer(echo);
      const cluster = await WstunCluster.start();
      const { clientOf } = await exitAt(cluster, 0);
      const secret = await clientOf('alice', 1);
      const first = await startClient(secret);
      const [server] = cluster.servers;
      const bytes = async () => {
        const { in_bytes: received = 0, out_bytes: sent = 0 } = (await server?.monitor('varz')) ?? {};
        return Number(received) + Number(sent);
      };
      const before = await bytes();
      const start = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      const idlePerMs = ((await bytes()) - before) / (performance.now() - start);
      const SESSIONS = 6;
      const from = { bytes: await bytes(), at: performance.now() };
      const clients = await Promise.all(Array.from({ length: SESSIONS }, () => startClient(secret)));
      for (const client of clients) await use(client, target, MIB);
      const passed = performance.now() - from.at;
      const each = ((await bytes()) - from.bytes - idlePerMs * passed) / SESSIONS;
      note(
        `a session: ${Math.round(each)} bytes of NATS; two relays besides: ${Math.round(idlePerMs * 1000)} bytes a second`,
      );
      expect(each).toBeLessThan(2_000);
      await first.process.kill();
    },
  );
});
