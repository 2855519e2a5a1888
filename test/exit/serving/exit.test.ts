import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import type { Dial } from '../../../src/exit/dialer.ts';
import type { OwnEndpoints } from '../../../src/exit/policy.ts';
import { createResolver, type Resolver } from '../../../src/exit/resolver.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit, type ExitOptions } from '../../../src/exit/serving/exit.ts';
import { formatIp, type IpBytes, parseIp } from '../../../src/net/ip.ts';
import type { Logger } from '../../../src/observability/logger.ts';
import { type DnsServer, startDnsServer } from '../../support/net/dns-server.ts';
import { closedPort } from '../../support/net/tcp.ts';
import { FakeOffer, nameTarget } from '../../support/proxy/fake-offer.ts';

const ip = (text: string) => parseIp(text)!;

let server: Server;
let port = 0;
let targets: Socket[] = [];
let handleTarget: (socket: Socket) => void = () => {};
let rules: string[] = [];
let own: OwnEndpoints = { addresses: [], ports: [] };
let logged: { level: string; text: string }[] = [];

const logger: Logger = {
  debug: (fields, message) => log('debug', fields, message),
  info: (fields, message) => log('info', fields, message),
  warn: (fields, message) => log('warn', fields, message),
  error: (fields, message) => log('error', fields, message),
};

function log(level: string, fields: object, message: string): void {
  logged.push({ level, text: `${JSON.stringify(fields)} ${message}` });
}

const noNames: Resolver = {
  fullNamesOf: (name) => [name],
  resolve: () => Promise.reject(new WstunError('dial-name-unknown')),
};

function exitWith(options: Partial<ExitOptions> = {}): Exit {
  const rulesFor = () => rules.map(parseRule);
  return new Exit({ resolver: noNames, rulesFor, ownEndpoints: () => own, logger, ...options });
}

function offerTo(exit: Exit, host: string, to: number, peer?: string): FakeOffer {
  const offer = new FakeOffer(nameTarget(host, to), peer);
  exit.handleOffer(offer);
  return offer;
}

beforeEach(async () => {
  rules = ['127.0.0.1', '[::1]', 'name.example'];
  own = { addresses: [], ports: [] };
  logged = [];
  targets = [];
  handleTarget = () => {};
  server = createServer({ allowHalfOpen: true }, (socket) => {
    targets.push(socket);
    socket.on('error', () => {});
    handleTarget(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  port = typeof address === 'object' && address ? address.port : 0;
});

afterEach(async () => {
  for (const socket of targets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  for (const { level, text } of logged) if (level !== 'debug') expect(text).not.toMatch(/127\.0\.0\.1|example/);
});

describe('a stream that is piped', () => {
  it('the exit pipes a stream both ways, and releases it once, when both sides are closed', async () => {
    handleTarget = (socket) => socket.pipe(socket);
    const exit = exitWith();
    const offer = offerTo(exit, '127.0.0.1', port);
    await offer.accepted;
    expect(exit.counters()).toMatchObject({ pending: 0, open: 1, accepted: 1 });
    const sent = Buffer.alloc(1_000_000, 'wstun');
    offer.farEnd.end(sent);
    expect((await offer.receive()).equals(sent)).toBe(true);
    await offer.released;
    expect(targets.every((socket) => socket.readableEnded)).toBe(true);
    expect(offer.calls).toEqual(['accept', 'release']);
    expect(exit.counters()).toMatchObject({ pending: 0, open: 0, accepted: 1 });
  });

  it('the exit delivers the whole answer after the client’s side has finished first', async () => {
    handleTarget = (socket) => {
      let bytes = 0;
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
      socket.on('end', () => socket.end(Buffer.alloc(1_048_576, bytes & 0xff)));
    };
    const offer = offerTo(exitWith(), '127.0.0.1', port);
    await offer.accepted;
    offer.farEnd.end('request');
    const answer = await offer.receive();
    expect(answer.equals(Buffer.alloc(1_048_576, 7))).toBe(true);
    await offer.released;
    expect(offer.calls).toEqual(['accept', 'release']);
  });

  it('the exit delivers all that the client sends after the target’s side has finished first', async () => {
    const received: Buffer[] = [];
    handleTarget = (socket) => {
      socket.end('hello');
      socket.on('data', (chunk) => received.push(chunk));
    };
    const offer = offerTo(exitWith(), '127.0.0.1', port);
    await offer.accepted;
    expect((await offer.receive()).toString()).toBe('hello');
    offer.farEnd.end(Buffer.alloc(1_048_576, 1));
    await offer.released;
    await vi.waitFor(() => expect(Buffer.concat(received)).toHaveLength(1_048_576), 30_000);
    expect(offer.calls).toEqual(['accept', 'release']);
  });

  it('the exit resets, and does not end, a stream whose target resets', async () => {
    handleTarget = (socket) => socket.once('data', () => socket.resetAndDestroy());
    const offer = offerTo(exitWith(), '127.0.0.1', port);
    await offer.accepted;
    offer.farEnd.write('x');
    await offer.released;
    expect(offer.wasCut).toBe(true);
    expect(offer.calls).toEqual(['accept', 'release']);
  });

  it('the exit resets the target of a stream that the client gives up, and releases it', async () => {
    const reset = new Promise((resolve) => {
      handleTarget = (socket) => socket.once('error', resolve);
    });
    const offer = offerTo(exitWith(), '127.0.0.1', port);
    await offer.accepted;
    await vi.waitFor(() => expect(targets).toHaveLength(1), 30_000);
    offer.abandon();
    await offer.released;
    expect(await reset).toMatchObject({ code: 'ECONNRESET' });
    expect(offer.calls).toEqual(['accept', 'release']);
  });
});

describe('an offer that is refused', () => {
  it.each([
    ['10.0.0.1', 80, 'dial-not-allowed'],
    ['169.254.169.254', 80, 'dial-not-allowed'],
    ['localhost', 80, 'dial-not-allowed'],
    ['127.0.0.1\0.example.com', 80, 'dial-bad-target'],
    ['', 80, 'dial-bad-target'],
    ['127.0.0.1', 0, 'dial-bad-target'],
    ['nothing.example', 80, 'dial-name-unknown'],
  ])('the exit refuses %j port %d with %s, and releases the offer once', async (host, to, fault) => {
    const exit = exitWith();
    const offer = offerTo(exit, host, to);
    await offer.released;
    expect(offer.calls).toEqual([`refuse ${fault}`, 'release']);
    expect(exit.counters()).toEqual({ pending: 0, open: 0, accepted: 0, refused: { [fault]: 1 } });
  });

  it('the exit refuses an offer with dial-refused when nothing listens', async () => {
    const offer = offerTo(exitWith(), '127.0.0.1', await closedPort());
    await offer.released;
    expect(offer.calls).toEqual(['refuse dial-refused', 'release']);
  });

  it('the exit refuses a port of its own by every name, whatever the rules say', async () => {
    own = { addresses: [ip('192.0.2.5')], ports: [port] };
    rules = ['*'];
    const resolver: Resolver = {
      fullNamesOf: (name) => [name],
      resolve: ([name = '']) => Promise.resolve({ name, addresses: [ip('127.0.0.1')] }),
    };
    const exit = exitWith({ resolver });
    for (const host of [
      '127.0.0.1',
      '127.9.9.9',
      '0.0.0.0',
      '::1',
      '::',
      '[::ffff:127.0.0.1]',
      '192.0.2.5',
      'localhost',
      'me.example',
    ]) {
      const offer = offerTo(exit, host, port);
      expect(await offer.refused).toBe('dial-not-allowed');
    }
    expect(targets).toEqual([]);
  });

  it('the exit refuses an offer after an internal error, and logs it', async () => {
    const dial: Dial = () => Promise.reject(new TypeError('a defect at 127.0.0.1'));
    const offer = offerTo(exitWith({ dial }), '127.0.0.1', port);
    await offer.released;
    expect(offer.calls).toEqual(['refuse internal', 'release']);
    expect(logged.filter(({ level }) => level === 'error')).toHaveLength(1);
  });
});

describe('names', () => {
  let dns: DnsServer;
  let now = 0;
  let resolver: Resolver;
  const dialled: string[] = [];
  /** Notes what it is given, and connects nowhere. */
  const dial: Dial = (addresses) => {
    dialled.push(addresses.map(formatIp).join(' '));
    return Promise.reject(new WstunError('dial-refused'));
  };

  beforeEach(async () => {
    dns = await startDnsServer({
      'public.example': { addresses: ['1.1.1.1', '2606:4700::1'], ttl: 1 },
      'mixed.example': { addresses: ['1.1.1.1', '10.0.0.1'] },
      'name.example': { addresses: ['127.0.0.1'] },
      'wiki.corp.example': { addresses: ['10.0.0.5'] },
      'srv.corp.test': { addresses: ['10.0.0.6'] },
      'public.corp.example': { addresses: ['8.8.8.8'] },
    });
    now = 0;
    dialled.length = 0;
    resolver = createResolver({
      servers: [dns.address],
      hostsFile: '/nonexistent',
      resolvConf: '/nonexistent',
      search: { env: { LOCALDOMAIN: 'corp.test corp.example' }, hostname: '' },
      now: () => now,
    });
  });
  afterEach(() => dns.close());

  it('the exit dials exactly the addresses of a name that it checked', async () => {
    const offer = offerTo(exitWith({ resolver, dial }), 'PUBLIC.example.', 443);
    await offer.released;
    expect(dialled).toEqual(['2606:4700::1 1.1.1.1']);
    expect(dns.questions).toHaveLength(2);
  });

  it('the exit refuses a name if one of its addresses is not allowed', async () => {
    const offer = offerTo(exitWith({ resolver, dial }), 'mixed.example', 443);
    expect(await offer.refused).toBe('dial-not-allowed');
    expect(dialled).toEqual([]);
  });

  it('the exit checks a changed answer (DNS rebinding) again, and dials what it checked', async () => {
    const exit = exitWith({ resolver, dial });
    await offerTo(exit, 'public.example', 80).released;
    dns.zone.set('public.example', { addresses: ['10.0.0.1'] });
    await offerTo(exit, 'public.example', 80).released;
    expect(dialled).toEqual(['2606:4700::1 1.1.1.1', '2606:4700::1 1.1.1.1']);
    now = 60_000;
    expect(await offerTo(exit, 'public.example', 80).refused).toBe('dial-not-allowed');
    expect(dialled).toHaveLength(2);
  });

  it.each([
    ['wiki', [], 'dial-not-allowed', ''],
    ['wiki', ['10.0.0.0/8'], 'dial-refused', '10.0.0.5'],
    ['wiki', ['wiki'], 'dial-refused', '10.0.0.5'],
    ['wiki', ['*.corp.example'], 'dial-refused', '10.0.0.5'],
    ['wiki', ['*.corp.test'], 'dial-not-allowed', ''],
    ['srv', [], 'dial-not-allowed', ''],
    ['srv', ['*.test'], 'dial-refused', '10.0.0.6'],
    ['public', [], 'dial-refused', '8.8.8.8'],
    ['wiki.', ['wiki'], 'dial-name-unknown', ''],
    ['nothing', ['*.test'], 'dial-name-unknown', ''],
  ])(
    'the exit looks a name without a dot up below the search domains: %s with rules %j: %s',
    async (name, allow, fault, to) => {
      rules = allow;
      const offer = offerTo(exitWith({ resolver, dial }), name, 443);
      expect(await offer.refused).toBe(fault);
      expect(dialled.join()).toBe(to);
      // A name of special use that no rule names, one way or the other, is not asked for.
      if (!allow.some((rule) => rule.endsWith('test') || rule === name))
        expect(dns.questions.filter((question) => question.endsWith('.test'))).toEqual([]);
    },
  );

  it('the exit dials private addresses of a name that a rule opens', async () => {
    handleTarget = (socket) => socket.end('ok');
    const offer = offerTo(exitWith({ resolver }), 'name.example', port);
    await offer.accepted;
    expect((await offer.receive()).toString()).toBe('ok');
    offer.farEnd.end();
    await offer.released;
  });
});

it('the exit asks for the rules of the peer at every offer', async () => {
  const asked: string[] = [];
  let open = true;
  const exit = exitWith({
    rulesFor: (peer) => {
      asked.push(peer);
      return open ? [parseRule('127.0.0.1')] : [];
    },
  });
  const first = offerTo(exit, '127.0.0.1', port, 'ann');
  await first.accepted;
  open = false;
  const second = offerTo(exit, '127.0.0.1', port, 'bob');
  expect(await second.refused).toBe('dial-not-allowed');
  expect(asked).toEqual(['ann', 'bob']);
  first.abandon();
  await first.released;
});

describe('pending dials', () => {
  /** Dials that never end by themselves. */
  const tarpit: Dial = (_addresses, _port, signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new WstunError('dial-cancelled')), { once: true });
    });

  it('the exit limits the pending dials of each peer, and frees a slot when a dial is gone', async () => {
    const exit = exitWith({ dial: tarpit, limits: { pendingPerPeer: 2, waitMs: 1 } });
    const [one, two] = [offerTo(exit, '127.0.0.1', 1), offerTo(exit, '127.0.0.1', 1)];
    const three = offerTo(exit, '127.0.0.1', 1);
    expect(await three.refused).toBe('dial-busy');
    const other = offerTo(exit, '127.0.0.1', 1, 'phone');
    await vi.waitFor(() => expect(exit.counters().pending).toBe(3));
    one.abandon();
    await one.released;
    expect(one.calls).toEqual(['refuse dial-cancelled', 'release']);
    const four = offerTo(exit, '127.0.0.1', 1);
    await vi.waitFor(() => expect(exit.counters().pending).toBe(3));
    for (const offer of [two, four, other]) offer.abandon();
    await Promise.all([two.released, four.released, other.released]);
    expect(exit.counters()).toMatchObject({ pending: 0, open: 0 });
  });

  it('the exit lets dials wait for a slot, but not for those of another peer', async () => {
    const exit = exitWith({ dial: tarpit, limits: { pendingPerPeer: 1, waitMs: 60_000 } });
    const one = offerTo(exit, '127.0.0.1', 1);
    const waiting = offerTo(exit, '127.0.0.1', 1);
    const other = offerTo(exit, '127.0.0.1', 1, 'phone');
    await vi.waitFor(() => expect(exit.counters().pending).toBe(2), 30_000);
    one.abandon();
    await one.released;
    await vi.waitFor(() => expect(exit.counters().pending).toBe(2), 30_000);
    const givingUp = offerTo(exit, '127.0.0.1', 1);
    givingUp.abandon();
    expect(await givingUp.refused).toBe('dial-cancelled');
    for (const offer of [waiting, other]) offer.abandon();
    await Promise.all([waiting.released, other.released]);
    expect(exit.counters().pending).toBe(0);
  });

  it('the exit limits the pending dials of all peers', async () => {
    const exit = exitWith({ dial: tarpit, limits: { pendingTotal: 3, waitMs: 1 } });
    const offers = ['a', 'b', 'c'].map((peer) => offerTo(exit, '127.0.0.1', 1, peer));
    expect(await offerTo(exit, '127.0.0.1', 1, 'd').refused).toBe('dial-busy');
    for (const offer of offers) offer.abandon();
    await Promise.all(offers.map((offer) => offer.released));
  });

  it('the exit has nothing left after 10,000 refusals', async () => {
    const exit = exitWith();
    const offers = Array.from({ length: 10_000 }, (_, i) => offerTo(exit, '10.0.0.1', 80, `peer ${i}`));
    await Promise.all(offers.map((offer) => offer.released));
    expect(exit.counters()).toMatchObject({ pending: 0, open: 0, refused: { 'dial-not-allowed': 10_000 } });
  });
});

describe('a client that gives up', () => {
  it('the exit cancels a look-up when the client gives up', async () => {
    const dns = await startDnsServer({ 'silent.example': { silent: ['A', 'AAAA'] } });
    const resolver = createResolver({ servers: [dns.address], hostsFile: '/nonexistent', resolvConf: '/nonexistent' });
    const exit = exitWith({ resolver });
    const offer = offerTo(exit, 'silent.example', 80);
    await vi.waitFor(() => expect(dns.questions.length).toBeGreaterThan(0), 30_000);
    offer.abandon();
    await offer.released;
    expect(offer.calls).toEqual(['refuse dial-cancelled', 'release']);
    await dns.close();
  });

  it('the exit leaves no socket when the client gives up just as the dial succeeds, and releases the offer after that', async () => {
    const { createDialer } = await import('../../../src/exit/dialer.ts');
    let dialled: Socket | undefined;
    const offer = new FakeOffer(nameTarget('127.0.0.1', port));
    const dial: Dial = async (addresses: readonly IpBytes[], to) => {
      dialled = await createDialer()(addresses, to, new AbortController().signal);
      offer.abandon();
      return dialled;
    };
    const exit = exitWith({ dial });
    exit.handleOffer(offer);
    await offer.released;
    expect(dialled?.closed).toBe(true);
    expect(offer.calls).toEqual(['refuse dial-cancelled', 'release']);
    expect(exit.counters()).toMatchObject({ pending: 0, open: 0, accepted: 0 });
  });
});
