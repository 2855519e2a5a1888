/** The limits by address at a real relay; `sourceOf` stands in for addresses, since on loopback all are exempt. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { type RelayServerOptions, startRelayServer } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket-dial.ts';
import { makeCertificate } from '../support/certificate.ts';
import { openRaw, rawExchange } from '../support/raw-http.ts';
import { until } from '../support/until.ts';

const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const REQUEST = 'GET / HTTP/1.1\r\nHost: relay\r\n\r\n';

/** `source` is where new connections come from. */
async function start(overrides: Partial<RelayServerOptions> = {}) {
  const tickets = new TicketOpener(relay);
  tickets.setBearers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
  const links: MessageLink[] = [];
  const from: { source: string | undefined } = { source: 'crowd' };
  const penalties: object[] = [];
  const log = (fields: object): void => void ('penaltyMs' in fields && penalties.push(fields));
  const server = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets,
    onLink: (link) => links.push(link),
    logger: { debug: log, info: log, warn: log, error: log },
    sourceOf: () => from.source,
    ...overrides,
  });
  onTestFinished(() => {
    server.close();
    for (const link of links) link.abort();
  });
  const port = server.addresses[0]!.port;
  const dial = async (): Promise<void> => {
    const ticket = sealer.seal({ role: 'client', destination: '', protocol: 3, features: 5 }, Date.now());
    const link = await dialWebSocket(new URL(`ws://127.0.0.1:${port}/${ticket}`), {
      signal: AbortSignal.timeout(5000),
    });
    onTestFinished(() => link.abort());
  };
  return { port, from, penalties, dial };
}

async function openIdle(port: number): Promise<Socket> {
  const socket = openRaw(port);
  socket.on('error', () => {}).resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Connections that are answered and over, one after the other. */
async function knock(port: number, times: number, request = REQUEST): Promise<string[]> {
  const answers: string[] = [];
  for (let i = 0; i < times; i++) answers.push((await rawExchange(port, request)).bytes);
  return answers;
}

/** Failures are forgiven with time: on a slow machine it takes a few more than 21. */
async function knockUntil(condition: () => boolean, port: number, request?: string): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await knock(port, 1, request);
  expect(condition()).toBe(true);
}

it('one connection more than a source may have closes its oldest, and none of another source', async () => {
  const { port, from, dial } = await start({ limits: { pendingPerSource: 3 } });
  from.source = 'other';
  const other = await openIdle(port);
  from.source = 'crowd';
  const crowd = [await openIdle(port), await openIdle(port), await openIdle(port)];
  await dial(); // a ticket gets in through the crowd, at the cost of its oldest
  await until(() => crowd[0]?.closed === true);
  await openIdle(port);
  await dial();
  await until(() => crowd[1]?.closed === true);
  expect([crowd[2]?.closed, other.closed]).toEqual([false, false]);
});

it.each([
  ['plain requests', REQUEST],
  ['upgrades', 'GET /x HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['what is no HTTP', 'SSH-2.0-x\r\n\r\n'],
])('more than twenty of %s bring a penalty: a plain close, for that source alone', async (_what, request) => {
  const { port, from, penalties, dial } = await start();
  expect(new Set((await knock(port, 20, request)).map((answer) => answer.slice(0, 9)))).toEqual(new Set(['HTTP/1.1 ']));
  expect(penalties).toEqual([]);
  await knockUntil(() => penalties.length === 1, port, request);
  expect(penalties).toEqual([{ source: 'crowd', penaltyMs: 5000 }]);
  expect(await knock(port, 2, request)).toEqual(['', '']);
  from.source = 'other';
  expect((await knock(port, 1))[0]).toContain('404');
  await dial();
});

it('a good ticket clears what its source has failed', async () => {
  const { port, penalties, dial } = await start();
  for (let round = 0; round < 3; round++) {
    await knock(port, 15);
    await dial();
  }
  expect(penalties).toEqual([]);
});

it('over TLS too an address under a penalty is closed before the handshake', async () => {
  const { port, penalties } = await start({ tls: makeCertificate() });
  await knockUntil(() => penalties.length === 1, port);
  const socket = openRaw(port, true);
  socket.on('error', () => {}).resume();
  await until(() => socket.closed);
  expect(socket.bytesRead).toBe(0);
});

it.each([
  ['of an exempt address', { sourceOf: () => undefined }],
  ['with the bound set to 0', { limits: { pendingPerSource: 0 } }],
])('connections %s are neither bounded nor punished', async (_what, options) => {
  const { port, penalties } = await start(options);
  const idle = await Promise.all(Array.from({ length: 70 }, () => openIdle(port)));
  expect((await knock(port, 40)).every((answer) => answer.includes('404'))).toBe(true);
  expect(penalties).toEqual([]);
  expect(idle.some((socket) => socket.closed)).toBe(false);
});
