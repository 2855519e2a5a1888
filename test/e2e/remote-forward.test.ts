/**
 * Ports at the exit that lead to the client's machine (`wstun client -R`), with the real programs at both ends.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { startChaosProxy } from '../support/net/chaos-proxy.ts';
import { Client, closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { PATIENCE } from '../support/patience.ts';
import { exchange, payload, type Received, receive, sendEndlessly, sendPayload, sha256 } from '../support/payload.ts';
import { startNginx } from '../support/programs/nginx.ts';
import { runWell } from '../support/programs/programs.ts';
import { type WstunProcess, wstun } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningRelay,
  spawnClient,
  startBehindRelay,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const RULE = '127.0.0.1:1024-65535';

let relay: RunningRelay;
let secret: string;

async function change(name: string, ...options: readonly string[]): Promise<void> {
  const before = relay.process.stderr.split('access list reloaded').length;
  const { code, stderr } = await wstun(['access', 'set', name, ...options, '--state', relay.state]);
  if (code !== 0) throw new Error(stderr);
  await until(() => relay.process.stderr.split('access list reloaded').length > before);
}

beforeAll(async () => {
  relay = await startRelay();
  secret = await invite(relay, 'tester', { listen: [RULE] });
});

const portOf = (bound: unknown): number => Number(String(bound).replace(/^.*:/, ''));

/** A client with these forwards, and the ports at the exit, in their order. */
async function forward(...specs: readonly string[]): Promise<{ client: WstunProcess; ports: number[] }> {
  const client = spawnClient(secret, { args: specs.flatMap((spec) => ['-R', spec]) });
  const ports = new Map<string, number>();
  while (ports.size < specs.length) {
    const event = await client.event('remote-forward');
    if (event.state !== 'listening') throw new Error(client.describe());
    ports.set(String(event.forward).replace(/^127\.0\.0\.1:/, ''), portOf(event.bound));
  }
  return { client, ports: specs.map((spec) => ports.get(spec) ?? 0) };
}

async function toPort(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true }).on('error', () => {});
  atEnd(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

describe('wstun client -R', () => {
  it('64 connections at once arrive whole, both ways', async () => {
    const bytes = (process.env.WSTUN_LONG === undefined ? 1 : 4) * MIB;
    const served: Promise<Received>[] = [];
    const target = await tcpServer((socket) => {
      served.push(receive(socket));
      void sendPayload(socket, bytes, 2);
    });
    const { ports } = await forward(`0:127.0.0.1:${target}`);
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, async () => exchange(await toPort(ports[0] ?? 0), bytes, 1)),
    );
    const [up, down] = [sha256(payload(bytes, 1)), sha256(payload(bytes, 2))];
    expect(new Set(outcomes.map(({ received }) => received.hash))).toEqual(new Set([down]));
    expect(new Set((await Promise.all(served)).map(({ hash }) => hash))).toEqual(new Set([up]));
  });

  it('an answer arrives whole after whoever connected has shut its writing side, and the other way round', async () => {
    const answering = await tcpServer((socket) => void receive(socket).then(() => sendPayload(socket, MIB, 1)));
    const arrived: Promise<Received>[] = [];
    const ending = await tcpServer((socket) => {
      socket.end('that is all');
      arrived.push(receive(socket));
    });
    const { ports } = await forward(`0:127.0.0.1:${answering}`, `0:localhost:${ending}`);
    const first = await toPort(ports[0] ?? 0);
    first.end('request');
    expect((await receive(first)).hash).toBe(sha256(payload(MIB, 1)));
    const second = await toPort(ports[1] ?? 0);
    expect(await receive(second)).toMatchObject({ bytes: 11 });
    await sendPayload(second, MIB, 1);
    expect((await arrived[0])?.hash).toBe(sha256(payload(MIB, 1)));
  });

  it('a reset on either side becomes a reset on the other', async () => {
    const accepted: Socket[] = [];
    const target = await tcpServer((socket) => void accepted.push(socket));
    const { ports } = await forward(`0:127.0.0.1:${target}`);
    const first = new Client(await toPort(ports[0] ?? 0));
    await until(() => accepted.length === 1);
    accepted[0]?.resetAndDestroy();
    expect(await first.ending()).toBe('reset');
    const second = await toPort(ports[0] ?? 0);
    await until(() => accepted.length === 2);
    const far = new Client(accepted[1] as Socket);
    second.resetAndDestroy();
    expect(await far.ending()).toBe('reset');
  });

  it('a connection to a port that leads nowhere is reset', async () => {
    const { ports } = await forward(`0:127.0.0.1:${await closedPort()}`);
    const client = new Client(await toPort(ports[0] ?? 0));
    expect(await client.ending()).toBe('reset');
    expect(client.received).toHaveLength(0);
  });

  it('a reader that stops holds up its own connection alone, and loses nothing', async () => {
    const sending = await tcpServer((socket) => sendEndlessly(socket));
    const echoing = await tcpServer(echo);
    const { client, ports } = await forward(`0:127.0.0.1:${sending}`, `0:127.0.0.1:${echoing}`);
    const slow = await toPort(ports[0] ?? 0);
    slow.pause();
    const before = client.memory().resident;
    for (let turn = 0; turn < 5; turn++) {
      const { received } = await exchange(await toPort(ports[1] ?? 0), MIB);
      expect(received.hash).toBe(sha256(payload(MIB)));
    }
    expect(client.memory().resident - before).toBeLessThan(64);
    const hash = createHash('sha256');
    let bytes = 0;
    slow.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    slow.resume();
    await until(() => bytes > 8 * MIB);
  });

  it('a port is another client’s: the second is told so, and has it when the first is gone', async () => {
    const target = await tcpServer((socket) => socket.end('second'));
    const { client: first, ports } = await forward(`0:127.0.0.1:${await tcpServer((socket) => socket.end('first'))}`);
    const second = spawnClient(secret, { args: ['-R', `${ports[0]}:127.0.0.1:${target}`] });
    const refused = await second.event('remote-forward');
    expect(refused).toMatchObject({ state: 'refused', code: 'WSTUN-E316' });
    first.signal('SIGTERM');
    expect(await second.event('remote-forward')).toMatchObject({ state: 'listening', again: true });
    expect((await receive(await toPort(ports[0] ?? 0))).bytes).toBe(6);
  });

  it('a port is closed within 2 s of a change of the access list, which the client says, and comes back', async () => {
    const other = await invite(relay, 'changing', { listen: [RULE] });
    const target = await tcpServer(echo);
    const client = spawnClient(other, { args: ['-R', `0:127.0.0.1:${target}`] });
    const { bound } = await client.event('remote-forward');
    const open = await toPort(portOf(bound));
    const since = performance.now();
    await change('changing', '--no-listen', RULE);
    expect(await client.event('remote-forward')).toMatchObject({ state: 'lost', code: 'WSTUN-E315' });
    expect(performance.now() - since).toBeLessThan(2_000 * PATIENCE);
    await expect(toPort(portOf(bound))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const { received } = await exchange(open, 1_000);
    expect(received.bytes).toBe(1_000);
    await change('changing', '--listen', RULE);
    expect(await client.event('remote-forward', 30_000)).toMatchObject({ state: 'listening', again: true });
  });

  it('what the access list does not allow is refused: by default everything, and always the port of the relay itself', async () => {
    const none = await invite(relay, 'none');
    const client = spawnClient(none, { args: ['-R', '0:127.0.0.1:1', '-R', '0.0.0.0:18080:127.0.0.1:1'] });
    for (let i = 0; i < 2; i++)
      expect(await client.event('remote-forward')).toMatchObject({ state: 'refused', code: 'WSTUN-E315' });
    const args = ['80:127.0.0.1:1', '0.0.0.0:18080:127.0.0.1:1', `${relay.port}:127.0.0.1:1`];
    const tester = spawnClient(secret, { args: args.flatMap((spec) => ['-R', spec]) });
    for (let i = 0; i < 3; i++)
      expect(await tester.event('remote-forward')).toMatchObject({ state: 'refused', code: 'WSTUN-E315' });
  });

  it('a port and its connections outlive a lost link', async () => {
    const chaos = await startChaosProxy({ target: { host: '127.0.0.1', port: relay.port }, seed: 1 });
    const through = await invite(relay, 'lossy', { url: `ws://127.0.0.1:${chaos.port}`, listen: [RULE] });
    const client = spawnClient(through, { args: ['-R', `0:127.0.0.1:${await tcpServer(echo)}`] });
    const { bound } = await client.event('remote-forward');
    const before = new Client(await toPort(portOf(bound))).send('before');
    await before.take(6);
    chaos.resetAll();
    const during = new Client(await toPort(portOf(bound))).send('during');
    expect((await during.take(6)).toString()).toBe('during');
    before.send(' after');
    expect((await before.take(6)).toString()).toBe(' after');
    expect(client.events.filter(({ event }) => event === 'remote-forward')).toHaveLength(1);
  });

  it('a port is asked for again when the relay was restarted', async () => {
    const own = await startRelay();
    const code = await invite(own, 'home', { listen: [RULE] });
    const client = spawnClient(code, {
      args: ['-R', `0:127.0.0.1:${await tcpServer((socket) => socket.end('here'))}`],
    });
    const { bound } = await client.event('remote-forward', 20_000);
    await own.process.kill();
    await startRelay({ state: own.state, port: own.port });
    const again = await client.event('remote-forward', 30_000);
    expect(again.state).toBe('lost');
    expect(await client.event('remote-forward', 30_000)).toMatchObject({ state: 'listening', bound, again: true });
    expect((await receive(await toPort(portOf(bound)))).bytes).toBe(4);
  });

  it('the port is that of a named exit, where the invite names one', async () => {
    const { exit, relay: front } = await startBehindRelay();
    const code = await invite(exit, 'alice', { url: front.url, listen: [RULE] });
    const client = spawnClient(code, { args: ['-R', `0:127.0.0.1:${await tcpServer(echo)}`] });
    const { bound } = await client.event('remote-forward');
    const { received } = await exchange(await toPort(portOf(bound)), MIB);
    expect(received.hash).toBe(sha256(payload(MIB)));
    exit.process.signal('SIGTERM');
    expect(await client.event('remote-forward')).toMatchObject({ state: 'lost' });
    await exit.process.exited;
    await expect(toPort(portOf(bound))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('strangers who connect thousands of times to a port that leads nowhere end nothing that works', async () => {
    const echoing = await tcpServer(echo);
    const { client, ports } = await forward(`0:127.0.0.1:${await closedPort()}`, `0:127.0.0.1:${echoing}`);
    const open = new Client(await toPort(ports[1] ?? 0)).send('before');
    await open.take(6);
    const hammer = async (): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        const socket = connect(ports[0] ?? 0, '127.0.0.1').on('error', () => {});
        if (i % 3 === 0) socket.once('connect', () => socket.resetAndDestroy());
        await new Promise((resolve) => socket.once('close', resolve));
      }
    };
    await Promise.all(Array.from({ length: 50 }, hammer));
    open.send(' after');
    expect((await open.take(6)).toString()).toBe(' after');
    expect(client.events.filter(({ event }) => event !== 'ready')).toHaveLength(2);
  });

  it('datagrams find back to each of their senders', async () => {
    const server = createSocket('udp4');
    server.on('message', (bytes, { port, address }) => server.send(`${bytes} back`, port, address));
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    atEnd(() => server.close());
    const { ports } = await forward(`0:127.0.0.1:${server.address().port}/udp`);
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const socket = createSocket('udp4');
        atEnd(() => socket.close());
        const answers: string[] = [];
        socket.on('message', (bytes) => answers.push(bytes.toString()));
        await until(() => {
          socket.send(`${i}`, ports[0] ?? 0, '127.0.0.1');
          return answers.length > 0;
        });
        expect(new Set(answers)).toEqual(new Set([`${i} back`]));
      }),
    );
  });

  it('-R socks is a proxy whose connections begin at the client, for curl', async () => {
    const nginx = await startNginx();
    await writeFile(join(nginx.root, 'page'), 'from the laptop');
    const { ports } = await forward('0:socks');
    for (const scheme of ['socks5', 'socks5h', 'socks4', 'socks4a']) {
      const url = `http://${scheme.endsWith('4') || scheme === 'socks5' ? '127.0.0.1' : 'localhost'}:${nginx.port}/page`;
      expect(await runWell('curl', ['-sS', '-x', `${scheme}://127.0.0.1:${ports[0]}`, url])).toBe('from the laptop');
    }
  });
});

describe('a web server behind NAT', () => {
  it('nginx is published by -R: curl gets its pages, large ones and many at once', async () => {
    const nginx = await startNginx();
    const page = payload(3 * MIB);
    await writeFile(join(nginx.root, 'page'), page);
    const { ports } = await forward(`0:127.0.0.1:${nginx.port}`);
    const url = `http://127.0.0.1:${ports[0]}/page`;
    const pages = await Promise.all(Array.from({ length: 8 }, () => runWell('curl', ['-sS', '--compressed', url])));
    for (const got of pages) expect(sha256(Buffer.from(got, 'latin1'))).toBe(sha256(page));
    expect(await nginx.accessLog()).toHaveLength(8);
  });

  it('nginx with proxy_protocol sees who has connected to the exit', async () => {
    const nginx = await startNginx('location /who { return 200 "$proxy_protocol_addr $proxy_protocol_server_port"; }', {
      listen: 'proxy_protocol',
    });
    const { ports } = await forward(`0:127.0.0.1:${nginx.port}/proxy-v2`);
    const url = `http://127.0.0.1:${ports[0]}/who`;
    expect(await runWell('curl', ['-sS', '--interface', '127.0.0.9', url])).toBe(`127.0.0.9 ${ports[0]}`);
  });
});

describe('BIND of SOCKS', () => {
  it('a program in Python gets a port at the exit, and one connection to it', async () => {
    const client = spawnClient(secret, {});
    const { listen } = await client.event('ready');
    const program = `
import socket, struct, sys, threading
proxy = ('127.0.0.1', ${portOf(listen)})
s = socket.create_connection(proxy)
s.sendall(bytes([5, 1, 0])); assert s.recv(2) == bytes([5, 0])
s.sendall(bytes([5, 2, 0, 1, 127, 0, 0, 1, 0, 0]))
def reply():
    data = b''
    while len(data) < 10: data += s.recv(10 - len(data))
    assert data[1] == 0, data
    return socket.inet_ntoa(data[4:8]), struct.unpack('>H', data[8:10])[0]
host, port = reply()
peer = socket.create_connection((host, port))
assert reply() == peer.getsockname()
peer.sendall(b'x' * 100000); peer.shutdown(socket.SHUT_WR)
got = b''
while True:
    chunk = s.recv(65536)
    if not chunk: break
    got += chunk
s.sendall(b'thanks'); s.close()
print(len(got), peer.recv(100).decode())
`;
    expect(await runWell('python3', ['-c', program])).toBe('100000 thanks\n');
  });
});
