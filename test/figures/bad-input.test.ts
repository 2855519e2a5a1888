/**
 * Input that no program and no client would send, to real processes: each case ends within its limit, and both go on.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, startDnsServer } from '../support/net/dns-server.ts';
import { echo, tcpServer } from '../support/net/tcp.ts';
import { exchange } from '../support/payload.ts';
import { type Prng, prng } from '../support/prng.ts';
import { probeEnv, usedBytes } from '../support/programs/heap.ts';
import type { WstunProcess } from '../support/programs/wstun-process.ts';
import { invite, startClient, startRelay } from '../support/programs/wstun-stack.ts';
import { connectThrough, dial, endOf, socks5Request } from '../support/proxy/through-proxy.ts';
import { atEnd } from '../support/scope.ts';
import { until } from '../support/until.ts';

const SEED = 20_261_123;
const CASES = 20_000;
/** At once; fewer than the unfinished requests that either port holds. */
const LANES = 100;
/**
 * Beyond what a process held before: it must not grow with the number of cases. 400 bytes of each would be too much.
 */
const GROWTH_LIMIT_BYTES = 8_000_000;
/** Requests have 10 s; then the rejection may take some time to be read. */
const NEGOTIATION_LIMIT_MS = 13_000;
/** In which the answer to a damaged request must come. */
const ANSWER_LIMIT_MS = 5_000;

let dns: DnsServer;
let relay: { process: WstunProcess; port: number };
let client: { process: WstunProcess; port: number };

beforeAll(async () => {
  // It knows no name at all.
  dns = await startDnsServer();
  atEnd(() => dns.close());
  const started = await startRelay({ dns, env: probeEnv() });
  relay = started;
  client = await startClient(await invite(started, 'fuzz', { allow: ['127.0.0.1'] }), { env: probeEnv() });
});

async function worksAsBefore(): Promise<void> {
  const socket = await connectThrough('SOCKS5', client.port, await tcpServer(echo));
  const { sent, received } = await exchange(socket, 1024 * 1024);
  expect(received.hash).toBe(sent);
  // The probe answers by events, too.
  const events = client.process.events.map(({ event }) => event);
  expect(events.filter((event) => event !== 'memory')).toEqual(['ready']);
}

describe('damaged requests', () => {
  /**
   * 10 letters long: where a mutation makes an address of the length and the name, it is a private one (10.0.0.0/8).
   */
  const NAME = 'nowhere.io';
  const socks4 = Buffer.from([4, 1, 0, 25, 0, 0, 0, 1, 0x75, 0, ...Buffer.from(`${NAME}\0`)]);
  const socks5 = Buffer.concat([Buffer.from([5, 1, 0]), socks5Request(NAME, 80)]);
  const password = Buffer.concat([Buffer.from([5, 1, 2, 1, 2, 0x6d, 0x65, 1, 0x78]), socks5Request(NAME, 80)]);
  const get = Buffer.from(`GET http://${NAME}/a HTTP/1.1\r\nHost: ${NAME}\r\nContent-Length: 3\r\n\r\nabc`);
  const connectTo = Buffer.from(`CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\nearly data`);
  const upgrade = Buffer.from(
    `GET /${'A'.repeat(200)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );

  it.each([
    ['the proxy', () => client, [socks4, socks5, password, get, connectTo]],
    ['the relay', () => relay, [upgrade, get, socks5]],
  ] as const)(
    `20,000 damaged requests take no memory of %s, which works as before (seed ${SEED})`,
    { timeout: 180_000 },
    async (_what, of, seeds) => {
      const { port, process } = of();
      const random = prng(SEED);
      const cases = Array.from({ length: CASES }, () => damaged(random, random.pick(seeds))).filter(
        (bytes) => !mayDial(bytes),
      );
      expect(cases.length).toBeGreaterThan(CASES * 0.9);
      await sendAll(port, cases.slice(0, CASES / 10));
      const before = await usedBytes(process);
      expect(await sendAll(port, cases)).toBe(0);
      await worksAsBefore();
      expect((await usedBytes(process)) - before).toBeLessThan(GROWTH_LIMIT_BYTES);
    },
  );
});

/**
 * One to three changes: a byte, a bit, a hole, a copy, a cut, something in between; or nothing of the original at all.
 */
function damaged(random: Prng, original: Buffer): Buffer {
  if (random.chance(0.05)) return noise(random, random.below(2_000));
  let bytes = Buffer.from(original);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    const skipped = tail.subarray(random.below(tail.length + 1));
    bytes = Buffer.concat(
      random.pick([
        [head, noise(random, 1), tail.subarray(1)],
        [head, Buffer.of((tail[0] ?? 0) ^ (1 << random.below(8))), tail.subarray(1)],
        [head, skipped],
        [head, tail, tail],
        [head],
        [head, noise(random, random.below(300)), tail],
      ]),
    );
  }
  return bytes;
}

function noise(random: Prng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

/** Whether a SOCKS request in it may name an address of the internet: tests keep to loopback. */
function mayDial(bytes: Buffer): boolean {
  if (bytes[0] === 4) return !(bytes[4] === 0 || bytes[4] === 10 || bytes[4] === 127);
  const request = bytes.subarray(2 + (bytes[1] ?? 0));
  return bytes[0] === 5 && request[0] === 5 && request[3] !== 3 && request[4] !== 10;
}

/** Each on a connection of its own, which it ends. Returns how many the other side did not end in time. */
async function sendAll(port: number, cases: readonly Buffer[]): Promise<number> {
  const left = cases.values();
  let late = 0;
  const lane = async () => {
    for (const bytes of left) if (!(await endsInTime(port, bytes))) late++;
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return late;
}

function endsInTime(port: number, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    let inTime = true;
    const socket = connect({ host: '127.0.0.1', port }, () => socket.end(bytes));
    const limit = setTimeout(() => {
      inTime = false;
      socket.destroy();
    }, ANSWER_LIMIT_MS);
    socket.on('error', () => {}).resume();
    socket.once('close', () => {
      clearTimeout(limit);
      resolve(inTime);
    });
  });
}

describe('a slow sender', () => {
  const DRIPS: readonly (readonly [string, () => number, readonly string[]])[] = [
    ['nothing to the proxy', () => client.port, []],
    ['half a SOCKS5 greeting', () => client.port, ['\x05']],
    [
      'a SOCKS5 request byte by byte',
      () => client.port,
      ['\x05', '\x01', '\x00', '\x05', '\x01', '\x00', '\x03', '\x50'],
    ],
    ['a SOCKS4 user without end', () => client.port, ['\x04\x01\x00\x50\x7f\x00\x00\x01', ...'name']],
    [
      'an HTTP header line by line',
      () => client.port,
      ['GET http://x.io/ HTTP/1.1\r\n', ...Array(99).fill('A: b\r\n')],
    ],
    ['nothing to the relay', () => relay.port, []],
    ['an upgrade byte by byte', () => relay.port, [...'GET /some/very/long/path/that/never/ends/'.repeat(3)]],
    ['a header to the relay line by line', () => relay.port, ['GET / HTTP/1.1\r\n', ...Array(99).fill('A: b\r\n')]],
  ];

  it('relay and client close a connection that sends its request too slowly after 10 s', {
    timeout: 2 * NEGOTIATION_LIMIT_MS,
  }, async () => {
    const ended = DRIPS.map(async ([what, port, pieces]) => {
      const socket = await dial(port());
      const start = performance.now();
      const left = pieces.values();
      const timer = setInterval(() => {
        const { value } = left.next();
        if (value !== undefined && socket.writable) socket.write(Buffer.from(value, 'latin1'));
      }, 250);
      await endOf(socket);
      clearInterval(timer);
      socket.destroy();
      return { what, late: performance.now() - start > NEGOTIATION_LIMIT_MS, early: performance.now() - start < 8_000 };
    });
    expect(await Promise.all(ended)).toEqual(DRIPS.map(([what]) => ({ what, late: false, early: false })));
    await worksAsBefore();
  });
});

describe('a sender without end', () => {
  it.each([
    ['a header without end to the proxy', () => client.port, 'GET http://x.io/ HTTP/1.1\r\nA: '],
    ['a request line without end to the proxy', () => client.port, 'GET http://'],
    ['a SOCKS4a user without end', () => client.port, '\x04\x01\x00\x50\x00\x00\x00\x01'],
    ['a header without end to the relay', () => relay.port, 'GET / HTTP/1.1\r\nA: '],
  ] as const)('relay and client close a connection that sends %s', async (_what, port, head) => {
    const socket = await dial(port());
    const ended = endOf(socket);
    socket.write(Buffer.from(head, 'latin1'));
    const flood = () => {
      while (socket.writable && socket.write(Buffer.alloc(64 * 1024, 'A')))
        if (socket.bytesWritten > 64 * 1024 * 1024) return;
    };
    // As long as the kernel takes each write at once, 'drain' comes within the turn, and the end would never be read.
    socket.on('drain', () => setImmediate(flood));
    flood();
    await ended;
    expect(socket.bytesWritten).toBeLessThan(64 * 1024 * 1024);
    await worksAsBefore();
  });

  it('relay and client close more connections than they hold', { timeout: 180_000 }, async () => {
    for (const { port, process } of [client, relay]) {
      const before = process.openDescriptors();
      const sockets = Array.from({ length: 2_500 }, () => connect({ host: '127.0.0.1', port }));
      for (const socket of sockets) socket.on('error', () => {}).resume();
      const closed = Promise.all(sockets.map((socket) => once(socket, 'close').catch(() => {})));
      await until(() => sockets.every((socket) => !socket.connecting), 10_000);
      await until(() => process.openDescriptors() <= before + 2_048, 10_000);
      for (const socket of sockets) socket.destroy();
      await closed;
      await until(() => process.openDescriptors() <= before, 20_000);
    }
    await worksAsBefore();
  });
});
