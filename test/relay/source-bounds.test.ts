/** The limits by address at a real relay; `sourceOf` replaces the addresses, because loopback is exempt. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { type RelayServerOptions, startRelayServer } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { trusting } from '../support/links/trusting.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { openRaw } from '../support/proxy/raw-http.ts';
import { advanceUntil } from '../support/time/advance-until.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const relay = createIdentity();
const alice = createIdentity();
const home = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const exitSealer = new TicketSealer(home, relay.public.gate);
const FIELDS = { destination: '', protocol: 3, features: 5 };
const ticket = (): string => sealer.seal({ role: 'client', ...FIELDS }, Date.now());
const REQUEST = 'GET / HTTP/1.1\r\nHost: relay\r\n\r\n';

/** Valid for tickets of now. */
const newClock = (): VirtualClock => new VirtualClock({ wallTime: Date.now() });

/** `source` is where new connections come from. */
async function start(overrides: Partial<RelayServerOptions> = {}) {
  const tickets = new TicketOpener(relay);
  tickets.setPeers([
    { name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' },
    { name: 'home', gateKey: home.public.gate, role: 'exit', destination: '' },
  ]);
  const links: MessageLink[] = [];
  /** `asked`: how often the source of a connection was asked for, first when it is accepted. */
  const from: { source: string | undefined; asked: number } = { source: 'crowd', asked: 0 };
  const penalties: object[] = [];
  const log = (fields: object): void => void ('penaltyMs' in fields && penalties.push(fields));
  const server = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets,
    onLink: (link) => links.push(link),
    logger: { debug: log, info: log, warn: log, error: log },
    sourceOf: () => {
      from.asked += 1;
      return from.source;
    },
    ...overrides,
  });
  onTestFinished(() => {
    server.close();
    for (const link of links) link.abort();
  });
  const port = server.addresses[0]!.port;
  const open = async (text: string): Promise<void> => {
    const scheme = overrides.tls === undefined ? 'ws' : 'wss';
    const options = {
      signal: AbortSignal.timeout(15_000),
      ...(overrides.tls && { reach: trusting(overrides.tls.cert) }),
    };
    const link = await dialWebSocket(new URL(`${scheme}://127.0.0.1:${port}/${text}`), options);
    onTestFinished(() => link.abort());
  };
  const dial = (): Promise<void> => open(ticket());
  const register = (): Promise<void> => open(exitSealer.seal({ role: 'exit', ...FIELDS }, Date.now()));
  return { port, from, penalties, links, tickets, dial, register };
}

async function openIdle(port: number): Promise<Socket> {
  const socket = openRaw(port);
  socket.on('error', () => {}).resume();
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Sends each request on a connection of its own, one after the other. */
async function knock(port: number, times: number, request = REQUEST, isTls = false): Promise<string[]> {
  const answers: string[] = [];
  for (let i = 0; i < times; i++) answers.push(await answerTo(port, request, isTls));
  return answers;
}

/** Closes as soon as it has the response: the relay would keep the connection for another request. */
async function answerTo(port: number, request: string, isTls: boolean): Promise<string> {
  const socket = openRaw(port, isTls);
  let answer = '';
  await new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) socket.once(event, () => resolve());
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
      if (answer.endsWith('Not Found')) resolve();
    });
    socket.write(request);
  });
  socket.destroy();
  return answer;
}

function upgradeOf(target: string): string {
  const head = [`GET ${target} HTTP/1.1`, 'Host: relay', 'Connection: Upgrade', 'Upgrade: websocket'];
  const webSocket = ['Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`];
  return `${[...head, ...webSocket].join('\r\n')}\r\n\r\n`;
}

/** The status line of the answer on a connection that was idle. */
async function upgradeOver(raw: Socket, isTls: boolean, text: string): Promise<string> {
  const socket = isTls ? connectTls({ socket: raw, rejectUnauthorized: false }) : raw;
  socket.on('error', () => {});
  socket.write(upgradeOf(`/${text}`));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
    const [line, rest] = Buffer.concat(chunks).toString('latin1').split('\r\n');
    if (line !== undefined && rest !== undefined) return line;
  }
  return 'closed';
}

/** Failures expire with time: on a slow machine it takes a few more than 21. */
async function knockUntil(condition: () => boolean, port: number, request?: string): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await knock(port, 1, request);
  expect(condition()).toBe(true);
}

it('PendingSockets lets a connection beyond the limit of its source wait, and disturbs no other source', async () => {
  const clock = newClock();
  const { port, from, dial, penalties } = await start({ clock, limits: { pendingPerSource: 3 } });
  from.source = 'other';
  const other = await openIdle(port);
  from.source = 'crowd';
  const crowd = [await openIdle(port), await openIdle(port), await openIdle(port)];
  let isIn = false;
  const dialled = dial().then(() => {
    isIn = true;
  });
  crowd[2]?.write(REQUEST);
  await until(() => from.asked === 5);
  await clock.advance(2_900);
  expect([isIn, ...crowd.map((socket) => socket.closed)]).toEqual([false, false, false, false]);
  await clock.advance(200);
  await dialled;
  await until(() => crowd[0]?.closed === true);
  expect([isIn, crowd[1]?.closed, other.closed, penalties]).toEqual([true, false, false, []]);
});

it('PendingSockets closes an idle connection after three seconds if another of its source waits', async () => {
  const clock = newClock();
  const { port, from, dial } = await start({ clock, limits: { pendingPerSource: 3 } });
  const crowd = [await openIdle(port), await openIdle(port), await openIdle(port)];
  const dialled = dial();
  await until(() => from.asked === 4);
  await clock.advance(2_900);
  expect(crowd[0]?.closed).toBe(false);
  await clock.advance(200);
  await dialled;
  await until(() => crowd[0]?.closed === true);
});

it('PendingSockets closes the newest if too many connections of a source wait, without a penalty', async () => {
  const { port, penalties } = await start({ limits: { pendingPerSource: 3 } });
  const crowd: Socket[] = [];
  for (let i = 0; i < 12; i++) crowd.push(await openIdle(port));
  const late = await Promise.all(Array.from({ length: 30 }, () => openIdle(port)));
  await until(() => late.every((socket) => socket.closed));
  expect(penalties).toEqual([]);
});

it.each(['http', 'https'])(
  'a relay admits a hundred clients behind one address at once over %s, on a slow path too',
  async (scheme) => {
    const { port, from, penalties, links } = await start(scheme === 'https' ? { tls: makeCertificate() } : {});
    // All are accepted before the first says anything: as where a round trip is long.
    const sockets = await Promise.all(Array.from({ length: 100 }, () => openIdle(port)));
    await until(() => from.asked === 100);
    const opened = sockets.map((socket) => upgradeOver(socket, scheme === 'https', ticket()));
    expect(new Set(await Promise.all(opened))).toEqual(new Set(['HTTP/1.1 101 Switching Protocols']));
    expect([links.length, penalties]).toEqual([100, []]);
  },
);

it('a relay lets a registered exit dial for 200 clients at once over TLS, and fail with all of them', async () => {
  const { port, from, penalties, register } = await start({ tls: makeCertificate() });
  await register();
  const { asked } = from;
  const sockets = await Promise.all(Array.from({ length: 200 }, () => openIdle(port)));
  await until(() => from.asked === asked + 200);
  const opened = sockets.map((socket) => upgradeOver(socket, true, ticket()));
  expect(new Set(await Promise.all(opened))).toEqual(new Set(['HTTP/1.1 101 Switching Protocols']));
  await knock(port, 40, REQUEST, true);
  expect(penalties).toEqual([]);
});

it.each([
  ['plain requests', REQUEST],
  ['upgrades', 'GET /x HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['what is no HTTP', 'SSH-2.0-x\r\n\r\n'],
])(
  'a relay puts a source that sends more than twenty of %s under a penalty: its connections are just closed',
  async (_what, request) => {
    const { port, from, penalties, dial } = await start();
    expect(new Set((await knock(port, 20, request)).map((answer) => answer.slice(0, 9)))).toEqual(
      new Set(['HTTP/1.1 ']),
    );
    expect(penalties).toEqual([]);
    await knockUntil(() => penalties.length === 1, port, request);
    expect(penalties).toEqual([{ source: 'crowd', penaltyMs: 5000 }]);
    expect(await knock(port, 2, request)).toEqual(['', '']);
    from.source = 'other';
    expect((await knock(port, 1))[0]).toContain('404');
    await dial();
  },
);

it('a relay forgets the failures of a source from which a valid ticket comes', async () => {
  const { port, penalties, dial } = await start();
  for (let round = 0; round < 3; round++) {
    await knock(port, 15);
    await dial();
  }
  expect(penalties).toEqual([]);
});

it.each(['http', 'https'])(
  'a relay admits a client over %s from an address under a penalty, and answers nothing else from there',
  async (scheme) => {
    const isTls = scheme === 'https';
    const { port, penalties, links } = await start(isTls ? { tls: makeCertificate() } : {});
    for (let i = 0; i < 100 && penalties.length === 0; i++) await knock(port, 1, REQUEST, isTls);
    expect(penalties).toHaveLength(1);
    const upgrade = upgradeOf(`/${'A'.repeat(168)}`);
    for (const request of [REQUEST, upgrade, 'SSH-2.0-x\r\n\r\n', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'])
      expect(await knock(port, 1, request, isTls)).toEqual(['']);
    // As a page does that asks for something again and again, six times at once.
    let isOver = false;
    const page = Array.from({ length: 6 }, async () => {
      while (!isOver) await knock(port, 1, REQUEST, isTls);
    });
    const used = ticket();
    expect(await upgradeOver(await openIdle(port), isTls, used)).toBe('HTTP/1.1 101 Switching Protocols');
    isOver = true;
    await Promise.all(page);
    expect(links).toHaveLength(1);
  },
);

it('a relay answers a used ticket from an address under a penalty as little as a request without a ticket', async () => {
  const { port, penalties } = await start();
  const used = ticket();
  await upgradeOver(await openIdle(port), false, used);
  await knockUntil(() => penalties.length === 1, port);
  expect(await knock(port, 1, upgradeOf(`/${used}`))).toEqual(['']);
});

it('PendingSockets serves four connections of an address under a penalty, for three seconds; 32 wait', async () => {
  const clock = newClock();
  const { port, from, penalties } = await start({ clock });
  await knockUntil(() => penalties.length === 1, port);
  const { asked } = from;
  const idle = await Promise.all(Array.from({ length: 40 }, () => openIdle(port)));
  await until(() => from.asked === asked + 40);
  await until(() => idle.filter((socket) => socket.closed).length >= 4);
  await clock.advance(2_900);
  expect(idle.filter((socket) => !socket.closed)).toHaveLength(36);
  await advanceUntil(clock, () => idle.filter((socket) => !socket.closed).length <= 32, 500);
});

it('a relay reads no connection while it loads keys, and then answers all that came meanwhile', async () => {
  let settle = (): void => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const late = createIdentity();
  const { port, tickets, dial, links } = await start({ settled });
  const known = dial();
  const text = new TicketSealer(late, relay.public.gate).seal({ role: 'client', ...FIELDS }, Date.now());
  const lateAnswer = upgradeOver(await openIdle(port), false, text);
  const stranger = upgradeOver(await openIdle(port), false, 'A'.repeat(168));
  const plain = answerTo(port, REQUEST, false);
  const first = await Promise.race([known, lateAnswer, stranger, plain, delay(300, 'nothing')]);
  tickets.add({ name: 'home/1', gateKey: late.public.gate, role: 'client', destination: '' });
  settle();
  await known;
  expect([first, await lateAnswer, await stranger, (await plain).slice(0, 12), links.length]).toEqual([
    'nothing',
    'HTTP/1.1 101 Switching Protocols',
    'HTTP/1.1 404 Not Found',
    'HTTP/1.1 404',
    2,
  ]);
});

it.each([
  ['from an exempt address', { sourceOf: () => undefined }],
  ['if the limit is set to 0', { limits: { pendingPerSource: 0 } }],
])('a relay neither limits nor penalises connections %s', async (_what, options) => {
  const { port, penalties } = await start(options);
  const idle = await Promise.all(Array.from({ length: 70 }, () => openIdle(port)));
  expect((await knock(port, 40)).every((answer) => answer.includes('404'))).toBe(true);
  expect(penalties).toEqual([]);
  expect(idle.some((socket) => socket.closed)).toBe(false);
});
