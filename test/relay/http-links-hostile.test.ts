/**
 * HTTP links whose client has a valid ticket and wants to harm the relay. @module-tag waits
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.ts';
import { HTTP_FEATURE, type HttpLinkKey } from '../../src/crypto/ticket.ts';
import type { RelayServerOptions } from '../../src/relay/relay-server.ts';
import { encodeRequest, type LinkRequest } from '../../src/transport/http/link-requests.ts';
import { Reassembly } from '../../src/transport/http/reassembly.ts';
import { type HttpLinkServer, startHttpLinkServer } from '../support/links/http-pair.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { openRaw, readUntil } from '../support/proxy/raw-http.ts';
import { until } from '../support/until.ts';

async function start(overrides: Partial<RelayServerOptions> = {}): Promise<HttpLinkServer> {
  const server = await startHttpLinkServer(overrides);
  onTestFinished(() => server.close());
  return server;
}

/** A site of one page. */
const site = (): Promise<number> =>
  tcpServer((socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage')));

function open(server: HttpLinkServer): Socket {
  const socket = openRaw(server.port);
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** By whatever end: a reset is none of a test's failures. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));

function ticketOf({ sealer }: HttpLinkServer): { readonly ticket: string; readonly key: HttpLinkKey } {
  const ticket = sealer.seal({ role: 'client', destination: '', protocol: 1, features: HTTP_FEATURE }, Date.now());
  return { ticket, key: sealer.httpLinkKey(ticket) };
}

const get = (path: string): string => `GET /${path} HTTP/1.1\r\nHost: relay\r\n\r\n`;

/** So that limits of seconds are over in tenths. */
const tenTimesAsFast: Clock = {
  ...systemClock,
  now: () => systemClock.now() * 10,
  setTimeout: <T>(callback: (argument: T) => void, delayMs: number, argument?: T) =>
    systemClock.setTimeout(callback, delayMs / 10, argument as T),
};

/** An open link whose client is this test. */
async function opened(server: HttpLinkServer) {
  const { ticket, key } = ticketOf(server);
  const down = open(server);
  down.write(get(ticket));
  const link = await server.nextLink();
  await readUntil(down, 'octet-stream');
  let sequence = 0;
  const path = (fields: Partial<LinkRequest>): string => {
    sequence += 1;
    return key.seal(encodeRequest({ kind: 'up', sequence, offset: 0, received: 0, waitMs: 0, ...fields }));
  };
  return { link, down, path };
}

const post = (path: string, body: string | number): string =>
  typeof body === 'number'
    ? `POST /${path} HTTP/1.1\r\nHost: relay\r\nContent-Length: ${body}\r\n\r\n`
    : `${post(path, body.length)}${body}`;

const later = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, 500, value));

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}

/** The collector frees buffers in a thread of its own. */
const untilFreed = (bytes: number): Promise<void> =>
  until(() => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers < bytes;
  });

/** What a socket that was not read gets in the end. */
async function readLate(socket: Socket, isWhole: (got: string) => boolean): Promise<string> {
  let got = '';
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1');
  });
  socket.resume();
  await Promise.race([closed(socket), until(() => isWhole(got))]);
  return got;
}

describe('one ticket', () => {
  it('opens one HTTP link at a relay that shows a site, whatever follows it on its connection', async () => {
    const server = await start({ upstream: { host: '127.0.0.1', port: await site(), isTls: false } });
    const { ticket } = ticketOf(server);
    const socket = open(server);
    socket.resume();
    socket.write(get(ticket) + get('').repeat(20));
    await server.nextLink();
    await closed(socket);
    expect(server.relay.linksFree).toBe(9_999);
  });
});

describe('a client that does not read', () => {
  it('loses its connection some time after its HTTP link has ended', async () => {
    const server = await start({ clock: tenTimesAsFast });
    const { link, down, path } = await opened(server);
    down.pause();
    // It acknowledges what it has not read, until no more goes out: the buffers of the system are full.
    const ups = open(server);
    for (let [received, before] = [0, -1]; received > before; ) {
      while (link.send([new Uint8Array(60_000)])) await new Promise((resolve) => setImmediate(resolve));
      ups.write(post(path({ received }), ''));
      before = received;
      const [answer] = (await once(ups, 'data')) as [Buffer];
      received = Number(answer.readBigUInt64BE(answer.indexOf('\r\n\r\n') + 12));
    }
    link.close();
    await until(() => server.relay.linksFree === 10_000);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const isWhole = (got: string): boolean => got.endsWith('0\r\n\r\n');
    expect(isWhole(await readLate(down, isWhole))).toBe(false);
  });

  it('makes an HTTP link hold two answers at most, however it polls', async () => {
    const server = await start();
    const { link, path } = await opened(server);
    while (link.queuedBytes < 500_000 && link.send([new Uint8Array(60_000)]));
    const socket = open(server).pause();
    socket.write(Array.from({ length: 12 }, () => get(path({ kind: 'poll' }))).join(''));
    const probe = open(server);
    probe.write(post(path({}), ''));
    await readUntil(probe, '200 OK');
    const countOf = (got: string): number => got.split('200 OK').length - 1;
    expect(countOf(await readLate(socket, (got) => countOf(got) === 12))).toBeLessThan(12);
  });
});

describe('an HTTP link that its owner has paused', () => {
  it('keeps of overlapping bodies what is new, and not the bodies', async () => {
    const server = await start();
    const { link, path } = await opened(server);
    link.setHandler(new LinkRecorder());
    const socket = open(server);
    const sendBytes = async (length: number): Promise<void> => {
      socket.write(post(path({}), '\0'.repeat(length)));
      await readUntil(socket, '200 OK');
    };
    await sendBytes(60_000);
    link.pause();
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 1; i <= 200; i++) await sendBytes(60_000 + i);
    await untilFreed(before + 2_000_000);
  });

  it('holds of a body that came ahead what is new, and not all of it', async () => {
    const intake = new Reassembly(() => {});
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    // All but the first byte of each is there already.
    for (let i = 1; i <= 100; i++) intake.take(100_000 - i, Buffer.alloc(60_000), 1_000_000);
    await untilFreed(before + 500_000);
    expect(intake.heldBytes).toBe(60_099);
  });

  it('reads only so much of one byte in each chunk that it keeps some hundred', async () => {
    const server = await start();
    const { link, path } = await opened(server);
    link.pause();
    link.setHandler(new LinkRecorder());
    const socket = open(server);
    socket.write(`POST /${path({})} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n`);
    socket.write(`${'1\r\n\0\r\n'.repeat(60_000)}0\r\n\r\n`);
    await expect(Promise.race([readUntil(socket, '200 OK'), later('none')])).resolves.toBe('none');
    link.resume();
    await readUntil(socket, '200 OK');
  });
});

describe('a body without end', () => {
  it('is cut some time after its HTTP link has ended', async () => {
    const server = await start({ clock: tenTimesAsFast });
    const { path } = await opened(server);
    const socket = open(server);
    socket.resume();
    socket.write(post(path({ kind: 'close' }), 500_000));
    const trickle = setInterval(() => socket.write('x'), 20);
    onTestFinished(() => clearInterval(trickle));
    await closed(socket);
  });
});

describe('requests behind others on one connection', () => {
  it('keep no HTTP link when that connection has ended', { timeout: 60_000 }, async () => {
    const server = await start({ clock: tenTimesAsFast });
    const { down, path } = await opened(server);
    const socket = open(server);
    socket.write(post(path({ offset: 100 }), 'ahead') + get(path({ kind: 'down' })) + post(path({}), 5));
    await readUntil(down, '0\r\n\r\n');
    down.destroy();
    socket.destroy();
    await until(() => server.relay.linksFree === 10_000, 8_000);
  });
});

it.each([false, true])(
  'a front end can send requests of an HTTP link and of strangers in turn on one connection (a site: %j)',
  async (hasVisitors) => {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', note);
    onTestFinished(() => void process.off('warning', note));
    const server = await start({ hasVisitors });
    const { path } = await opened(server);
    const socket = open(server);
    for (let i = 0; i < 30; i++) {
      socket.write(post(path({}), ''));
      await readUntil(socket, '200 OK');
      socket.write(get('page'));
      await readUntil(socket, 'Not Found');
    }
    expect(warnings).toEqual([]);
  },
);

it('a relay keeps nothing of strangers’ requests with a body that it has answered', async () => {
  const timers = new Set<unknown>();
  const counting: Clock = {
    ...systemClock,
    setTimeout: <T>(callback: (argument: T) => void, delayMs: number, argument?: T) => {
      const timer = systemClock.setTimeout(callback, delayMs, argument as T);
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => {
      timers.delete(timer);
      systemClock.clearTimeout(timer);
    },
  };
  const server = await start({ clock: counting });
  const socket = open(server);
  for (let i = 0; i < 50; i++) {
    socket.write(post('page', 'body'));
    await readUntil(socket, 'Not Found');
  }
  expect(timers.size).toBeLessThan(10);
});
