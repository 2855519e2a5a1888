/** Much at once: gigabytes, hundreds of streams, thousands of connections, and what is left of them. */
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { closedPort, echo, tcpServer } from '../support/net/tcp.ts';
import { exchange, receive, sendPayload } from '../support/payload.ts';
import { type Stack, startStack } from '../support/programs/wstun-stack.ts';
import {
  askSocks5,
  connectThrough,
  endOf,
  type Protocol,
  socks5Request,
  take,
} from '../support/proxy/through-proxy.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** Each of client and relay, at any time, while it carries bulk. */
const BULK_LIMIT_MIB = 150;
/** With 500 streams at full speed, of which each has its sockets' buffers and its share of the session's. */
const CROWD_LIMIT_MIB = 350;

function expectPeaksBelow(limit: number, { relay, client }: Stack): void {
  const peaks = { relay: relay.process.memory().peak, client: client.process.memory().peak };
  expect(Math.max(peaks.relay, peaks.client), JSON.stringify(peaks)).toBeLessThan(limit);
}

describe('bulk', () => {
  // Once a connection is open, both protocols are the same code.
  it.each<[string, Protocol, number]>([
    ['1 GiB', 'SOCKS5', GIB],
    ['128 MiB', 'CONNECT', 128 * MIB],
  ])('%s each way arrives as it was sent, in little memory (%s)', { timeout: 300_000 }, async (_, protocol, bytes) => {
    const stack = await startStack();
    const uploads: Promise<unknown>[] = [];
    const target = await tcpServer((socket) => uploads.push(receive(socket)));
    const source = await tcpServer((socket) => uploads.push(sendPayload(socket, bytes, 2)));

    const up = await connectThrough(protocol, stack.client.port, target);
    const sent = await sendPayload(up, bytes, 1);
    expect(await uploads[0]).toEqual({ bytes, hash: sent });

    const down = await connectThrough(protocol, stack.client.port, source);
    expect(await receive(down)).toEqual({ bytes, hash: await uploads[1] });
    expectPeaksBelow(BULK_LIMIT_MIB, stack);
  });
});

describe('500 streams at once', () => {
  it('500 streams at once carry 1 MiB each way, each with its own bytes', { timeout: 300_000 }, async () => {
    const stack = await startStack();
    const target = await tcpServer(echo);
    const opening = Array.from({ length: 500 }, () => connectThrough('SOCKS5', stack.client.port, target));
    const sockets = await Promise.all(opening);
    const exchanges = await Promise.all(sockets.map((socket, i) => exchange(socket, MIB, i)));
    for (const { sent, received } of exchanges) expect(received).toEqual({ bytes: MIB, hash: sent });
    expect(new Set(exchanges.map(({ sent }) => sent)).size).toBe(500);
    expectPeaksBelow(CROWD_LIMIT_MIB, stack);
  });
});

describe('2,000 connections', () => {
  it('2,000 connections that end in every way leave no descriptor open', { timeout: 300_000 }, async () => {
    const { relay, client } = await startStack();
    const target = await tcpServer(answerThenEndAsAsked);
    const refusingPort = await closedPort();
    const descriptors = () => [relay.process.openDescriptors(), client.process.openDescriptors()];
    // What is made at the first connection and kept, such as the resolver's watch on its files, is no leak.
    for (const end of ENDS) await end(client.port, target, refusingPort);
    const before = await settled(descriptors);

    const lanes = Array.from({ length: 50 }, async (_, lane) => {
      for (let i = 0; i < 40; i++) await ENDS[(lane + i) % ENDS.length]?.(client.port, target, refusingPort);
    });
    await Promise.all(lanes);
    await until(() => descriptors().every((count, at) => count <= (before[at] ?? 0)), 5_000).catch(() => {});
    expect(descriptors()).toEqual(before);
  });
});

/** One letter asks for an end: `e`, a clean one; `r`, a reset; `w`, nothing until the program has ended. */
function answerThenEndAsAsked(socket: Socket): void {
  socket.once('data', (asked: Buffer) => {
    const how = asked.toString();
    socket.write('ok');
    if (how === 'e') socket.end();
    if (how === 'r') socket.resetAndDestroy();
  });
  socket.on('end', () => socket.end());
}

type Connection = (proxy: number, target: number, refusingPort: number) => Promise<unknown>;

const ENDS: readonly Connection[] = [
  async (proxy, target) => {
    const socket = await connectThrough('SOCKS5', proxy, target);
    socket.write('e');
    expect(await endOf(socket)).toBe('end');
    socket.end();
  },
  async (proxy, target) => {
    const socket = await connectThrough('SOCKS5', proxy, target);
    socket.write('r');
    expect(await endOf(socket)).toBe('reset');
  },
  async (proxy, target) => {
    const socket = await connectThrough('CONNECT', proxy, target);
    socket.end('w');
    expect(await endOf(socket)).toBe('end');
  },
  async (proxy, target) => {
    const socket = await connectThrough('SOCKS5', proxy, target);
    socket.write('w');
    await take(socket, 2);
    socket.resetAndDestroy();
  },
  async (proxy, _target, refusingPort) => {
    const { code, socket } = await askSocks5(proxy, socks5Request('127.0.0.1', refusingPort));
    expect(code).toBe(5);
    socket.end();
  },
  // Gone before the answer.
  async (proxy, target) => {
    const { socket } = await askSocks5(proxy, socks5Request('127.0.0.1', target));
    socket.destroy();
  },
];

/** The value once it has stayed the same for 300 ms. */
async function settled<T>(value: () => T): Promise<T> {
  let last = value();
  let since = performance.now();
  await until(() => {
    const now = value();
    if (JSON.stringify(now) !== JSON.stringify(last)) [last, since] = [now, performance.now()];
    return performance.now() - since > 300;
  }, 10_000);
  return last;
}
