/**
 * Ports and sockets of this machine that lead to targets of the exit (`-L`), by real programs and through a relay.
 * @module-tag waits
 */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runDatagrams, udpEcho } from '../support/net/datagram-run.ts';
import { startDnsServer } from '../support/net/dns-server.ts';
import { Client, closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { runWell } from '../support/programs/programs.ts';
import { WstunProcess } from '../support/programs/wstun-process.ts';
import {
  invite,
  type RunningClient,
  type RunningRelay,
  startClient,
  startRelay,
} from '../support/programs/wstun-stack.ts';
import { connectThrough } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

let relay: RunningRelay;
let secret = '';
let echoPort = 0;
let port = 0;
let path = '';
let client: RunningClient;

/** Where the forwards of a client listen, in the order in which they were given. */
async function placesOf({ process }: RunningClient, count: number): Promise<string[]> {
  await until(() => process.events.filter(({ event }) => event === 'forward').length === count);
  return process.events.filter(({ event }) => event === 'forward').map(({ listen }) => String(listen));
}

async function forwarding(...specs: string[]): Promise<{ client: RunningClient; ports: number[] }> {
  const forwarded = await startClient(secret, { args: specs.flatMap((spec) => ['-L', spec]) });
  const places = await placesOf(forwarded, specs.length);
  return { client: forwarded, ports: places.map((place) => Number(place.split(':').at(-1))) };
}

function open(at: number | string): Socket {
  const place = typeof at === 'number' ? { host: '127.0.0.1', port: at } : { path: at };
  const socket = connect({ ...place, allowHalfOpen: true }).on('error', () => {});
  atEnd(() => void socket.destroy());
  return socket;
}

beforeAll(async () => {
  relay = await startRelay();
  secret = await invite(relay, 'tester', { allow: ['*'] });
  echoPort = await tcpServer(echo);
  path = join(await tempDir(), 'echo.sock');
  const started = await forwarding(`0:127.0.0.1:${echoPort}`, `unix:${path}:127.0.0.1:${echoPort}`);
  [port = 0] = started.ports;
  ({ client } = started);
});

describe('TCP forwards', () => {
  it.each([
    ['a port', () => port],
    ['a socket', () => path],
  ])('64 connections at %s carry 4 MB both ways each, and half-closes pass', async (_, at) => {
    const all = Array.from({ length: 64 }, (__, seed) => exchange(open(at()), 4_000_000, seed));
    for (const { sent, received } of await Promise.all(all)) expect(received).toEqual({ bytes: 4_000_000, hash: sent });
  });

  it('a reset by the target is a reset here, after what came before it', async () => {
    const target = await tcpServer((socket) => {
      socket.write('last words');
      socket.once('data', () => socket.resetAndDestroy());
    });
    const { ports } = await forwarding(`0:127.0.0.1:${target}`);
    const program = new Client(open(ports[0] ?? 0));
    expect((await program.take(10)).toString()).toBe('last words');
    program.send('x');
    await until(() => program.events.includes('close'));
    expect(program.events).toEqual(['reset', 'close']);
  });

  it('a reset by the program is a reset at the target', async () => {
    let target: Client | undefined;
    const targetPort = await tcpServer((socket) => {
      target = new Client(socket);
    });
    const { ports } = await forwarding(`0:127.0.0.1:${targetPort}`);
    const program = open(ports[0] ?? 0);
    program.write('hello');
    await until(() => target?.received.length === 5);
    program.resetAndDestroy();
    await until(() => target?.events.includes('close') === true);
    expect(target?.events).toEqual(['reset', 'close']);
  });

  it('a target that refuses is a reset here, and a line in the log that says why', async () => {
    const { client: forwarded, ports } = await forwarding(`0:127.0.0.1:${await closedPort()}`);
    const program = new Client(open(ports[0] ?? 0)).send('hello');
    await until(() => program.events.includes('close'));
    expect(program.events).toEqual(['reset', 'close']);
    await until(() => /was not forwarded: .*WSTUN-E301/.test(forwarded.process.stderr));
  });

  it('a program that does not read holds up only itself', async () => {
    const slow = open(port);
    const writing = setInterval(() => slow.writableLength < 16 * MIB && slow.write(Buffer.alloc(MIB)), 5);
    atEnd(() => clearInterval(writing));
    await until(() => slow.writableLength > 8 * MIB, 30_000);
    const { sent, received } = await exchange(open(port), 4_000_000, 9);
    expect(received.hash).toBe(sent);
  });

  it('a forward opens connections no more slowly than SOCKS does', async () => {
    const round = async (dialled: () => Promise<Socket>): Promise<number> => {
      const since = performance.now();
      const socket = await dialled();
      socket.write('x');
      await new Promise((resolve) => void socket.once('data', resolve).resume());
      const ms = performance.now() - since;
      socket.destroy();
      return ms;
    };
    const [forwarded, socks]: [number[], number[]] = [[], []];
    for (let n = 0; n < 100; n++) {
      forwarded.push(await round(() => Promise.resolve(open(port))));
      socks.push(await round(() => connectThrough('SOCKS5', client.port, echoPort)));
    }
    const [mine, theirs] = [forwarded, socks].map((all) => all.sort((a, b) => a - b)[50] ?? 0);
    // The same work but for the negotiation: what differs in the other direction is chance.
    expect(mine).toBeLessThan((theirs ?? 0) * 1.2);
  });
});

describe('UDP forwards', () => {
  it('dig asks a name server at the exit', async () => {
    const dns = await startDnsServer({ 'site.example.net': { addresses: ['203.0.113.10'] } });
    atEnd(() => dns.close());
    const { ports } = await forwarding(`0:${dns.address}/udp`);
    const answer = await runWell('dig', ['+short', '@127.0.0.1', '-p', String(ports[0]), 'site.example.net', 'A']);
    expect(answer.trim()).toBe('203.0.113.10');
  });

  it('10,000 datagrams each way over a forward: none is corrupted, and they keep their order', async () => {
    const far = await udpEcho();
    const { ports } = await forwarding(`0:127.0.0.1:${far.port}/udp`);
    const outcome = await runDatagrams({ port: ports[0] ?? 0, count: 10_000, seed: 2 });
    expect(outcome.wrong).toBe(0);
    expect(outcome.answered).toBeGreaterThan(9_900);
  });
});

describe('forwards that cannot be', () => {
  it.each([
    ['a port that is taken', () => [`${echoPort}:a:80`], 'WSTUN-E104', 'another program already listens there'],
    ['an address for other machines', () => ['0.0.0.0:0:a:80'], 'WSTUN-E103', '--allow-lan'],
    ['no forward', () => ['8080:a'], 'WSTUN-E', '[BIND:]PORT:HOST:PORT'],
  ])('%s ends the client at the start, with a sentence', async (_, specs, code, text) => {
    const args = specs().flatMap((spec) => ['-L', spec]);
    const process = new WstunProcess(['client', '--listen', '127.0.0.1:0', ...args], { env: { WSTUN_INVITE: secret } });
    expect(await process.exited).not.toBe(0);
    expect(process.stderr).toContain(code);
    expect(process.stderr).toContain(text);
  });
});
