/**
 * The limits for strangers of a relay that shows a site; `sourceOf` replaces the addresses, because loopback is exempt.
 *
 * @module-tag waits
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { type RelayServerOptions, startRelayServer } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { tcpServer } from '../support/net/tcp.ts';
import { openRaw, rawExchange, readUntil } from '../support/proxy/raw-http.ts';

const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage';
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** A site of one page, which closes no connection. `eager`: it answers before a head is complete. */
const site = ({ eager = false } = {}): Promise<number> =>
  tcpServer((socket) =>
    socket
      .on('data', (chunk: Buffer) => (eager || chunk.includes('\r\n\r\n')) && socket.write(ANSWER))
      .on('end', () => socket.end()),
  );

async function start(overrides: Partial<RelayServerOptions> = {}) {
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  const lines: string[] = [];
  const links: MessageLink[] = [];
  const log = (fields: object, message: string): void => void lines.push(JSON.stringify({ ...fields, message }));
  const server = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets,
    onLink: (link) => links.push(link),
    logger: { debug: log, info: log, warn: log, error: log },
    sourceOf: () => 'crowd',
    upstream: { host: '127.0.0.1', port: await site(), isTls: false },
    ...overrides,
  });
  onTestFinished(() => {
    server.close();
    for (const link of links) link.abort();
  });
  const port = server.addresses[0]!.port;
  const dial = async (): Promise<void> => {
    const ticket = sealer.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, Date.now());
    const link = await dialWebSocket(new URL(`ws://127.0.0.1:${port}/${ticket}`), {
      signal: AbortSignal.timeout(10_000),
    });
    onTestFinished(() => link.abort());
  };
  return { port, lines, dial };
}

async function open(port: number): Promise<Socket> {
  const socket = openRaw(port);
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

it('an address that asks a site for two hundred pages, each on a connection of its own, gets all, and no penalty', async () => {
  const { port, lines, dial } = await start();
  for (let i = 0; i < 200; i++) {
    const socket = openRaw(port);
    socket.write(REQUEST);
    await readUntil(socket, 'page');
    socket.destroy();
  }
  expect(lines.filter((line) => line.includes('too often'))).toEqual([]);
  await dial();
});

it('a hundred silent connections of one address, and pages that stay, keep the next visitor of it from nothing', async () => {
  const { port } = await start();
  for (let i = 0; i < 100; i++) await open(port);
  const visitors = await Promise.all(Array.from({ length: 100 }, () => open(port)));
  const begun = performance.now();
  await Promise.all(
    visitors.map((socket) => {
      socket.write(REQUEST);
      return readUntil(socket, 'page');
    }),
  );
  expect(performance.now() - begun).toBeLessThan(3_000);
  expect(visitors.every((socket) => !socket.destroyed)).toBe(true);
});

it('without room for visitors a client gets in at once', async () => {
  const { port, dial } = await start({ limits: { visitors: 2 } });
  const visitors = await Promise.all(Array.from({ length: 2 }, () => open(port)));
  for (const socket of visitors) {
    socket.write(REQUEST);
    await readUntil(socket, 'page');
  }
  const waiting = await open(port);
  waiting.write(REQUEST);
  const begun = performance.now();
  await dial();
  expect(performance.now() - begun).toBeLessThan(2_000);
  // The idlest visitor gives way after 3 s.
  await readUntil(waiting, 'page');
});

it('a client gets in while silent connections of its own address hold all slots', async () => {
  const { port, dial } = await start({ limits: { pendingSockets: 8, pendingPerSource: 4 } });
  for (let i = 0; i < 8; i++) await open(port);
  await dial();
});

it.each([
  [false, '101 Switching Protocols'],
  [true, '200 OK'],
])(
  'a ticket that comes in two parts opens a link, unless the upstream has answered the first (%j)',
  async (eager, status) => {
    const { port } = await start({ upstream: { host: '127.0.0.1', port: await site({ eager }), isTls: false } });
    const ticket = sealer.seal({ role: 'client', destination: '', protocol: 1, features: 0 }, Date.now());
    const fields = ['Host: a', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
    const request = [`GET /${ticket} HTTP/1.1`, ...fields, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''].join(
      '\r\n',
    );
    // An answer to this one shows that the upstream is connected.
    const socket = (await open(port)).setNoDelay(true);
    socket.write(REQUEST);
    await readUntil(socket, 'page');
    socket.write(request.slice(0, 100));
    if (eager) await readUntil(socket, 'page');
    else await new Promise((resolve) => setImmediate(resolve));
    socket.write(request.slice(100));
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
  },
);

it('a visitor of an upstream that is gone gets a 502 also to HEAD, and one that sends nothing gets nothing', async () => {
  const { port } = await start({ upstream: { host: '127.0.0.1', port: 1, isTls: false } });
  const { bytes } = await rawExchange(port, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(bytes).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n.*Connection: close\r\n\r\n$/s);
  expect(await rawExchange(port, '', { limitMs: 300 })).toEqual({ bytes: '', end: 'open' });
});
