/** Listeners of an exit at real ports of this machine; their time is passed in. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { parseListenRule } from '../../../src/exit/listen/listen-rules.ts';
import type { Resolver } from '../../../src/exit/resolver.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit, type ExitOptions } from '../../../src/exit/serving/exit.ts';
import { parseIp } from '../../../src/net/ip.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import type { Service } from '../../../src/protocol/services.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';

import { PATIENCE } from '../../support/patience.ts';
import { freePort } from '../../support/programs/programs.ts';
import { FakeOffer, nameTarget } from '../../support/proxy/fake-offer.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const WAIT = { timeout: 5_000 * PATIENCE, interval: 2 };
const at = (text: string, port: number): Target => ({ kind: 'ip', ip: parseIp(text)!, port });

const noNames: Resolver = {
  fullNamesOf: (name) => [name],
  resolve: () => Promise.reject(new WstunError('dial-name-unknown')),
};

let rules: Record<string, string[]> = {};
let own: number[] = [];
let offers: FakeOffer[] = [];
let closers: (() => void)[] = [];
let clock: VirtualClock;
let port = 0;

function exitWith(options: Partial<ExitOptions> = {}): Exit {
  return new Exit({
    ...{ resolver: noNames, logger: silentLogger, clock },
    rulesFor: () => [parseRule('127.0.0.1')],
    listenRulesFor: (peer) => (rules[peer] ?? []).map(parseListenRule),
    ownEndpoints: () => ({ addresses: [], ports: own }),
    ...options,
  });
}

function offerTo(exit: Exit, target: Target, { peer = 'laptop', service = 'tcp-listener' as Service } = {}): FakeOffer {
  const offer = new FakeOffer(target, peer, service);
  offers.push(offer);
  exit.handleOffer(offer);
  return offer;
}

async function opened(...parts: Parameters<typeof offerTo>): Promise<FakeOffer> {
  const offer = offerTo(...parts);
  await Promise.race([offer.accepted, offer.refused]);
  expect(offer.calls).toEqual(['accept']);
  return offer;
}

async function program(to: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port: to, host, allowHalfOpen: true });
  closers.push(() => socket.destroy());
  socket.on('error', () => {});
  // It may be reset at once.
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return socket;
}

/** All that comes until the other side has finished. Leaves the other direction open. */
async function read(from: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  from.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(from, 'end');
  return Buffer.concat(chunks);
}

async function occupy(at: number): Promise<Server> {
  const server = createServer().listen(at, '127.0.0.1');
  closers.push(() => server.close());
  await once(server, 'listening');
  return server;
}

const refusesConnections = async (to: number) => {
  const socket = connect(to, '127.0.0.1');
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code === 'ECONNREFUSED';
};

beforeEach(async () => {
  port = await freePort();
  rules = { laptop: [`127.0.0.1:${port}`] };
  own = [];
  clock = new VirtualClock();
});

afterEach(async () => {
  for (const close of closers) close();
  for (const offer of offers) offer.abandon();
  await Promise.all(offers.map(({ released }) => released));
  [offers, closers] = [[], []];
});

describe('a TCP listener', () => {
  it('offers what it accepts to the client, with who has connected, and pipes it both ways', async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port));
    expect(offer.bound).toEqual(at('127.0.0.1', port));
    const socket = await program(port);
    socket.end('question');
    await vi.waitFor(() => expect(offer.connections).toHaveLength(1), WAIT);
    const { remote, farEnd } = offer.connections[0]!;
    expect(remote).toEqual(at('127.0.0.1', socket.localPort!));
    expect((await read(farEnd)).toString()).toBe('question');
    // Half-closed: the other direction goes on.
    farEnd.end(Buffer.alloc(1_000_000, 'a'));
    expect(await read(socket)).toHaveLength(1_000_000);
  });

  it('resets a connection that the client does not take', async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port));
    offer.takesConnections = false;
    const socket = await program(port);
    if (!socket.closed) await once(socket, 'close');
    expect(socket.readableEnded).toBe(false);
  });

  it('lets its connections go on when it is closed, and gives its port back at once', async () => {
    const exit = exitWith();
    const offer = await opened(exit, at('127.0.0.1', port));
    const socket = await program(port);
    await vi.waitFor(() => expect(offer.connections).toHaveLength(1), WAIT);
    offer.abandon();
    await offer.released;
    expect(await refusesConnections(port)).toBe(true);
    const again = await opened(exit, at('127.0.0.1', port));
    expect(again.bound).toEqual(at('127.0.0.1', port));
    offer.connections[0]!.farEnd.end('still here');
    expect(String((await once(socket, 'data'))[0])).toBe('still here');
    expect(exit.counters().open).toBe(2);
  });

  it('resets connections beyond 128 that the client has not taken', { tags: ['waits'] }, async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port));
    offer.takesConnections = undefined;
    const sockets = await Promise.all(Array.from({ length: 140 }, () => program(port)));
    await vi.waitFor(
      () => expect(sockets.filter(({ destroyed }) => destroyed).length).toBeGreaterThanOrEqual(12),
      WAIT,
    );
    expect(offer.connections.length + offer.asked).toBe(128);
    offer.abandon();
    await vi.waitFor(() => expect(sockets.every(({ destroyed }) => destroyed)).toBe(true), WAIT);
  });

  it('resets connections while the process is short of descriptors, or the quota is used up', async () => {
    let isOverloaded = false;
    let isUsedUp = false;
    const quotas = { isUsedUp: () => isUsedUp, count: () => {} };
    const offer = await opened(exitWith({ isOverloaded: () => isOverloaded, quotas }), at('127.0.0.1', port));
    for (const spoil of [
      () => {
        isOverloaded = true;
      },
      () => {
        isOverloaded = false;
        isUsedUp = true;
      },
    ]) {
      spoil();
      const socket = await program(port);
      if (!socket.closed) await once(socket, 'close');
    }
    expect(offer.connections).toEqual([]);
    isUsedUp = false;
    await program(port);
    await vi.waitFor(() => expect(offer.connections).toHaveLength(1), WAIT);
  });

  it('at all addresses says who has connected as an IPv4 address', async () => {
    rules = { laptop: [`*:${port}`] };
    const offer = await opened(exitWith(), nameTarget('*', port));
    const socket = await program(port);
    await vi.waitFor(() => expect(offer.connections).toHaveLength(1), WAIT);
    expect(offer.connections[0]!.remote).toEqual(at('127.0.0.1', socket.localPort!));
    await program(port, '::1');
    await vi.waitFor(() => expect(offer.connections).toHaveLength(2), WAIT);
  });

  it('with port 0 takes a free one of those that the rules allow', async () => {
    const [one, two] = [port, await freePort()];
    rules = { laptop: [`127.0.0.1:${one},${two}`] };
    const exit = exitWith();
    const ports: (number | undefined)[] = [];
    for (let turn = 0; turn < 2; turn++) ports.push((await opened(exit, at('127.0.0.1', 0))).bound?.port);
    expect(new Set(ports)).toEqual(new Set([one, two]));
    expect(await offerTo(exit, at('127.0.0.1', 0)).refused).toBe('listen-in-use');
  });

  it('with port 0 never takes a port of this program', async () => {
    own = [port];
    expect(await offerTo(exitWith(), at('127.0.0.1', 0)).refused).toBe('listen-in-use');
  });
});

describe('a listener that is refused', () => {
  it.each<[string, string, string[]]>([
    ['127.0.0.1', 'listen-not-allowed', []],
    ['127.0.0.1', 'listen-not-allowed', ['127.0.0.1:1']],
    ['127.0.0.1', 'listen-not-allowed', ['[::1]:PORT']],
    ['0.0.0.0', 'listen-not-allowed', ['127.0.0.1:PORT']],
    ['::', 'listen-not-allowed', ['0.0.0.0:PORT']],
    ['*', 'listen-not-allowed', ['127.0.0.1:PORT']],
    ['example.com', 'listen-failed', ['*:PORT']],
    ['203.0.113.9', 'listen-failed', ['*:PORT']],
  ])('at %s: %s, with the rules %j', async (host, fault, listen) => {
    rules = { laptop: listen.map((rule) => rule.replace('PORT', String(port))) };
    for (const service of ['tcp-listener', 'udp-listener'] as const) {
      const offer = offerTo(exitWith(), nameTarget(host, port), { service });
      await offer.released;
      expect(offer.calls).toEqual([`refuse ${fault}`, 'release']);
    }
  });

  it('below port 1024 is allowed only by a rule that names the port', async () => {
    rules = { laptop: ['127.0.0.1:*'] };
    expect(await offerTo(exitWith(), at('127.0.0.1', 443)).refused).toBe('listen-not-allowed');
  });

  it('at a port of this program is not allowed, whatever the rules say', async () => {
    own = [port];
    rules = { laptop: [`*:${port}`] };
    expect(await offerTo(exitWith(), at('0.0.0.0', port)).refused).toBe('listen-not-allowed');
  });

  it('at a port of another program or of another client is in use', async () => {
    rules = { laptop: [`127.0.0.1:${port}`], phone: [`127.0.0.1:${port}`] };
    const exit = exitWith();
    const server = await occupy(port);
    expect(await offerTo(exit, at('127.0.0.1', port)).refused).toBe('listen-in-use');
    server.close();
    await once(server, 'close');
    await opened(exit, at('127.0.0.1', port), { peer: 'phone' });
    expect(await offerTo(exit, at('127.0.0.1', port)).refused).toBe('listen-in-use');
    await opened(exit, at('127.0.0.1', port), { peer: 'phone', service: 'udp-listener' });
    expect(await offerTo(exit, at('127.0.0.1', port), { service: 'udp-listener' }).refused).toBe('listen-in-use');
  });

  it('is the 65th of an access entry; those of others are not counted', async () => {
    rules = { laptop: ['127.0.0.1:20000-60000'], phone: ['127.0.0.1:20000-60000'] };
    const exit = exitWith();
    for (let count = 0; count < 64; count++) await opened(exit, at('127.0.0.1', 0));
    expect(await offerTo(exit, at('127.0.0.1', 0)).refused).toBe('dial-busy');
    await opened(exit, at('127.0.0.1', 0), { peer: 'phone' });
  });
});

describe('a listener whose session has no link', () => {
  it.each(['tcp-listener', 'udp-listener'] as const)(
    'gives way to another session of the same client after 5 s, and to nobody before: %s',
    async (service) => {
      rules = { laptop: [`127.0.0.1:${port}`], phone: [`127.0.0.1:${port}`] };
      const exit = exitWith();
      const offer = await opened(exit, at('127.0.0.1', port), { service });
      await clock.advance(60_000);
      expect(await offerTo(exit, at('127.0.0.1', port), { service }).refused).toBe('listen-in-use');
      offer.isAway = true;
      await clock.advance(4_000);
      expect(await offerTo(exit, at('127.0.0.1', port), { service }).refused).toBe('listen-in-use');
      // A link in between: it counts anew.
      offer.isAway = false;
      await clock.advance(1_000);
      offer.isAway = true;
      await clock.advance(4_000);
      expect(await offerTo(exit, at('127.0.0.1', port), { service }).refused).toBe('listen-in-use');
      await clock.advance(2_000);
      expect(await offerTo(exit, at('127.0.0.1', port), { service, peer: 'phone' }).refused).toBe('listen-in-use');
      const again = await opened(exit, at('127.0.0.1', port), { service });
      expect(again.bound).toEqual(at('127.0.0.1', port));
      await offer.released;
      expect(offer.calls).toEqual(['accept', 'close listen-in-use', 'release']);
    },
  );
});

describe('a listener whose rule is gone', () => {
  it.each(['tcp-listener', 'udp-listener'] as const)('is closed within a second: %s', async (service) => {
    const exit = exitWith();
    const offer = await opened(exit, at('127.0.0.1', port), { service });
    await clock.advance(5_000);
    expect(offer.calls).toEqual(['accept']);
    rules = { laptop: ['127.0.0.1:1'] };
    await clock.advance(1_000);
    await offer.released;
    expect(offer.calls).toEqual(['accept', 'close listen-not-allowed', 'release']);
    expect(exit.counters().open).toBe(0);
    expect(await refusesConnections(port)).toBe(true);
  });
});

describe('a UDP listener', () => {
  async function asker(host = '127.0.0.1') {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    closers.push(() => socket.close());
    socket.bind(0, host);
    await once(socket, 'listening');
    const received: string[] = [];
    socket.on('message', (bytes) => received.push(bytes.toString()));
    return { socket, received, from: at(host, socket.address().port) };
  }

  const service = 'udp-listener' as const;
  const send = (offer: FakeOffer, text: string, to: Target) => offer.handler?.handleDatagram(Buffer.from(text), to);

  it('receives from everyone, and answers whom the client names', async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port), { service });
    expect(offer.bound).toEqual(at('127.0.0.1', port));
    const [one, two] = [await asker(), await asker('127.0.0.2')];
    one.socket.send('from one', port, '127.0.0.1');
    two.socket.send('from two', port, '127.0.0.1');
    await vi.waitFor(() => expect(offer.datagrams).toHaveLength(2), WAIT);
    expect(offer.datagrams.map(({ to }) => to)).toEqual(expect.arrayContaining([one.from, two.from]));
    send(offer, 'to two', two.from);
    send(offer, 'to one', one.from);
    await vi.waitFor(() => expect([one.received, two.received]).toEqual([['to one'], ['to two']]), WAIT);
  });

  it('sends nothing to who has not asked within 120 s', async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port), { service });
    const [victim, friend] = [await asker(), await asker()];
    friend.socket.send('hello', port, '127.0.0.1');
    await vi.waitFor(() => expect(offer.datagrams).toHaveLength(1), WAIT);
    send(offer, 'attack', victim.from);
    send(offer, 'attack', { ...friend.from, port: victim.from.port });
    send(offer, 'attack', nameTarget('127.0.0.1', victim.from.port));
    send(offer, 'answer', friend.from);
    await vi.waitFor(() => expect(friend.received).toEqual(['answer']), WAIT);
    await clock.advance(121_000);
    send(offer, 'late', friend.from);
    friend.socket.send('again', port, '127.0.0.1');
    await vi.waitFor(() => expect(offer.datagrams).toHaveLength(2), WAIT);
    send(offer, 'answer again', friend.from);
    await vi.waitFor(() => expect(friend.received).toEqual(['answer', 'answer again']), WAIT);
    expect(victim.received).toEqual([]);
    expect(offer.calls).toEqual(['accept']);
  });

  it('at all addresses receives and answers by both families', async () => {
    rules = { laptop: [`*:${port}`] };
    const offer = await opened(exitWith(), nameTarget('*', port), { service });
    const [four, six] = [await asker(), await asker('::1')];
    four.socket.send('four', port, '127.0.0.1');
    six.socket.send('six', port, '::1');
    await vi.waitFor(() => expect(offer.datagrams).toHaveLength(2), WAIT);
    expect(offer.datagrams.map(({ to }) => to)).toEqual(expect.arrayContaining([four.from, six.from]));
    send(offer, 'to four', four.from);
    send(offer, 'to six', six.from);
    await vi.waitFor(() => expect([four.received, six.received]).toEqual([['to four'], ['to six']]), WAIT);
  });

  it('remembers 4,096 who have asked, and a flood of strangers ends nothing', { tags: ['waits'] }, async () => {
    const offer = await opened(exitWith(), at('127.0.0.1', port), { service });
    const friend = await asker();
    const strangers = await Promise.all(Array.from({ length: 50 }, (_, index) => asker(`127.0.1.${index + 1}`)));
    for (let round = 0; round < 20; round++) {
      for (const { socket } of strangers) socket.send('flood', port, '127.0.0.1');
      await new Promise(setImmediate);
    }
    friend.socket.send('hello', port, '127.0.0.1');
    await vi.waitFor(() => expect(offer.datagrams.some(({ to }) => to?.port === friend.from.port)).toBe(true), WAIT);
    send(offer, 'answer', friend.from);
    await vi.waitFor(() => expect(friend.received).toEqual(['answer']), WAIT);
  });

  it('is no destination of datagrams that clients send through the exit', async () => {
    const exit = exitWith();
    await opened(exit, at('127.0.0.1', port), { service });
    expect(await offerTo(exit, at('127.0.0.1', port), { service: 'udp' }).refused).toBe('dial-not-allowed');
  });
});
