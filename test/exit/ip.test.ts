import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import { formatIp, network, networkBase, networkContains, parseIp, unmapIp } from '../../src/exit/ip.ts';

const bytesOf = (text: string) => Uint8Array.from(ipaddr.parse(text).toByteArray());

describe('parseIp', () => {
  it.each(['1.2.3.4', '0.0.0.0', '255.255.255.255', '::', '::1', '1::', 'fd00::1:2', '2001:DB8::a', '1:2:3:4:5:6:7:8'])(
    'reads %s',
    (text) => expect(parseIp(text)).toEqual(bytesOf(text)),
  );

  it.each(['::ffff:1.2.3.4', '64:ff9b::10.0.0.1', '1:2:3:4:5:6:255.255.0.1'])('reads %s with its dotted tail', (text) =>
    expect(parseIp(text)).toEqual(bytesOf(text)),
  );

  it.each([
    '',
    '127.1',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '01.2.3.4',
    '2130706433',
    '1.2.3.4.',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4\0',
    '127.0.0.1\0.example.com',
    ' 1.2.3.4',
    '１２７.0.0.1',
    'fe80::1%eth0',
    '::1%0',
    '[::1]',
    ':::',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '::1.2.3',
    '::01.2.3.4',
  ])('refuses %j', (text) => expect(parseIp(text)).toBeUndefined());

  it('reads back what formatIp writes, in the canonical form of RFC 5952', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(bytes, (ip) => {
        expect(parseIp(formatIp(ip))).toEqual(ip);
        expect(formatIp(ip)).toBe(ipaddr.fromByteArray([...ip]).toString());
      }),
      { seed: 5952, numRuns: 500 },
    );
  });
});

describe('networks', () => {
  it('hold what ipaddr.js says they hold, at every length', () => {
    const pair = fc.constantFrom(4, 16).chain((length) => {
      const bytes = fc.uint8Array({ minLength: length, maxLength: length });
      return fc.record({
        ip: bytes,
        other: bytes,
        bits: fc.integer({ min: 0, max: 8 * length }),
        near: fc.nat(8 * length - 1),
      });
    });
    fc.assert(
      fc.property(pair, ({ ip, bits, near, other }) => {
        const flipped = ip.map((byte, i) => (i === near >> 3 ? byte ^ (0x80 >> (near & 7)) : byte));
        const net = { base: networkBase(ip, bits), bits };
        for (const probe of [ip, flipped, other]) {
          const second = ipaddr.fromByteArray([...probe]).match(ipaddr.fromByteArray([...ip]), bits);
          expect(networkContains(net, probe)).toBe(second);
        }
      }),
      { seed: 4632, numRuns: 1000 },
    );
  });

  it('of one family hold nothing of the other', () => {
    expect(networkContains(network('0.0.0.0/0'), bytesOf('::1'))).toBe(false);
    expect(networkContains(network('::/0'), bytesOf('1.2.3.4'))).toBe(false);
  });

  it('with host bits set are a mistake in the source', () => {
    expect(() => network('10.0.0.1/8')).toThrow(TypeError);
  });
});

it('unmapIp takes the IPv4 address out of ::ffff:0:0/96 and leaves every other alone', () => {
  expect(unmapIp(bytesOf('::ffff:7f00:1'))).toEqual(bytesOf('127.0.0.1'));
  for (const text of ['::fffe:7f00:1', '::7f00:1', '64:ff9b::7f00:1', '1.2.3.4']) {
    expect(unmapIp(bytesOf(text))).toEqual(bytesOf(text));
  }
});
