import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DatagramFraming } from '../../../src/proxy/udp/datagram-framing.ts';
import { datagramHeader, readDatagram } from '../../../src/proxy/udp/datagram-header.ts';
import { HevFraming } from '../../../src/proxy/udp/hev-framing.ts';
import { uotFramingOf } from '../../../src/proxy/udp/uot-framing.ts';
import type { Target } from '../../../src/tunnel/stream/stream.ts';
import { ipTarget } from '../../support/net/targets.ts';
import { data, ipTargets, targets } from '../../support/proxy/datagram-arbitraries.ts';

const SEED = 20_261_201;
const V1 = 'sp.udp-over-tcp.arpa';
const V2 = 'sp.v2.udp-over-tcp.arpa';

function uot(name: string): DatagramFraming {
  const framing = uotFramingOf({ kind: 'name', name, port: 0 });
  if (framing === undefined) throw new Error(name);
  return framing;
}

interface Read {
  readonly target: Target | undefined;
  readonly data: string;
}

/** What is read of the pieces, and what is left of them at the end. */
function readAll(framing: DatagramFraming, pieces: readonly Uint8Array[]): { read: Read[]; left: number; end: string } {
  const read: Read[] = [];
  let held: Buffer = Buffer.alloc(0);
  for (const piece of pieces) {
    held = Buffer.concat([held, piece]);
    for (;;) {
      const frame = framing.read(held);
      if (frame.kind === 'incomplete') break;
      if (frame.kind === 'malformed') return { read, left: held.length, end: frame.kind };
      if (frame.kind === 'datagram') read.push({ target: frame.target, data: frame.data.toString('hex') });
      held = held.subarray(frame.end);
    }
  }
  return { read, left: held.length, end: 'incomplete' };
}

function cutAt(whole: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [0, ...sorted].map((start, i) => whole.subarray(start, sorted[i] ?? whole.length));
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const places = fc.array(fc.nat(), { maxLength: 20 });

describe('the header of a SOCKS5 datagram', () => {
  it('readDatagram returns the target and the data of what datagramHeader stands before', () => {
    fc.assert(
      fc.property(targets(), data, (target, bytes) => {
        const read = readDatagram(Buffer.concat([datagramHeader(target), bytes]));
        expect(read?.target).toEqual(target);
        expect(read?.data.equals(bytes)).toBe(true);
      }),
      { seed: SEED },
    );
  });

  it.each([
    ['nothing', ''],
    ['a header that is cut short', '000000 01 c0000207 00'],
    ['a fragment', '000001 01 c0000207 0035 ff'],
    ['the last fragment', '000081 01 c0000207 0035 ff'],
    ['a reserved byte that is not 0', '010000 01 c0000207 0035 ff'],
    ['another reserved byte that is not 0', '000100 01 c0000207 0035 ff'],
    ['an unknown type of address', '000000 02 c0000207 0035 ff'],
    ['an empty name', '000000 03 00 0035 ff'],
    ['a name that cannot be one', '000000 03 03 2d6162 0035 ff'],
  ])('readDatagram drops %s', (_, bytes) => {
    expect(readDatagram(hex(bytes))).toBeUndefined();
  });

  it.each([
    ['IPv4', '000000 01 c0000207 0035 616263', ipTarget('192.0.2.7', 53)],
    ['IPv6', '000000 04 20010db8000000000000000000000001 01bb 616263', ipTarget('2001:db8::1', 443)],
    ['a name', '000000 03 02 6162 0035 616263', { kind: 'name', name: 'ab', port: 53 }],
  ])('readDatagram reads RFC 1928 §7 with %s', (_, bytes, target) => {
    expect(readDatagram(hex(bytes))).toEqual({ target, data: Buffer.from('abc') });
  });

  it('readDatagram never throws, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readDatagram(Buffer.from(bytes))),
      { seed: SEED, numRuns: 5_000 },
    );
  });
});

describe('datagrams in a TCP connection', () => {
  it.each<[string, () => DatagramFraming, Uint8Array]>([
    ['command 5 of hev-socks5', () => new HevFraming(), Buffer.alloc(0)],
    ['UDP over TCP, version 1', () => uot(V1), Buffer.alloc(0)],
    ['UDP over TCP, version 2 with addresses', () => uot(V2), hex('00 01 00000000 0000')],
  ])('%s: datagrams with their addresses are read wherever the bytes are cut', (_, make, request) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(targets(200), data), { maxLength: 5 }), places, (sent, at) => {
        const framing = make();
        // What it writes has the form of what it reads, behind the request.
        readAll(framing, [request]);
        const frames = sent.flatMap(([to, bytes]) => [framing.header(to, bytes.length), bytes]);
        const whole = Buffer.concat([request, ...frames]);
        expect(readAll(make(), cutAt(whole, at))).toEqual({
          read: sent.map(([target, bytes]) => ({ target, data: Buffer.from(bytes).toString('hex') })),
          left: 0,
          end: 'incomplete',
        });
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it('command 5 of hev-socks5: a sender with a long name, of a hostile exit, leaves the next datagram readable', () => {
    const framing = new HevFraming();
    const name: Target = { kind: 'name', name: 'a'.repeat(255), port: 7 };
    const whole = Buffer.concat(
      [name, ipTarget('192.0.2.7', 53)].flatMap((from) => [framing.header(from, 1), hex('61')]),
    );
    expect(readAll(framing, [whole]).read).toEqual([
      { target: ipTarget('0.0.0.0', 7), data: '61' },
      { target: ipTarget('192.0.2.7', 53), data: '61' },
    ]);
  });

  it('UDP over TCP, version 2: datagrams for one target have no addresses', () => {
    fc.assert(
      fc.property(ipTargets, fc.array(data, { maxLength: 5 }), places, (target, sent, at) => {
        const framing = uot(V2);
        const request = Buffer.concat([hex('01'), datagramHeader(target).subarray(3)]);
        expect(framing.read(request)).toEqual({ kind: 'request', target, end: request.length });
        const whole = Buffer.concat(sent.flatMap((bytes) => [framing.header(target, bytes.length), bytes]));
        const { read } = readAll(framing, cutAt(whole, at));
        expect(read.map(({ data: bytes }) => bytes)).toEqual(sent.map((bytes) => Buffer.from(bytes).toString('hex')));
        expect(whole.length).toBe(sent.reduce((sum, { length }) => sum + length + 2, 0));
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  // The bytes are from the sources: hev-socks5-udp.c, common/uot/conn.go with the values of AddrParser.
  it.each<[string, DatagramFraming, string, Target]>([
    ['hev-socks5, IPv4', new HevFraming(), '0003 0a 01 c0000207 0035 616263', ipTarget('192.0.2.7', 53)],
    ['hev-socks5, a name', new HevFraming(), '0003 09 03 02 6162 0035 616263', { kind: 'name', name: 'ab', port: 53 }],
    ['version 1, IPv4', uot(V1), '00 c0000207 0035 0003 616263', ipTarget('192.0.2.7', 53)],
    ['version 1, IPv6', uot(V1), '01 20010db8000000000000000000000001 0035 0003 616263', ipTarget('2001:db8::1', 53)],
    ['version 1, a name', uot(V1), '02 02 6162 0035 0003 616263', { kind: 'name', name: 'ab', port: 53 }],
  ])('the bytes of %s are those of its specification', (_, framing, bytes, target) => {
    expect(readAll(framing, [hex(bytes)]).read).toEqual([{ target, data: '616263' }]);
    expect(Buffer.concat([framing.header(target, 3), Buffer.from('abc')]).equals(hex(bytes))).toBe(true);
  });

  it.each<[string, DatagramFraming, string]>([
    ['a header of hev-socks5 that is longer than its address', new HevFraming(), '0003 0b 01 c0000207 0035 616263 00'],
    ['a header of hev-socks5 that is shorter than its address', new HevFraming(), '0003 08 01 c0000207 0035 616263'],
    ['a header of hev-socks5 without an address', new HevFraming(), '0003 03'],
    ['a type of address that version 1 does not have', uot(V1), '03 02 6162 0035 0003 616263'],
    ['a request of version 2 with an unknown type of address', uot(V2), '01 09'],
  ])('%s is malformed', (_, framing, bytes) => {
    expect(readAll(framing, [hex(bytes)])).toMatchObject({ end: 'malformed', read: [] });
  });

  it.each<[string, DatagramFraming, string]>([
    ['hev-socks5', new HevFraming(), '0001 09 03 02 2d61 0035 ff 0003 0a 01 c0000207 0035 616263'],
    ['hev-socks5, of an unknown type', new HevFraming(), '0001 09 09 02 2d61 0035 ff 0003 0a 01 c0000207 0035 616263'],
    ['version 1', uot(V1), '02 02 2d61 0035 0001 ff 00 c0000207 0035 0003 616263'],
  ])('%s: a datagram to an impossible name is skipped', (_, framing, bytes) => {
    const whole = hex(bytes);
    const pieces = [...whole].map((byte) => Uint8Array.of(byte));
    expect(readAll(framing, pieces)).toMatchObject({ read: [{ data: '616263' }], left: 0, end: 'incomplete' });
  });

  it('a framing never throws, nor waits for more than a frame can have, whatever comes', () => {
    fc.assert(
      fc.property(fc.constantFrom(...['hev', V1, V2]), fc.uint8Array({ maxLength: 400 }), places, (kind, bytes, at) => {
        readAll(kind === 'hev' ? new HevFraming() : uot(kind), cutAt(bytes, at));
      }),
      { seed: SEED, numRuns: 3_000 },
    );
  });

  it.each(['example.com', 'udp-over-tcp.arpa', 'xsp.udp-over-tcp.arpa'])(
    '%s is not a name that stands for UDP over TCP',
    (name) => {
      expect(uotFramingOf({ kind: 'name', name, port: 0 })).toBeUndefined();
    },
  );

  it('the names of UDP over TCP are found in any case, with any port', () => {
    expect(uotFramingOf({ kind: 'name', name: V2.toUpperCase(), port: 443 })).toBeDefined();
    expect(uotFramingOf(ipTarget('192.0.2.7', 0))).toBeUndefined();
  });
});
