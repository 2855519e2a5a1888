/** Associations of an exit over real sockets of this machine; their time is passed in. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { WstunError } from '../../../src/errors.ts';
import type { Resolver } from '../../../src/exit/resolver.ts';
import { parseRule } from '../../../src/exit/rules.ts';
import { Exit, type ExitOptions } from '../../../src/exit/serving/exit.ts';
import type { IpBytes } from '../../../src/net/ip.ts';
import { formatIp, parseIp } from '../../../src/net/ip.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { UNSPECIFIED } from '../../../src/protocol/services.ts';
import type { OfferedStream, Target } from '../../../src/tunnel/stream/stream.ts';
import { PATIENCE } from '../../support/patience.ts';
import { FakeOffer, nameTarget } from '../../support/proxy/fake-offer.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const WAIT = { timeout: 5_000 * PATIENCE, interval: 2 };
const ip = (text: string) => parseIp(text)!;
const at = (text: string, port: number): Target => ({ kind: 'ip', ip: ip(text), port });

/** A program at some address of loopback that notes what it receives. */
interface Far {
  readonly socket: Socket;
  readonly address: string;
  readonly port: number;
  readonly received: { readonly text: string; readonly from: number }[];
}

let open: Socket[] = [];
let offers: FakeOffer[] = [];
let rules: string[] = [];
let names: Record<string, readonly string[] | Promise<readonly string[]> | WstunError> = {};
let lookUps: string[] = [];
let clock: VirtualClock;

const resolver: Resolver = {
  fullNamesOf: (name) => [name],
  async resolve([name = '']) {
    lookUps.push(name);
    const found = await names[name];
    if (found instanceof WstunError) throw found;
    const addresses: readonly IpBytes[] = (found ?? []).map(ip);
    if (addresses.length === 0) throw new WstunError('dial-name-unknown');
    return { name, addresses };
  },
};

function exitWith(options: Partial<ExitOptions> = {}): Exit {
  const rulesFor = () => rules.map(parseRule);
  const ownEndpoints = () => ({ addresses: [], ports: [] });
  return new Exit({ resolver, rulesFor, ownEndpoints, logger: silentLogger, clock, ...options });
}

function offerTo(exit: Exit, target: Target = UNSPECIFIED, peer = 'laptop'): FakeOffer {
  const offer = new FakeOffer(target, peer, 'udp');
  offers.push(offer);
  exit.handleOffer(offer);
  return offer;
}

/** One that the exit has accepted. */
async function opened(exit: Exit, target?: Target, peer?: string): Promise<FakeOffer> {
  const offer = offerTo(exit, target, peer);
  await offer.accepted;
  return offer;
}

async function far(address = '127.0.0.1', { echoes = false } = {}): Promise<Far> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  open.push(socket);
  socket.bind(0, address);
  await once(socket, 'listening');
  const received: { text: string; from: number }[] = [];
  socket.on('message', (bytes, from) => {
    received.push({ text: bytes.toString(), from: from.port });
    if (echoes) socket.send(`echo ${bytes.toString()}`, from.port, from.address);
  });
  return { socket, address, port: socket.address().port, received };
}

const unexpected = (): never => {
  throw new Error('an association was to be accepted');
};

/** One that costs little. */
function plainOffer(release: () => void): OfferedStream {
  return {
    ...{ service: 'udp', target: UNSPECIFIED, peer: 'laptop', signal: new AbortController().signal, release },
    accept: unexpected,
    acceptListener: unexpected,
    refuse: () => {},
    acceptAssociation: () => ({ send: () => {}, close: () => {} }),
  };
}

const send = (offer: FakeOffer, text: string, to?: Target) => offer.handler?.handleDatagram(Buffer.from(text), to);
const texts = (offer: FakeOffer) => offer.datagrams.map(({ bytes }) => Buffer.from(bytes).toString());
const arrives = (place: Far, text: string) =>
  vi.waitFor(() => expect(place.received.map((each) => each.text)).toContain(text), WAIT);
const comesBack = (offer: FakeOffer, text: string) => vi.waitFor(() => expect(texts(offer)).toContain(text), WAIT);

/** The port at the exit, once something has come from it. */
async function portOf(offer: FakeOffer, place: Far): Promise<number> {
  send(offer, 'where', at(place.address, place.port));
  await arrives(place, 'where');
  return place.received.at(-1)!.from;
}

beforeEach(() => {
  rules = ['127.0.0.0/8', '[::1]'];
  names = {};
  lookUps = [];
  clock = new VirtualClock();
});

afterEach(async () => {
  for (const offer of offers) offer.abandon();
  await Promise.all(offers.map(({ released }) => released));
  for (const socket of open) socket.close();
  open = [];
  offers = [];
});

describe('an association that is not connected', () => {
  it('sends each datagram where it says, from one port, and says where answers come from', async () => {
    const [one, two] = [await far('127.0.0.1', { echoes: true }), await far('127.0.0.2', { echoes: true })];
    const exit = exitWith();
    const offer = await opened(exit);
    send(offer, 'a', at('127.0.0.1', one.port));
    send(offer, 'b', at('127.0.0.2', two.port));
    await comesBack(offer, 'echo a');
    await comesBack(offer, 'echo b');
    expect(one.received[0]?.from).toBe(two.received[0]?.from);
    const origins = new Set(offer.datagrams.map(({ to }) => to?.kind === 'ip' && `${formatIp(to.ip)} ${to.port}`));
    expect(origins).toEqual(new Set([`127.0.0.1 ${one.port}`, `127.0.0.2 ${two.port}`]));
    expect(exit.counters()).toMatchObject({ open: 1, accepted: 1 });
  });

  it('uses a second socket for IPv6', async () => {
    const six = await far('::1', { echoes: true });
    const offer = await opened(exitWith());
    send(offer, 'six', at('::1', six.port));
    await comesBack(offer, 'echo six');
    expect(offer.datagrams[0]?.to).toEqual(at('::1', six.port));
  });

  it('receives from any port of an address to which it has sent, and from no other address', async () => {
    const [known, sibling, stranger] = [await far('127.0.0.3'), await far('127.0.0.3'), await far('127.0.0.4')];
    const offer = await opened(exitWith());
    const port = await portOf(offer, known);
    stranger.socket.send('forged', port, '127.0.0.1');
    sibling.socket.send('from another port', port, '127.0.0.1');
    await comesBack(offer, 'from another port');
    stranger.socket.send('forged', port, '127.0.0.1');
    known.socket.send('last', port, '127.0.0.1');
    await comesBack(offer, 'last');
    expect(texts(offer)).toEqual(['from another port', 'last']);
  });

  it('receives nothing more from an address to which it has not sent for 120 s', async () => {
    const [quiet, busy] = [await far('127.0.0.3'), await far('127.0.0.4')];
    const offer = await opened(exitWith());
    const port = await portOf(offer, quiet);
    for (let turn = 0; turn < 3; turn++) {
      await clock.advance(41_000);
      send(offer, `keep ${turn}`, at('127.0.0.4', busy.port));
      await arrives(busy, `keep ${turn}`);
    }
    quiet.socket.send('late', port, '127.0.0.1');
    busy.socket.send('in time', port, '127.0.0.1');
    await comesBack(offer, 'in time');
    expect(texts(offer)).toEqual(['in time']);
  });

  it('drops what the policy does not allow, and goes on', async () => {
    const [allowed, closed] = [await far('127.0.0.1'), await far('127.0.0.9')];
    rules = ['127.0.0.1'];
    const offer = await opened(exitWith());
    send(offer, 'no', at('127.0.0.9', closed.port));
    send(offer, 'no', at('10.0.0.1', 53));
    send(offer, 'no', at('255.255.255.255', 9));
    send(offer, 'no', nameTarget('localhost', closed.port));
    send(offer, 'no', nameTarget('not a name', 1));
    send(offer, 'yes', at('127.0.0.1', allowed.port));
    await arrives(allowed, 'yes');
    expect(closed.received).toEqual([]);
    expect(offer.calls).toEqual(['accept']);
  });

  it('checks a destination again after 5 s, by the rules of then', async () => {
    const place = await far();
    const offer = await opened(exitWith());
    send(offer, 'first', at('127.0.0.1', place.port));
    await arrives(place, 'first');
    rules = [];
    await clock.advance(5_001);
    send(offer, 'second', at('127.0.0.1', place.port));
    rules = ['127.0.0.1'];
    await clock.advance(5_001);
    send(offer, 'third', at('127.0.0.1', place.port));
    await arrives(place, 'third');
    expect(place.received.map(({ text }) => text)).toEqual(['first', 'third']);
  });

  it('looks a name up once for datagrams that come at once, and sends those that waited less than 1 s', async () => {
    const place = await far();
    let answer: (addresses: string[]) => void = () => {};
    names = {
      'name.example': new Promise((resolve) => {
        answer = resolve;
      }),
    };
    rules = ['name.example'];
    const offer = await opened(exitWith());
    send(offer, 'late', nameTarget('name.example', place.port));
    await clock.advance(600);
    send(offer, 'waited', nameTarget('name.example', place.port));
    await clock.advance(600);
    answer(['127.0.0.1']);
    await arrives(place, 'waited');
    expect(place.received.map(({ text }) => text)).toEqual(['waited']);
    expect(lookUps).toEqual(['name.example']);
  });

  it('does not send to a name that resolves to an address which is not allowed, now or later (rebinding)', async () => {
    const place = await far();
    rules = ['127.0.0.1'];
    names = { 'good.example': ['127.0.0.1'], 'bad.example': ['127.0.0.1', '10.0.0.1'] };
    const offer = await opened(exitWith());
    send(offer, 'bad', nameTarget('bad.example', place.port));
    send(offer, 'good', nameTarget('good.example', place.port));
    await arrives(place, 'good');
    names = { 'good.example': ['10.0.0.1'] };
    await clock.advance(5_001);
    // What was decided before holds until the answer, which forbids the next one.
    send(offer, 'during', nameTarget('good.example', place.port));
    await clock.advance(10);
    send(offer, 'after', nameTarget('good.example', place.port));
    send(offer, 'end', at('127.0.0.1', place.port));
    await arrives(place, 'end');
    expect(place.received.map(({ text }) => text)).toEqual(['good', 'during', 'end']);
  });

  it('stays with an address of a name while the name has it, and when no name server answers', async () => {
    const [one, two] = [await far('127.0.0.1'), await far('127.0.0.2')];
    const both = createSocket('udp4');
    open.push(both);
    both.bind(two.port === one.port ? 0 : one.port, '127.0.0.2');
    await once(both, 'listening');
    rules = ['name.example'];
    names = { 'name.example': ['127.0.0.1', '127.0.0.2'] };
    const offer = await opened(exitWith());
    send(offer, 'a', nameTarget('name.example', one.port));
    await arrives(one, 'a');
    names = { 'name.example': ['127.0.0.2', '127.0.0.1'] };
    await clock.advance(5_001);
    send(offer, 'b', nameTarget('name.example', one.port));
    await clock.advance(10);
    send(offer, 'c', nameTarget('name.example', one.port));
    await arrives(one, 'c');
    names = { 'name.example': new WstunError('dial-name-failed') };
    await clock.advance(5_001);
    send(offer, 'd', nameTarget('name.example', one.port));
    await clock.advance(10);
    send(offer, 'e', nameTarget('name.example', one.port));
    await arrives(one, 'e');
    expect(lookUps).toHaveLength(3);
  });

  it('leaves the address of a name that cannot be looked up any more when the rules of now forbid it', async () => {
    const place = await far();
    rules = ['*'];
    names = { 'name.example': ['127.0.0.1'] };
    const offer = await opened(exitWith());
    send(offer, 'a', nameTarget('name.example', place.port));
    await arrives(place, 'a');
    rules = [];
    names = { 'name.example': new WstunError('dial-name-failed') };
    await clock.advance(5_001);
    send(offer, 'during', nameTarget('name.example', place.port));
    await clock.advance(10);
    send(offer, 'after', nameTarget('name.example', place.port));
    rules = ['127.0.0.1'];
    send(offer, 'end', at('127.0.0.1', place.port));
    await arrives(place, 'end');
    expect(place.received.map(({ text }) => text)).toEqual(['a', 'during', 'end']);
  });

  it('looks at most 32 names up at a time, drops datagrams to others, and warns of nothing', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    const place = await far();
    let answer: (addresses: string[]) => void = () => {};
    const later = new Promise<string[]>((resolve) => {
      answer = resolve;
    });
    rules = ['*'];
    const offer = await opened(exitWith());
    for (let index = 0; index < 40; index++) {
      names[`n${index}.example`] = later;
      send(offer, `to n${index}`, nameTarget(`n${index}.example`, place.port));
    }
    await vi.waitFor(() => expect(lookUps).toHaveLength(32), WAIT);
    answer(['127.0.0.1']);
    await arrives(place, 'to n31');
    send(offer, 'again', nameTarget('n39.example', place.port));
    await arrives(place, 'again');
    expect(place.received.map(({ text }) => text)).not.toContain('to n32');
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });

  it('keeps at most 64 datagrams and 64 KiB for names that are being looked up', async () => {
    const place = await far();
    let answer: (addresses: string[]) => void = () => {};
    names = {
      'name.example': new Promise((resolve) => {
        answer = resolve;
      }),
    };
    rules = ['name.example'];
    const offer = await opened(exitWith());
    for (let index = 0; index < 100; index++) send(offer, `small ${index}`, nameTarget('name.example', place.port));
    answer(['127.0.0.1']);
    await arrives(place, 'small 63');
    send(offer, 'end', nameTarget('name.example', place.port));
    await arrives(place, 'end');
    expect(place.received).toHaveLength(65);
  });
});

describe('a connected association', () => {
  it('exchanges datagrams with its target only', async () => {
    const [place, stranger] = [await far('127.0.0.1', { echoes: true }), await far('127.0.0.1')];
    const offer = await opened(exitWith(), at('127.0.0.1', place.port));
    send(offer, 'a');
    await comesBack(offer, 'echo a');
    stranger.socket.send('forged', place.received[0]!.from, '127.0.0.1');
    send(offer, 'b');
    await comesBack(offer, 'echo b');
    expect(texts(offer)).toEqual(['echo a', 'echo b']);
    expect(offer.datagrams.every(({ to }) => to === undefined)).toBe(true);
  });

  it('goes on when its target was gone for a while, although ICMP says so', async () => {
    const place = await far();
    const offer = await opened(exitWith(), at('127.0.0.1', place.port));
    place.socket.close();
    open = open.filter((socket) => socket !== place.socket);
    for (let index = 0; index < 3; index++) {
      send(offer, 'lost');
      await new Promise(setImmediate);
    }
    const back = createSocket('udp4');
    open.push(back);
    back.bind(place.port, '127.0.0.1');
    await once(back, 'listening');
    const received = once(back, 'message');
    send(offer, 'again');
    expect(String((await received)[0])).toBe('again');
    expect(offer.calls).toEqual(['accept']);
  });

  it.each<[string, number, string]>([
    ['10.0.0.1', 53, 'dial-not-allowed'],
    ['224.0.0.251', 5353, 'dial-not-allowed'],
    ['255.255.255.255', 9, 'dial-not-allowed'],
    ['0.0.0.0', 53, 'dial-not-allowed'],
    ['localhost', 53, 'dial-not-allowed'],
    ['nothing.example', 53, 'dial-name-unknown'],
    ['a b', 53, 'dial-bad-target'],
  ])('to %s port %d is refused with %s', async (host, port, fault) => {
    const offer = offerTo(exitWith(), nameTarget(host, port));
    await offer.released;
    expect(offer.calls).toEqual([`refuse ${fault}`, 'release']);
  });

  it('to many machines is refused even by a rule for everything', async () => {
    rules = ['*'];
    for (const host of ['224.0.0.251', '255.255.255.255', 'ff02::fb', '[::ffff:224.0.0.251]']) {
      const offer = offerTo(exitWith(), nameTarget(host, 5353));
      await offer.released;
      expect(offer.calls).toEqual(['refuse dial-not-allowed', 'release']);
    }
  });

  it('is not opened where targets are dialled through a proxy', async () => {
    const offer = offerTo(exitWith({ mayUseUdp: () => false }), at('127.0.0.1', 9));
    expect(await offer.refused).toBe('dial-not-allowed');
  });
});

describe('the end of an association', () => {
  it('comes after 120 s without a datagram, and not before', async () => {
    const place = await far('127.0.0.1', { echoes: true });
    const exit = exitWith();
    const offer = await opened(exit);
    await clock.advance(100_000);
    send(offer, 'a', at('127.0.0.1', place.port));
    await comesBack(offer, 'echo a');
    await clock.advance(119_000);
    expect(offer.calls).toEqual(['accept']);
    await clock.advance(1_001);
    await offer.released;
    expect(offer.calls).toEqual(['accept', 'close', 'release']);
    expect(exit.counters().open).toBe(0);
  });

  it('frees its sockets before its slot', async () => {
    const place = await far();
    const offer = await opened(exitWith());
    const port = await portOf(offer, place);
    offer.abandon();
    await offer.released;
    const taken = createSocket('udp4');
    open.push(taken);
    taken.bind(port, '0.0.0.0');
    await once(taken, 'listening');
  });

  it('comes with quota-used when the quota of its access entry is used up', async () => {
    const place = await far();
    let used = 0;
    const count = (_peer: string, bytes: number) => {
      used += bytes;
    };
    const quotas = { isUsedUp: () => used > 10, count };
    const exit = exitWith({ quotas });
    const offer = await opened(exit);
    send(offer, '12345678', at('127.0.0.1', place.port));
    send(offer, '12345678', at('127.0.0.1', place.port));
    await offer.released;
    expect(offer.calls).toEqual(['accept', 'close quota-used', 'release']);
    expect(await offerTo(exit).refused).toBe('quota-used');
  });
});

describe('many associations', () => {
  it('of one access entry: the one idle for longest makes room, and those of others are left alone', async () => {
    const associations = { perPeer: 4, total: 8, idleMs: 3_000 };
    const exit = exitWith({ associations });
    const other = await opened(exit, UNSPECIFIED, 'phone');
    const first = await opened(exit);
    for (let index = 0; index < 3; index++) await opened(exit);
    // What is not idle is not ended.
    expect(await offerTo(exit).refused).toBe('dial-busy');
    await clock.advance(4_000);
    for (let index = 0; index < 4; index++) await offerTo(exit).accepted;
    await first.released;
    expect(first.calls).toEqual(['accept', 'close', 'release']);
    expect(exit.counters().open).toBe(5);
    expect(other.calls).toEqual(['accept']);
  });

  it('100,000 in a row leave as many open as there are places', { tags: ['waits'] }, async () => {
    let now = 0;
    const exit = exitWith({ clock: { ...systemClock, now: () => now } });
    const other = await opened(exit, UNSPECIFIED, 'phone');
    const place = await far('127.0.0.1', { echoes: true });
    let released = 0;
    for (let round = 0; round < 200; round++) {
      send(other, `${round}`, at('127.0.0.1', place.port));
      for (let count = 0; count < 500; count++) exit.handleOffer(plainOffer(() => released++));
      await new Promise(setImmediate);
      now += 3_001;
    }
    expect(exit.counters().open).toBe(513);
    expect(released).toBe(100_000 - 512);
    expect(other.calls).toEqual(['accept']);
    await comesBack(other, 'echo 199');
  });

  it('open no socket while the process is short of descriptors', async () => {
    const place = await far();
    let isOverloaded = false;
    const exit = exitWith({ isOverloaded: () => isOverloaded });
    const offer = await opened(exit);
    isOverloaded = true;
    send(offer, 'no', at('127.0.0.1', place.port));
    expect(await offerTo(exit).refused).toBe('dial-busy');
    isOverloaded = false;
    send(offer, 'yes', at('127.0.0.1', place.port));
    await arrives(place, 'yes');
    expect(place.received).toHaveLength(1);
  });
});
