import { describe, expect, it } from 'vitest';
import type { Violation } from '../../src/protocol/frame-decoder.ts';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import { UNSPECIFIED } from '../../src/protocol/services.ts';
import type { Target } from '../../src/protocol/target.ts';
import { byteByByte, decodePieces, type LoggedFrame } from '../support/mux/frame-log.ts';
import { frame, wire } from '../support/mux/wire.ts';
import { ipTarget } from '../support/net/targets.ts';

const name: Target = { kind: 'name', name: 'a.example', port: 443 };
const ipv4: Target = ipTarget('192.0.2.1', 80);
const ipv6: Target = ipTarget('2001:db8::1', 22);

/** Every frame, as docs/protocol.md §4 writes it. */
const FRAMES: readonly [what: string, hex: string, write: (to: RecordEncoder) => void, read: LoggedFrame][] = [
  [
    'OPEN, a name',
    '01000011 00000001 00040000 01 03 01bb 612e6578616d706c65',
    (to) => to.open(1, 262144, { service: 'tcp', target: name }),
    ['open', 1, 262144, { service: 'tcp', target: name }],
  ],
  [
    'OPEN, an IPv4 address',
    '0100000c 00000003 00000000 01 01 0050 c0000201',
    (to) => to.open(3, 0, { service: 'tcp', target: ipv4 }),
    ['open', 3, 0, { service: 'tcp', target: ipv4 }],
  ],
  [
    'OPEN, an IPv6 address',
    '01000018 7fffffff 7fffffff 01 04 0016 20010db8000000000000000000000001',
    (to) => to.open(0x7fffffff, 0x7fffffff, { service: 'tcp', target: ipv6 }),
    ['open', 0x7fffffff, 0x7fffffff, { service: 'tcp', target: ipv6 }],
  ],
  [
    'OPEN, UDP that is connected',
    '0100000c 00000005 00000000 02 01 0035 c0000201',
    (to) => to.open(5, 0, { service: 'udp', target: ipTarget('192.0.2.1', 53) }),
    ['open', 5, 0, { service: 'udp', target: ipTarget('192.0.2.1', 53) }],
  ],
  [
    'OPEN, the resolver',
    '0100000c 00000007 00010000 03 01 0000 00000000',
    (to) => to.open(7, 65536, { service: 'resolver', target: UNSPECIFIED }),
    ['open', 7, 65536, { service: 'resolver', target: UNSPECIFIED }],
  ],
  [
    'OPEN, a TCP listener by a name',
    '01000011 00000009 00000000 04 03 1f90 6c6f63616c686f7374',
    (to) => to.open(9, 0, { service: 'tcp-listener', target: { kind: 'name', name: 'localhost', port: 8080 } }),
    ['open', 9, 0, { service: 'tcp-listener', target: { kind: 'name', name: 'localhost', port: 8080 } }],
  ],
  [
    'OPEN, a connection that a listener has accepted',
    '01000010 00000002 00010000 06 01 c000 00000009 c0000201',
    (to) => to.open(2, 65536, { service: 'accepted', target: ipTarget('192.0.2.1', 49152), listener: 9 }),
    ['open', 2, 65536, { service: 'accepted', target: ipTarget('192.0.2.1', 49152), listener: 9 }],
  ],
  [
    'OPENED, of a listener',
    '0200000b 00000009 00000000 01 1f90 7f000001',
    (to) => to.opened(9, 0, ipTarget('127.0.0.1', 8080)),
    ['opened', 9, 0, ipTarget('127.0.0.1', 8080)],
  ],
  ['OPENED', '02000004 00000001 00010000', (to) => to.opened(1, 65536), ['opened', 1, 65536]],
  ['OPEN_FAILED', '03000002 00000001 0020', (to) => to.openFailed(1, 'dial-refused'), ['open-failed', 1, 32]],
  ['CREDIT', '05000004 00000002 00001000', (to) => to.credit(2, 4096), ['credit', 2, 4096]],
  ['FINISH', '06000000 00000007', (to) => to.finish(7), ['finish', 7]],
  ['RESET', '07000002 00000007 002a', (to) => to.reset(7, 'target-reset'), ['reset', 7, 42]],
  [
    'PING',
    '08000008 00000000 0102030405060708',
    (to) => to.ping(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
    ['ping', '0102030405060708'],
  ],
  [
    'PONG',
    '09000008 00000000 0102030405060708',
    (to) => to.pong(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
    ['pong', '0102030405060708'],
  ],
  ['GO_AWAY', '0a000006 00000000 000a 00000009', (to) => to.goAway('shutting-down', 9), ['go-away', 10, 9]],
  ['LINKS', '81000005 00000000 03 00004000', (to) => to.links(3, 16_384), ['links', 3, 16_384]],
];

/** The only type from 0x80 on that this version knows. */
const LINKS = 0x81;

const HELLO = bytesOf('00000008 00000000 0001 0001 00000400');
const HELLO_READ: LoggedFrame = ['hello', 1, 1024, 1];

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

function written(write: (to: RecordEncoder) => void): Buffer {
  const encoder = new RecordEncoder();
  write(encoder);
  return Buffer.concat(encoder.take());
}

describe('Frames, from and to literal bytes', () => {
  it('HELLO is read and written as its literal bytes', () => {
    expect(written((to) => to.hello(1024, 1))).toEqual(HELLO);
    expect(decodePieces([HELLO]).frames).toEqual([HELLO_READ]);
    expect(decodePieces(byteByByte(HELLO)).frames).toEqual([HELLO_READ]);
  });

  it.each(FRAMES)('%s is read and written as its literal bytes', (_what, hex, write, read) => {
    expect(written(write)).toEqual(bytesOf(hex));
    const stream = Buffer.concat([HELLO, bytesOf(hex), bytesOf(hex)]);
    const expected = { frames: [HELLO_READ, read, read], fault: undefined };
    expect(decodePieces([stream])).toEqual(expected);
    expect(decodePieces(byteByByte(stream))).toEqual(expected);
  });

  it('DATA with and without payload is read and written as its literal bytes', () => {
    const bytes = bytesOf('04000003 00000005 aabbcc 04000000 00000005 06000000 00000005');
    const encoded = written((to) => {
      to.dataHeader(5, 3);
      to.payload(Uint8Array.of(0xaa));
      to.payload(Uint8Array.of(0xbb, 0xcc));
      to.dataHeader(5, 0);
      to.finish(5);
    });
    expect(encoded).toEqual(bytes);
    const expected = [HELLO_READ, ['data', 5, 3], ['payload', 'aabbcc'], ['data', 5, 0], ['finish', 5]];
    expect(decodePieces([HELLO, bytes]).frames).toEqual(expected);
    expect(decodePieces(byteByByte(Buffer.concat([HELLO, bytes]))).frames).toEqual(expected);
  });

  it('frames of unknown types from 0x80 on are skipped with their payload', () => {
    const bytes = Buffer.concat([frame(0x80, 0, Buffer.alloc(300, 6)), frame(0xff, 0x7fffffff), wire.finish(1)]);
    const expected = [HELLO_READ, ['ignorable'], ['ignorable'], ['finish', 1]];
    expect(decodePieces([HELLO, bytes]).frames).toEqual(expected);
    expect(decodePieces(byteByByte(Buffer.concat([HELLO, bytes]))).frames).toEqual(expected);
  });

  it('what a later version adds to HELLO is ignored, and unknown features are passed on', () => {
    const long = frame(0, 0, Buffer.concat([bytesOf('0001 fffe 00000400'), Buffer.alloc(1016, 7)]));
    const expected = { frames: [['hello', 1, 1024, 0xfffe]], fault: undefined };
    expect(decodePieces([long])).toEqual(expected);
    expect(decodePieces(byteByByte(long))).toEqual(expected);
  });
});

/** A header alone, of a payload that never comes: it must be enough to judge. */
function verdictOnHeader(type: number, length: number, stream: number): Violation {
  const first = type === 0 ? [] : [HELLO];
  const header = frame(type, stream, Buffer.alloc(0), length);
  const whole = decodePieces([...first, header]).fault;
  expect(decodePieces([...first, ...byteByByte(header)]).fault).toBe(whole);
  return whole;
}

describe('Lengths and stream ids of frames', () => {
  const shapes: readonly [what: string, type: number, min: number, max: number, stream: 0 | 1][] = [
    ['HELLO', 0x00, 8, 1024, 0],
    ['OPEN', 0x01, 9, 263, 1],
    ['OPENED', 0x02, 4, 4, 1],
    ['OPEN_FAILED', 0x03, 2, 2, 1],
    ['DATA', 0x04, 0, 65_511, 1],
    ['CREDIT', 0x05, 4, 4, 1],
    ['FINISH', 0x06, 0, 0, 1],
    ['RESET', 0x07, 2, 2, 1],
    ['PING', 0x08, 8, 8, 0],
    ['PONG', 0x09, 8, 8, 0],
    ['GO_AWAY', 0x0a, 6, 6, 0],
    ['LINKS', 0x81, 5, 5, 0],
  ];

  it.each(shapes)(
    '%s is rejected one byte under and over its lengths, and with a wrong stream id',
    (_what, type, min, max, stream) => {
      expect(verdictOnHeader(type, min, stream)).toBeUndefined();
      expect(verdictOnHeader(type, max, stream)).toBeUndefined();
      if (min > 0) expect(verdictOnHeader(type, min - 1, stream)).toBe('bad-frame');
      expect(verdictOnHeader(type, max + 1, stream)).toBe('bad-frame');
      expect(verdictOnHeader(type, 0xff_ffff, stream)).toBe('bad-frame');
      expect(verdictOnHeader(type, min, 1 - stream)).toBe('bad-frame');
      expect(verdictOnHeader(type, min, 0x8000_0000)).toBe('bad-frame');
      expect(verdictOnHeader(type, min, 0xffff_ffff)).toBe('bad-frame');
      if (stream === 1) expect(verdictOnHeader(type, min, 0x7fff_ffff)).toBeUndefined();
    },
  );

  it('frames of types that no version has are rejected below 0x80', () => {
    for (let type = 0x0b; type < 0x80; type++) expect(verdictOnHeader(type, 0, 0)).toBe('bad-frame');
    for (let type = 0x80; type <= 0xff; type++) {
      if (type === LINKS) continue;
      expect(verdictOnHeader(type, 65_511, 0)).toBeUndefined();
      expect(verdictOnHeader(type, 65_512, 0)).toBe('bad-frame');
      expect(verdictOnHeader(type, 0, 0x8000_0000)).toBe('bad-frame');
    }
  });

  it('a frame before HELLO and a second HELLO are rejected', () => {
    for (let type = 1; type <= 0xff; type++) expect(decodePieces([frame(type, 1)]).fault).toBe('bad-frame');
    expect(decodePieces([HELLO, HELLO])).toEqual({ frames: [HELLO_READ], fault: 'bad-frame' });
  });
});

describe('OPEN with a target that this version cannot dial', () => {
  const openTo = (payload: string): LoggedFrame | undefined =>
    decodePieces([HELLO, frame(1, 1, bytesOf(`00000000 ${payload}`))]).frames[1];

  it.each([
    ['another service', '07 03 0050 61'],
    ['a connection of a listener that names none', '06 01 0050 7f00'],
    ['no such kind', '01 02 0050 61'],
    ['an IPv4 address of 3 bytes', '01 01 0050 7f0000'],
    ['an IPv4 address of 5 bytes', '01 01 0050 7f00000101'],
    ['an IPv6 address of 15 bytes', '01 04 0050 000000000000000000000000000001'],
    ['an IPv6 address of 17 bytes', '01 04 0050 0000000000000000000000000000000001'],
  ])('OPEN with %s is well formed, and has no target', (_what, payload) => {
    expect(openTo(payload)).toEqual(['open', 1, 0, undefined]);
  });

  it('OPEN takes a name of at most 255 bytes, with any bytes in it', () => {
    const host = Buffer.alloc(255, 0xff).toString('latin1');
    expect(openTo(`01 03 0000 ${Buffer.from(host, 'latin1').toString('hex')}`)).toEqual([
      'open',
      1,
      0,
      { service: 'tcp', target: { kind: 'name', name: host, port: 0 } },
    ]);
  });
});

describe('A decoder that found a fault', () => {
  it('a decoder that found a fault passes nothing on any more and repeats the fault', () => {
    const stream = Buffer.concat([HELLO, wire.finish(1), wire.finish(2), wire.finish(3)]);
    const answer = (read: LoggedFrame): Violation =>
      read[1] === 2 && read[0] === 'finish' ? 'wrong-state' : undefined;
    for (const pieces of [[stream, wire.finish(4)], byteByByte(stream)]) {
      expect(decodePieces(pieces, answer)).toEqual({
        frames: [HELLO_READ, ['finish', 1], ['finish', 2]],
        fault: 'wrong-state',
      });
    }
  });

  it('a decoder passes nothing on of DATA whose header it rejects', () => {
    const stream = Buffer.concat([HELLO, wire.data(1, Buffer.alloc(100))]);
    for (const pieces of [[stream], byteByByte(stream)]) {
      const { frames, fault } = decodePieces(pieces, ([type]) => (type === 'data' ? 'window-exceeded' : undefined));
      expect({ frames, fault }).toEqual({ frames: [HELLO_READ, ['data', 1, 100]], fault: 'window-exceeded' });
    }
  });
});
