/** The exit's resolver over real sockets: the test is the name server, which may say what it likes. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type packet from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { framed, MessageReader } from '../../../src/dns/framing.ts';
import { createResolver } from '../../../src/exit/resolver.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit, type ExitOptions } from '../../../src/exit/serving/exit.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { UNSPECIFIED } from '../../../src/protocol/services.ts';
import { answer, decode, edns, query, soa } from '../../support/dns-messages.ts';
import { PATIENCE } from '../../support/patience.ts';
import { FakeOffer } from '../../support/proxy/fake-offer.ts';
import { tempDir } from '../../support/temp-dir.ts';

const WAIT = { timeout: 10_000 * PATIENCE, interval: 2 };

type Reply = Uint8Array | readonly Uint8Array[] | undefined;

/** A name server over UDP and TCP at one port. */
class FakeServer {
  /** What it was asked, in order. */
  readonly asked: { readonly over: 'udp' | 'tcp'; readonly message: Buffer; readonly port: number }[] = [];
  /** What it sends; by default an address. */
  reply: (message: Buffer, over: 'udp' | 'tcp') => Reply = (message) => answer(message, [address(nameIn(message))]);
  /** Takes over UDP messages, to answer from elsewhere. */
  handle: ((message: Buffer, from: RemoteInfo) => void) | undefined;
  readonly udp: Socket = createSocket('udp4');
  private readonly tcp: Server = createServer();

  async start(host = '127.0.0.1'): Promise<void> {
    this.tcp.on('connection', (socket) => {
      const reader = new MessageReader();
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        for (const bytes of reader.receive(chunk)) {
          const message = Buffer.from(bytes);
          this.asked.push({ over: 'tcp', message, port: socket.remotePort ?? 0 });
          for (const each of listed(this.reply(message, 'tcp'))) socket.write(framed(each));
        }
      });
    });
    this.tcp.listen(0, host);
    await once(this.tcp, 'listening');
    this.udp.bind(this.port, host);
    await once(this.udp, 'listening');
    this.udp.on('message', (message, from) => {
      this.asked.push({ over: 'udp', message, port: from.port });
      if (this.handle !== undefined) return this.handle(message, from);
      for (const each of listed(this.reply(message, 'udp'))) this.udp.send(each, from.port, from.address);
    });
  }

  get port(): number {
    const bound = this.tcp.address();
    return typeof bound === 'object' && bound !== null ? bound.port : 0;
  }

  stop(): void {
    this.udp.close();
    this.tcp.close();
  }
}

const listed = (reply: Reply): readonly Uint8Array[] =>
  reply === undefined ? [] : reply instanceof Uint8Array ? [reply] : reply;
const nameIn = (message: Buffer): string => decode(message).questions?.[0]?.name ?? '';
const address = (name: string, data = '1.1.1.1'): packet.Answer => ({ type: 'A', name, ttl: 60, data });

/** A message with its bytes of flags changed. */
function withFlags(message: Uint8Array, change: (flags: number) => number): Buffer {
  const changed = Buffer.from(message);
  changed.writeUInt16BE(change(changed.readUInt16BE(2)), 2);
  return changed;
}

let server: FakeServer;
let servers: FakeServer[] = [];
let rules: string[] = [];
let offers: FakeOffer[] = [];
let hosts = '';

async function exitWith(options: Partial<ExitOptions> = {}): Promise<Exit> {
  const hostsFile = join(await tempDir(), 'hosts');
  await writeFile(hostsFile, hosts);
  const resolver = createResolver({ servers: servers.map(({ port }) => `127.0.0.1:${port}`), hostsFile });
  return new Exit({
    ...{ resolver, logger: silentLogger, ...options },
    rulesFor: () => rules.map(parseRule),
    ownEndpoints: () => ({ addresses: [], ports: [] }),
  });
}

/** The far end of a resolver stream. */
class Asker {
  readonly answers: Buffer[] = [];

  constructor(readonly offer: FakeOffer) {
    const reader = new MessageReader();
    offer.farEnd.on('data', (chunk: Buffer) => {
      for (const message of reader.receive(chunk)) this.answers.push(Buffer.from(message));
    });
  }

  send(message: Uint8Array): void {
    this.offer.farEnd.write(framed(message));
  }

  async ask(message: Uint8Array): Promise<ReturnType<typeof decode>> {
    const before = this.answers.length;
    this.send(message);
    await vi.waitFor(() => expect(this.answers.length).toBeGreaterThan(before), WAIT);
    return decode(this.answers[before] ?? Buffer.alloc(0));
  }
}

async function asker(exit?: Exit, peer = 'laptop'): Promise<Asker> {
  const offer = new FakeOffer(UNSPECIFIED, peer, 'resolver');
  offers.push(offer);
  (exit ?? (await exitWith())).handleOffer(offer);
  await offer.accepted;
  return new Asker(offer);
}

beforeEach(async () => {
  rules = [];
  hosts = '';
  server = new FakeServer();
  servers = [server];
  await server.start();
});

afterEach(async () => {
  for (const offer of offers) offer.abandon();
  await Promise.all(offers.map(({ released }) => released));
  offers = [];
  for (const each of servers) each.stop();
});

async function asking(exit?: Exit): Promise<Asker['ask']> {
  const one = await asker(exit);
  return (message) => one.ask(message);
}

describe('a question', () => {
  it('is passed on from another port and with another id each time, and its answer is as the client asked', async () => {
    const ask = await asking();
    for (let turn = 0; turn < 4; turn++) {
      const found = await ask(query('wWw.Example.org', 'A', { id: 7 }));
      expect(found).toMatchObject({ id: 7, rcode: 'NOERROR', questions: [{ name: 'wWw.Example.org' }] });
      expect(found.answers).toMatchObject([{ type: 'A', data: '1.1.1.1' }]);
    }
    expect(new Set(server.asked.map(({ message }) => message.readUInt16BE(0))).size).toBeGreaterThan(1);
    expect(new Set(server.asked.map(({ port }) => port)).size).toBeGreaterThan(1);
  });

  it('is passed on without the options of the client, such as its network (ECS)', async () => {
    const ask = await asking();
    const ecs = {
      code: 8,
      type: 'CLIENT_SUBNET',
      family: 1,
      sourcePrefixLength: 24,
      scopePrefixLength: 0,
      ip: '192.0.2.0',
    };
    const opt = { ...edns(4096), options: [ecs] } as unknown as packet.OptAnswer;
    await ask(query('www.example.org', 'A', { additionals: [opt] }));
    const [sent] = decode(server.asked[0]!.message).additionals as packet.OptAnswer[];
    expect(sent).toMatchObject({ type: 'OPT', udpPayloadSize: 1232, options: [] });
  });

  it.each(['TXT', 'MX', 'SRV', 'CAA', 'NS', 'SOA', 'CNAME', 'PTR', 'NAPTR', 'DS', 'TLSA'])(
    'of type %s passes, and its answer',
    async (type) => {
      server.reply = (message) => answer(message, [{ type: 'TXT', name: nameIn(message), ttl: 9, data: ['text'] }]);
      const found = await (await asking())(query('example.org', type));
      expect(found.answers).toMatchObject([{ type: 'TXT', ttl: 9 }]);
      expect(decode(server.asked[0]!.message).questions).toMatchObject([{ type }]);
    },
  );

  it('about records of an unknown type passes, and they stay what they were', async () => {
    const data = Buffer.from('0102fe', 'hex');
    server.reply = (message) =>
      answer(message, [{ type: 'UNKNOWN_4242', name: nameIn(message), ttl: 9, data } as unknown as packet.Answer]);
    const one = await asker();
    await one.ask(query('example.org', 'UNKNOWN_4242'));
    expect(one.answers[0]!.includes(data)).toBe(true);
  });

  it('beside others of one stream is answered as soon as its own answer is there', async () => {
    let slow: Buffer | undefined;
    server.handle = (message, from) => {
      if (nameIn(message) === 'slow.example.org') slow = answer(message, [address('slow.example.org')]);
      else server.udp.send(answer(message, [address(nameIn(message))]), from.port, from.address);
      if (nameIn(message) === 'last.example.org') server.udp.send(slow!, slowPort, '127.0.0.1');
      if (slowPort === 0) slowPort = from.port;
    };
    let slowPort = 0;
    const one = await asker();
    one.send(query('slow.example.org', 'A', { id: 1 }));
    await vi.waitFor(() => expect(slow).toBeDefined(), WAIT);
    one.send(query('fast.example.org', 'A', { id: 2 }));
    await vi.waitFor(() => expect(one.answers).toHaveLength(1), WAIT);
    one.send(query('last.example.org', 'A', { id: 3 }));
    await vi.waitFor(() => expect(one.answers).toHaveLength(3), WAIT);
    expect(decode(one.answers[0]!).id).toBe(2);
    expect(one.answers.map((each) => decode(each).id)).toEqual(expect.arrayContaining([1, 2, 3]));
  });

  it('beyond the 256 of a stream that are asked at a time waits, and is answered', async () => {
    const one = await asker();
    for (let id = 0; id < 400; id++) one.send(query(`n${id}.example.org`, 'A', { id }));
    await vi.waitFor(() => expect(one.answers).toHaveLength(400), WAIT);
    expect(new Set(one.answers.map((each) => decode(each).id)).size).toBe(400);
  });

  it('is answered also when the client has finished, and then the stream ends', async () => {
    const one = await asker();
    one.offer.farEnd.end(framed(query('www.example.org', 'A')));
    await one.offer.released;
    expect(one.answers).toHaveLength(1);
    expect(one.offer.calls).toEqual(['accept', 'release']);
  });

  it.each<[string, Buffer, string]>([
    ['two questions', query('a.example.org', 'A', { questions: twice('a.example.org') }), 'FORMERR'],
    ['another class', classChaos(query('a.example.org', 'TXT')), 'NOTIMP'],
    ['another opcode', withFlags(query('a.example.org', 'A'), (flags) => flags | (5 << 11)), 'NOTIMP'],
    ['a zone transfer', query('example.org', 'AXFR'), 'NOTIMP'],
    ['a compressed name that leads to itself', looped(), 'FORMERR'],
  ])('with %s is answered with %s', async (_what, message, rcode) => {
    expect(await (await asking())(message)).toMatchObject({ rcode });
    expect(server.asked).toEqual([]);
  });

  it('that is none gets no answer, and the next one does', async () => {
    const one = await asker();
    for (const garbage of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(11), answer(query('a.b', 'A'), [])])
      one.send(garbage);
    expect(await one.ask(query('www.example.org', 'A'))).toMatchObject({ rcode: 'NOERROR' });
    expect(one.answers).toHaveLength(1);
  });
});

describe('an answer', () => {
  it.each([
    ['NXDOMAIN', 3],
    ['SERVFAIL', 2],
  ])('of %s is passed on as it is', async (rcode, code) => {
    server.reply = (message) => answer(message, [], { authorities: [soa('example.org', 30, 20)] }, code);
    const found = await (await asking())(query('no.example.org', 'A'));
    expect(found).toMatchObject({ rcode });
    if (code === 3) expect(found.authorities).toMatchObject([{ type: 'SOA', ttl: 30 }]);
  });

  it('of REFUSED by a name server is SERVFAIL: only the exit itself refuses', async () => {
    server.reply = (message) => answer(message, [], {}, 5);
    expect(await (await asking())(query('a.example.org', 'A'))).toMatchObject({ rcode: 'SERVFAIL' });
  });

  it('that is truncated is asked for over TCP, and passes whole up to 64 KiB', async () => {
    const many = Array.from({ length: 250 }, (_, index) => Buffer.alloc(250, index));
    server.reply = (message, over) =>
      over === 'udp'
        ? withFlags(answer(message, []), (flags) => flags | 0x0200)
        : answer(
            message,
            many.map((data) => ({ type: 'TXT', name: '.', ttl: 9, data: [data] })),
          );
    const one = await asker();
    const found = await one.ask(query('long.example.org', 'TXT'));
    expect(one.answers[0]!.length).toBeGreaterThan(64_000);
    expect(found.answers).toHaveLength(250);
    expect(found.flag_tc).toBe(false);
    expect(server.asked.map(({ over }) => over)).toEqual(['udp', 'tcp']);
  });

  it('with another id, about something else, or that is no answer, is ignored', async () => {
    server.reply = (message) => {
      const real = answer(message, [address(nameIn(message))]);
      const otherId = Buffer.from(answer(message, [address(nameIn(message), '6.6.6.6')]));
      otherId.writeUInt16BE(otherId.readUInt16BE(0) ^ 1, 0);
      const question = { name: 'other.example.org', type: 'A', class: 'IN' } as const;
      const otherName = answer(message, [address('other.example.org', '6.6.6.6')], { questions: [question] });
      const none = withFlags(answer(message, [address(nameIn(message), '6.6.6.6')]), (flags) => flags & 0x7fff);
      return [otherId, otherName, none, Buffer.from('short'), real];
    };
    const found = await (await asking())(query('www.example.org', 'A'));
    expect(found.answers).toMatchObject([{ data: '1.1.1.1' }]);
  });

  it('from another address or port than the name server’s is ignored', async () => {
    const [stranger, neighbour] = [createSocket('udp4'), createSocket('udp4')];
    stranger.bind(0, '127.0.0.9');
    neighbour.bind(0, '127.0.0.1');
    await Promise.all([once(stranger, 'listening'), once(neighbour, 'listening')]);
    server.handle = (message, from) => {
      const forged = answer(message, [address(nameIn(message), '6.6.6.6')]);
      neighbour.send(forged, from.port, from.address, () => {
        stranger.send(forged, from.port, from.address, () => {
          server.udp.send(answer(message, [address(nameIn(message))]), from.port, from.address);
        });
      });
    };
    const found = await (await asking())(query('www.example.org', 'A'));
    expect(found.answers).toMatchObject([{ data: '1.1.1.1' }]);
    stranger.close();
    neighbour.close();
  });

  it('that is malformed, or whose names lead round in a circle, is SERVFAIL or passes without being followed', async () => {
    const ask = await asking();
    server.reply = (message) => answer(message, [address(nameIn(message))]).subarray(0, -3);
    expect(await ask(query('cut.example.org', 'A'))).toMatchObject({ rcode: 'SERVFAIL' });
    server.reply = (message) => {
      const found = Buffer.from(answer(message, [address(nameIn(message))]));
      // The owner of the record is a pointer to itself.
      const at = decodeQuestionEnd(found);
      return Buffer.concat([found.subarray(0, at), Buffer.from([0xc0, at]), found.subarray(found.length - 14)]);
    };
    const one = await asker();
    one.send(query('loop.example.org', 'A'));
    await vi.waitFor(() => expect(one.answers).toHaveLength(1), WAIT);
  });

  it('of a name server that knows no EDNS comes by a second question without it', async () => {
    server.reply = (message) => {
      const hasEdns = (decode(message).additionals ?? []).length > 0;
      return hasEdns ? withFlags(message, (flags) => flags | 0x8001) : answer(message, [address(nameIn(message))]);
    };
    expect((await (await asking())(query('www.example.org', 'A'))).answers).toHaveLength(1);
    expect(server.asked).toHaveLength(2);
  });
});

describe('name servers that do not answer', () => {
  it('are followed by the next one, which is asked first from then on', { tags: ['waits'] }, async () => {
    const second = new FakeServer();
    servers.push(second);
    await second.start();
    server.reply = () => undefined;
    const ask = await asking();
    expect(await ask(query('a.example.org', 'A'))).toMatchObject({ rcode: 'NOERROR' });
    const start = performance.now();
    expect(await ask(query('b.example.org', 'A'))).toMatchObject({ rcode: 'NOERROR' });
    expect(performance.now() - start).toBeLessThan(900);
    expect(server.asked).toHaveLength(1);
  });

  it('and ports at which nothing listens, fail at once when there are no others', async () => {
    const exit = await exitWith();
    server.stop();
    servers = [];
    expect(await (await asking(exit))(query('a.example.org', 'A'))).toMatchObject({ rcode: 'SERVFAIL' });
  });

  it('cost SERVFAIL after 5 s', { tags: ['waits'] }, async () => {
    server.reply = () => undefined;
    const start = performance.now();
    expect(await (await asking())(query('a.example.org', 'A'))).toMatchObject({ rcode: 'SERVFAIL' });
    expect(performance.now() - start).toBeGreaterThan(2_500);
    expect(performance.now() - start).toBeLessThan(5_500 * PATIENCE);
  });

  it('leave nothing behind when the client gives up', async () => {
    server.reply = () => undefined;
    const exit = await exitWith();
    const one = await asker(exit);
    for (let id = 0; id < 300; id++) one.send(query(`n${id}.example.org`, 'A', { id }));
    await vi.waitFor(() => expect(server.asked.length).toBeGreaterThan(100), WAIT);
    one.offer.abandon();
    await one.offer.released;
    expect(exit.counters().open).toBe(0);
  });
});

describe('the policy', () => {
  const private10 = () => {
    server.reply = (message) => answer(message, [address(nameIn(message), '10.1.2.3')]);
  };

  it.each<[string, string[], string]>([
    ['printer.local', [], 'REFUSED'],
    ['wiki.internal', [], 'REFUSED'],
    ['x.onion', [], 'REFUSED'],
    ['_dns.resolver.arpa', [], 'REFUSED'],
    ['wiki.internal', ['*.internal:80'], 'NOERROR'],
    ['wiki.internal', ['wiki.internal'], 'NOERROR'],
    ['wiki.internal', ['other.internal'], 'REFUSED'],
    ['www.example.org', [], 'NOERROR'],
  ])('about the name %s, with the rules %j: %s', async (name, list, rcode) => {
    rules = list;
    expect(await (await asking())(query(name, 'A'))).toMatchObject({ rcode });
    if (rcode === 'REFUSED') expect(server.asked).toEqual([]);
  });

  it('answers localhost by itself: it means the machine of whoever asks (RFC 6761 §6.3)', async () => {
    expect(await (await asking())(query('localhost', 'A'))).toMatchObject({ answers: [{ data: '127.0.0.1' }] });
    expect(server.asked).toEqual([]);
  });

  it('refuses an answer with a private address (rebinding), unless a rule opens it or names the name', async () => {
    private10();
    const exit = await exitWith();
    const ask = await asking(exit);
    expect(await ask(query('a.example.org', 'A'))).toMatchObject({ rcode: 'REFUSED', answers: [] });
    for (const rule of ['10.0.0.0/8:22', 'a.example.org:443', '*']) {
      rules = [rule];
      expect(await ask(query('a.example.org', 'A'))).toMatchObject({
        rcode: 'NOERROR',
        answers: [{ data: '10.1.2.3' }],
      });
    }
  });

  it.each(['0.0.0.0', '127.0.0.1', '169.254.169.254', '192.168.1.1', '100.64.0.1', '224.0.0.1'])(
    'refuses an answer with %s among others',
    async (data) => {
      server.reply = (message) => answer(message, [address(nameIn(message)), address(nameIn(message), data)]);
      expect(await (await asking())(query('a.example.org', 'A'))).toMatchObject({ rcode: 'REFUSED' });
    },
  );

  it.each(['::1', 'fd00::1', 'fe80::1', '::ffff:10.0.0.1', '64:ff9b::a00:1'])('refuses AAAA %s', async (data) => {
    server.reply = (message) => answer(message, [{ type: 'AAAA', name: nameIn(message), ttl: 9, data }]);
    expect(await (await asking())(query('a.example.org', 'AAAA'))).toMatchObject({ rcode: 'REFUSED' });
  });

  it('refuses private addresses behind an alias, and in additional records', async () => {
    const ask = await asking();
    server.reply = (message) =>
      answer(message, [
        { type: 'CNAME', name: nameIn(message), ttl: 9, data: 'b.example.org' },
        address('b.example.org', '10.0.0.1'),
      ]);
    expect(await ask(query('a.example.org', 'A'))).toMatchObject({ rcode: 'REFUSED' });
    server.reply = (message) =>
      answer(
        message,
        [{ type: 'MX', name: nameIn(message), ttl: 9, data: { exchange: 'm.example.org', preference: 1 } }],
        {
          additionals: [address('m.example.org', '10.0.0.1')],
        },
      );
    expect(await ask(query('example.org', 'MX'))).toMatchObject({ rcode: 'REFUSED' });
  });

  it.each<[string, string, string]>([
    ['a public ipv4hint', '0001000004000401010101', 'NOERROR'],
    ['a private ipv4hint', '000100000400040a000001', 'REFUSED'],
    ['two ipv4hints, one of them private', '00010000040008010101010a000001', 'REFUSED'],
    ['a private ipv6hint', `00010000060010fd${'00'.repeat(14)}01`, 'REFUSED'],
    ['a hint that is cut', '000100000400080a000001', 'SERVFAIL'],
  ])('looks at the hints of HTTPS: %s', async (_what, hex, rcode) => {
    const data = Buffer.from(hex, 'hex');
    server.reply = (message) =>
      answer(message, [{ type: 'UNKNOWN_65', name: nameIn(message), ttl: 9, data } as unknown as packet.Answer]);
    expect(await (await asking())(query('a.example.org', 'UNKNOWN_65'))).toMatchObject({ rcode });
  });

  it.each<[string, string[], string]>([
    ['4.3.2.10.in-addr.arpa', [], 'REFUSED'],
    ['10.in-addr.arpa', [], 'REFUSED'],
    ['168.192.in-addr.arpa', [], 'REFUSED'],
    ['4.3.2.10.in-addr.arpa', ['10.2.0.0/16'], 'NOERROR'],
    ['4.4.8.8.in-addr.arpa', [], 'NOERROR'],
    [`1.${'0.'.repeat(29)}d.f.ip6.arpa`, [], 'REFUSED'],
    ['d.f.ip6.arpa', [], 'REFUSED'],
    ['8.b.d.0.1.0.0.2.ip6.arpa', [], 'REFUSED'],
    ['0.0.7.4.6.0.6.2.ip6.arpa', [], 'NOERROR'],
    ['4.0/25.2.168.192.in-addr.arpa', [], 'REFUSED'],
    ['host.10.in-addr.arpa', [], 'REFUSED'],
    ['300.10.in-addr.arpa', [], 'REFUSED'],
    ['host.d.f.ip6.arpa', [], 'REFUSED'],
    ['4.0/25.8.8.8.in-addr.arpa', [], 'NOERROR'],
  ])('about PTR of %s, with the rules %j: %s', async (name, list, rcode) => {
    rules = list;
    server.reply = (message) =>
      answer(message, [{ type: 'PTR', name: nameIn(message), ttl: 9, data: 'a.example.org' }]);
    expect(await (await asking())(query(name, 'PTR'))).toMatchObject({ rcode });
  });

  it.each<[string, string, string[], string]>([
    ['TXT', 'secret.internal', [], 'REFUSED'],
    ['PTR', '4.3.2.10.in-addr.arpa', [], 'REFUSED'],
    ['TXT', 'secret.internal', ['*.internal'], 'NOERROR'],
    ['TXT', 'other.example', [], 'NOERROR'],
  ])('passes no answer of type %s that an alias of a public name leads to %s, unless %j: %s', async (...row) => {
    const [type, name, list, rcode] = row;
    rules = list;
    const ask = await asking();
    const alias = (from: string): packet.Answer => ({ type: 'CNAME', name: from, ttl: 9, data: name });
    const end = { type, name, ttl: 9, data: type === 'PTR' ? 'laptop.corp' : ['text'] } as packet.Answer;
    server.reply = (message) => answer(message, [alias(nameIn(message)), end]);
    expect(await ask(query('a.example.org', type))).toMatchObject({ rcode });
    // Whether the name exists is not told either.
    server.reply = (message) => answer(message, [alias(nameIn(message))], {}, 3);
    expect(await ask(query('b.example.org', type))).toMatchObject({ rcode: rcode === 'NOERROR' ? 'NXDOMAIN' : rcode });
  });

  it('of one client who asks what nobody answers keep no place from others', async () => {
    const exit = await exitWith();
    server.reply = (message) => (nameIn(message).startsWith('slow') ? undefined : answer(message, []));
    for (let stream = 0; stream < 6; stream++) {
      const hostile = await asker(exit, 'hostile');
      for (let i = 0; i < 200; i++) hostile.send(query(`slow${stream}-${i}.example.org`, 'A'));
    }
    await vi.waitFor(() => expect(server.asked.length).toBeGreaterThanOrEqual(250), WAIT);
    expect(await (await asker(exit, 'laptop')).ask(query('a.example.org', 'A'))).toMatchObject({ rcode: 'NOERROR' });
    expect(server.asked.length).toBeLessThan(600);
  });

  it('answers names of the hosts file by itself, if their addresses are allowed', async () => {
    hosts = '1.2.3.4 Host.Example.org\n2606:4700::1 host.example.org\n10.0.0.7 nas.example.org\n';
    const ask = await asking();
    expect(await ask(query('host.example.org', 'A'))).toMatchObject({
      rcode: 'NOERROR',
      answers: [{ data: '1.2.3.4' }],
    });
    expect(await ask(query('HOST.example.org', 'AAAA'))).toMatchObject({ answers: [{ data: '2606:4700::1' }] });
    expect(await ask(query('host.example.org', 'TXT'))).toMatchObject({ rcode: 'NOERROR', answers: [] });
    expect(await ask(query('nas.example.org', 'A'))).toMatchObject({ rcode: 'REFUSED' });
    rules = ['nas.example.org'];
    expect(await ask(query('nas.example.org', 'A'))).toMatchObject({ answers: [{ data: '10.0.0.7' }] });
    expect(server.asked).toEqual([]);
  });
});

describe('limits', () => {
  it('an access entry has 16 resolver streams, and the next is rejected', async () => {
    const exit = await exitWith();
    for (let count = 0; count < 16; count++) await asker(exit);
    const offer = new FakeOffer(UNSPECIFIED, 'laptop', 'resolver');
    exit.handleOffer(offer);
    expect(await offer.refused).toBe('dial-busy');
    await asker(exit, 'phone');
  });

  it('an exit that is short of descriptors answers SERVFAIL', async () => {
    let isOverloaded = false;
    const ask = await asking(await exitWith({ isOverloaded: () => isOverloaded }));
    expect(await ask(query('a.example.org', 'A'))).toMatchObject({ rcode: 'NOERROR' });
    isOverloaded = true;
    expect(await ask(query('b.example.org', 'A'))).toMatchObject({ rcode: 'SERVFAIL' });
  });

  it('questions and answers count for the quota', async () => {
    let used = 0;
    const count = (_peer: string, bytes: number) => {
      used += bytes;
    };
    const one = await asker(await exitWith({ quotas: { isUsedUp: () => used > 5, count } }));
    one.offer.farEnd.on('error', () => {});
    one.send(query('a.example.org', 'A'));
    await one.offer.released;
    expect(one.offer.wasCut).toBe(true);
  });
});

function twice(name: string): packet.Question[] {
  return [
    { name, type: 'A', class: 'IN' },
    { name, type: 'A', class: 'IN' },
  ];
}

function classChaos(message: Buffer): Buffer {
  const changed = Buffer.from(message);
  changed.writeUInt16BE(3, changed.length - 2);
  return changed;
}

/** Its name is a pointer to itself. */
function looped(): Buffer {
  const header = query('a', 'A').subarray(0, 12);
  return Buffer.concat([header, Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
}

/** Where the first record begins. */
function decodeQuestionEnd(message: Buffer): number {
  let at = 12;
  while (message[at] !== 0) at += 1 + (message[at] ?? 0);
  return at + 5;
}
