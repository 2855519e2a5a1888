import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import type { Admitted } from '../../src/relay/gate.ts';
import { type RelayLimits, type RelayServerOptions, startRelayServer } from '../../src/relay/relay-server.ts';
import type { MessageLink } from '../../src/transport/message-link.ts';
import { dialWebSocket } from '../../src/transport/websocket/websocket-dial.ts';
import { faultOfPromise } from '../support/faults.ts';
import { LinkRecorder } from '../support/links/link-recorder.ts';
import { trusting } from '../support/links/trusting.ts';
import { makeCertificate } from '../support/programs/certificate.ts';
import { openRaw, rawAnswer, rawExchange } from '../support/proxy/raw-http.ts';
import { advanceUntil } from '../support/time/advance-until.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';
import { until } from '../support/until.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const relay = createIdentity();
const alice = createIdentity();
const sealer = new TicketSealer(alice, relay.public.gate);
const seal = (): string => sealer.seal({ role: 'client', destination: 'home', protocol: 3, features: 5 }, Date.now());

async function start(overrides: Partial<RelayServerOptions> & { limits?: Partial<RelayLimits> } = {}) {
  const tickets = new TicketOpener(relay);
  tickets.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: 'home' }]);
  const links: { link: MessageLink; admitted: Admitted; recorder: LinkRecorder }[] = [];
  const lines: string[] = [];
  const log = (fields: object, message: string): void => void lines.push(JSON.stringify({ ...fields, message }));
  const server = await startRelayServer({
    listen: [LOOPBACK],
    tickets,
    onLink: (link, admitted) => links.push({ link, admitted, recorder: new LinkRecorder(link) }),
    logger: { debug: log, info: log, warn: log, error: log },
    ...overrides,
  });
  onTestFinished(() => {
    server.close();
    for (const { link } of links) link.abort();
  });
  const port = server.addresses[0]!.port;
  const dial = async (ticket = seal(), path = '', target = port): Promise<MessageLink> => {
    const link = await dialWebSocket(new URL(`ws://127.0.0.1:${target}${path}/${ticket}`), {
      signal: AbortSignal.timeout(5000),
    });
    onTestFinished(() => link.abort());
    return link;
  };
  return { server, port, links, lines, dial, tickets };
}

async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

describe('a valid ticket that opens no link', () => {
  const upgrade = (ticket: string): string =>
    `GET /${ticket} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const etagIn = (bytes: string): string => /^ETag: (.*)$/im.exec(bytes)?.[1] ?? '';

  it('a full relay tells the peer of a valid ticket so, and admits the same ticket when there is room', async () => {
    const { dial, port, links, lines } = await start({ limits: { links: 1 } });
    const first = await dial();
    await until(() => links.length === 1);
    const ticket = seal();
    const { bytes } = await rawExchange(port, upgrade(ticket), { tls: false });
    expect(sealer.refusalIn(etagIn(bytes), ticket)?.reason).toBe('relay-full');
    expect(lines.some((line) => line.includes('no link for alice'))).toBe(true);
    expect(await rawAnswer(port, upgrade('x'.repeat(168)), 'Not Found')).not.toContain('ETag');
    first.abort();
    await until(() => links[0]?.recorder.closes.length === 1);
    await dial(ticket);
  });

  it('a relay counts no failure for the address of a valid ticket whose upgrade a front end has dropped', async () => {
    const { port, lines } = await start({ sourceOf: () => '192.0.2.1' });
    for (let i = 0; i < 60; i++) {
      const ticket = seal();
      const plain = `GET /${ticket} HTTP/1.0\r\nConnection: close\r\n\r\n`;
      const { bytes } = await rawExchange(port, plain, { tls: false });
      expect([i, sealer.refusalIn(etagIn(bytes), ticket)?.reason]).toEqual([i, 'upgrade-dropped']);
    }
    expect(lines.filter((line) => line.includes('unauthenticated connections too often'))).toEqual([]);
  });
});

describe('the relay server', () => {
  it('a relay makes a link of a ticket, names its peer, and carries messages both ways', async () => {
    const { dial, links } = await start();
    const mine = await dial(seal(), '/some/prefix');
    const recorder = new LinkRecorder(mine);
    await until(() => links.length === 1);
    const { link, admitted, recorder: theirs } = links[0]!;
    expect(admitted).toEqual({ peer: 'alice', role: 'client', destination: 'home', protocol: 3, features: 5 });
    mine.send([Buffer.from('ping')]);
    await theirs.untilMessages(1);
    link.send([Buffer.from('pong')]);
    await recorder.untilMessages(1);
    expect([theirs.messages[0]!.toString(), recorder.messages[0]!.toString()]).toEqual(['ping', 'pong']);
  });

  it('a relay survives the reset of a connection on which an upgrade waits for earlier responses', {
    tags: ['waits'],
  }, async () => {
    const held: ServerResponse[] = [];
    const { port, server } = await start({ decoy: (_request, response) => void held.push(response) });
    const errors: unknown[] = [];
    const note = (error: unknown): void => void errors.push(error);
    process.on('uncaughtException', note);
    onTestFinished(() => void process.off('uncaughtException', note));
    const socket = openRaw(port);
    await once(socket, 'connect');
    const upgrade = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
    socket.write(`GET / HTTP/1.1\r\nHost: relay\r\n\r\nGET /${seal()} HTTP/1.1\r\nHost: relay\r\n`);
    socket.write(`${[...upgrade, key].join('\r\n')}\r\n\r\n`);
    await until(() => held[0]?.socket?.listenerCount('data') === 0);
    socket.resetAndDestroy();
    await closed(socket);
    held[0]?.end('too late');
    await until(() => held[0]?.destroyed === true);
    expect([errors, server.linksFree]).toEqual([[], 10_000]);
  });

  it.each(['http', 'https'])(
    'a relay sets TCP keep-alive on connections over %s, to detect peers that disappear',
    async (scheme) => {
      const { port } = await start(scheme === 'https' ? { tls: makeCertificate() } : {});
      const socket = openRaw(port);
      onTestFinished(() => void socket.destroy());
      await once(socket, 'connect');
      const sockets = (): string => execFileSync('ss', ['-tnoH', `sport = :${port}`], { encoding: 'utf8' });
      await until(() => sockets().includes('timer:(keepalive,'));
    },
  );

  it('a relay makes one link of a ticket that comes many times at once', async () => {
    const { dial, links } = await start();
    const ticket = seal();
    const results = await Promise.all(Array.from({ length: 10 }, () => faultOfPromise(dial(ticket))));
    expect(results.filter((fault) => fault === undefined)).toHaveLength(1);
    expect(results.filter((fault) => fault === 'relay-refused')).toHaveLength(9);
    await until(() => links.length === 1);
  });

  it('a relay with a path admits only tickets directly below it', async () => {
    const { dial } = await start({ path: '/a' });
    expect(await faultOfPromise(dial(seal()))).toBe('relay-refused');
    expect(await faultOfPromise(dial(seal(), '/a/b'))).toBe('relay-refused');
    await dial(seal(), '/a');
  });

  it('a relay listens on several addresses that share one gate', async () => {
    const { dial, server } = await start({ listen: [LOOPBACK, { host: '::1', port: 0 }, LOOPBACK] });
    expect(server.addresses.map(({ host }) => host)).toEqual(['127.0.0.1', '::1', '127.0.0.1']);
    const ticket = seal();
    await dial(ticket, '', server.addresses[0]!.port);
    expect(await faultOfPromise(dial(ticket, '', server.addresses[2]!.port))).toBe('relay-refused');
  });

  it('a relay carries links over TLS, and drops plain HTTP on that port', async () => {
    const tls = makeCertificate();
    const { port, links } = await start({ tls });
    const url = new URL(`wss://localhost:${port}/${seal()}`);
    const link = await dialWebSocket(url, { signal: AbortSignal.timeout(5000), reach: trusting(tls.cert) });
    onTestFinished(() => link.abort());
    await until(() => links.length === 1);
    const { bytes } = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: relay\r\n\r\n');
    expect(bytes).not.toContain('HTTP');
  });

  it('a relay never logs a ticket, and logs the peer whose ticket it rejects', async () => {
    const { dial, lines, tickets } = await start();
    const used = seal();
    await dial(used);
    await faultOfPromise(dial(used));
    const late = sealer.seal({ role: 'client', destination: 'home', protocol: 3, features: 5 }, Date.now() - 125_000);
    await faultOfPromise(dial(late));
    tickets.setPeers([]);
    const unknown = seal();
    await faultOfPromise(dial(unknown));
    const log = lines.join('\n');
    expect(log).toMatch(/"peer":"alice","reason":"replayed"/);
    for (const ticket of [used, late, unknown]) expect(log).not.toContain(ticket.slice(0, 20));
  });

  it('a relay shows the decoy of its owner to every request without a ticket', async () => {
    const decoy = vi.fn((_request, response) => response.end('my blog'));
    const { port, dial } = await start({ decoy });
    for (const request of [
      'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    ]) {
      expect(await rawAnswer(port, request, 'my blog')).toMatch(/^HTTP\/1.1 200 OK\r\n[\s\S]*\r\n\r\nmy blog$/);
    }
    await dial();
    expect(decoy).toHaveBeenCalledTimes(2);
  });

  it('a relay that closes leaves its links open, and frees its address at once', async () => {
    const { server, dial, links, port, tickets } = await start();
    const recorder = new LinkRecorder(await dial());
    await until(() => links.length === 1);
    const idle = openRaw(port);
    await once(idle, 'connect');
    server.close();
    await closed(idle);
    const again = await startRelayServer({
      listen: [{ host: '127.0.0.1', port }],
      tickets,
      onLink: (link) => link.abort(),
      logger: silentLogger,
    });
    again.close();
    links[0]!.link.send([Buffer.from('still here')]);
    await recorder.untilMessages(1);
  });
});

describe('the limits of the relay server', () => {
  it('a relay closes a connection that sends nothing, a slow head, or a slow TLS handshake', async () => {
    const { port } = await start({ limits: { requestMs: 300 } });
    const { port: tlsPort } = await start({ tls: makeCertificate(), limits: { requestMs: 300 } });
    const begun = performance.now();
    const silent = openRaw(port);
    const slow = openRaw(port);
    const drip = setInterval(() => slow.write('x'), 20);
    onTestFinished(() => clearInterval(drip));
    slow.write('GET / HTTP/1.1\r\nHost: relay\r\nX: ');
    const handshake = openRaw(tlsPort);
    await Promise.all([silent, slow, handshake].map(closed));
    expect(performance.now() - begun).toBeGreaterThanOrEqual(250);
    expect(performance.now() - begun).toBeLessThan(4000);
  });

  it('a relay answers a slow request with 408, as Node does', async () => {
    const { port } = await start({ limits: { requestMs: 200 } });
    const { bytes } = await rawExchange(port, 'GET / HTTP/1.1\r\n');
    expect(bytes).toBe('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
  });

  it('a relay answers a flood of headers with 431', async () => {
    const { port } = await start();
    const many = await rawExchange(port, `GET / HTTP/1.1\r\nHost: a\r\n${'X: 1\r\n'.repeat(100_000)}`);
    expect(many.bytes).toMatch(/^HTTP\/1.1 431 /);
    const endless = await rawExchange(port, `GET /${'x'.repeat(1_000_000)}`);
    expect(endless.bytes).toMatch(/^HTTP\/1.1 431 /);
  });

  it('a relay closes the oldest of too many strangers, so that a client with a ticket gets in', async () => {
    const clock = new VirtualClock({ wallTime: Date.now() });
    const { port, dial, links } = await start({ clock, limits: { pendingSockets: 5 } });
    const strangers: Socket[] = [];
    for (let i = 0; i < 5; i++) {
      const socket = openRaw(port);
      strangers.push(socket);
      await once(socket, 'connect');
    }
    for (const socket of strangers) void closed(socket);
    const dialled = dial();
    await advanceUntil(clock, () => strangers[0]!.closed, 5_000);
    await dialled;
    await until(() => links.length === 1);
    expect(strangers.slice(1).every((socket) => !socket.closed)).toBe(true);
    // The link is not a stranger any more: it is not closed for others.
    for (let i = 0; i < 10; i++) {
      const socket = openRaw(port);
      strangers.push(socket);
      await once(socket, 'connect');
    }
    for (const socket of strangers.slice(5)) void closed(socket);
    await advanceUntil(clock, () => strangers.slice(1, 9).every((socket) => socket.closed), 10_000);
    expect(links[0]!.recorder.closes).toEqual([]);
    for (const socket of strangers) socket.destroy();
  });

  it('a relay does not count a link over TLS as a stranger', async () => {
    const tls = makeCertificate();
    const clock = new VirtualClock({ wallTime: Date.now() });
    const { port, links } = await start({ clock, tls, limits: { pendingSockets: 2 } });
    const url = new URL(`wss://localhost:${port}/${seal()}`);
    const link = await dialWebSocket(url, { signal: AbortSignal.timeout(5000), reach: trusting(tls.cert) });
    const recorder = new LinkRecorder(link);
    onTestFinished(() => link.abort());
    await until(() => links.length === 1);
    const strangers = Array.from({ length: 6 }, () => openRaw(port, true));
    const gone = strangers.map((socket) => closed(socket).then(() => socket));
    await advanceUntil(clock, () => strangers.filter((socket) => socket.closed).length >= 4, 10_000);
    links[0]!.link.send([Buffer.from('still here')]);
    await recorder.untilMessages(1);
    for (const socket of strangers) socket.destroy();
    await Promise.all(gone);
  });

  it('a relay at its maximum of links rejects a ticket without using it up, and admits it when a link ends', async () => {
    const { dial, links, lines } = await start({ limits: { links: 2 } });
    const first = await dial();
    await dial();
    await until(() => links.length === 2);
    const ticket = seal();
    expect(await faultOfPromise(dial(ticket))).toBe('relay-refused');
    expect(lines.filter((line) => line.includes('is at its maximum number of links'))).toHaveLength(1);
    first.abort();
    await links[0]!.recorder.untilClosed();
    await dial(ticket);
  });

  it('a relay stops counting a link whose peer resets during the upgrade', async () => {
    const { port, dial, links } = await start({ limits: { links: 1 } });
    const head = ['Host: a', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
    for (let i = 0; i < 20; i++) {
      const socket = openRaw(port);
      await once(socket, 'connect');
      socket.write(
        `GET /${seal()} HTTP/1.1\r\n${head.join('\r\n')}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      );
      socket.resetAndDestroy();
    }
    await vi.waitFor(() => dial(), { timeout: 30_000, interval: 20 });
    for (const { link } of links) link.abort();
  });
});

describe('startRelayServer', () => {
  it('startRelayServer fails with the address if something else listens there, and listens nowhere', async () => {
    const { port, tickets } = await start();
    const { port: free, server } = await start();
    server.close();
    const options = { tickets, onLink: () => {}, logger: silentLogger };
    const failing = startRelayServer({
      ...options,
      listen: [
        { host: '127.0.0.1', port: free },
        { host: '127.0.0.1', port },
      ],
    });
    await expect(failing).rejects.toThrow(`127.0.0.1:${port}: another program already listens there`);
    await expect(failing).rejects.toMatchObject({ fault: 'cannot-listen' });
    const again = await startRelayServer({ ...options, listen: [{ host: '127.0.0.1', port: free }] });
    again.close();
  });

  it('startRelayServer fails with the address if it belongs to another machine', async () => {
    await expect(start({ listen: [{ host: '192.0.2.1', port: 8080 }] })).rejects.toThrow(
      /192\.0\.2\.1:8080: this machine/,
    );
    await expect(start({ listen: [{ host: '2001:db8::1', port: 8080 }] })).rejects.toThrow(/\[2001:db8::1\]:8080: /);
  });

  it('startRelayServer rejects a damaged certificate or one for another key, and shows no key', async () => {
    const [one, two] = [makeCertificate(), makeCertificate()];
    for (const tls of [
      { cert: one.cert, key: two.key },
      { cert: 'nonsense', key: one.key },
      { cert: one.cert, key: 'nonsense' },
      { cert: '', key: '' },
    ]) {
      const failing = start({ tls });
      await expect(failing).rejects.toMatchObject({ fault: 'bad-certificate' });
      await expect(failing).rejects.not.toThrow(/PRIVATE|nonsense/);
    }
  });
});
