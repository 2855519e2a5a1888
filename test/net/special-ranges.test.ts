import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';
import { formatIp, parseIp } from '../../src/net/ip.ts';
import { specialRange } from '../../src/net/special-ranges.ts';

const special = (text: string) => specialRange(parseIp(text) ?? expect.unreachable(text));

/** First and last address of each special range; the neighbours outside, empty where they are not public. */
const RANGES: readonly (readonly [first: string, last: string, before: string, after: string])[] = [
  ['0.0.0.0', '0.255.255.255', '', '1.0.0.0'],
  ['10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
  ['100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
  ['127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
  ['169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
  ['172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
  ['192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
  ['192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
  ['192.31.196.0', '192.31.196.255', '192.31.195.255', '192.31.197.0'],
  ['192.52.193.0', '192.52.193.255', '192.52.192.255', '192.52.194.0'],
  ['192.88.99.0', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
  ['192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
  ['192.175.48.0', '192.175.48.255', '192.175.47.255', '192.175.49.0'],
  ['198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
  ['198.51.100.0', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
  ['203.0.113.0', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
  ['224.0.0.0', '255.255.255.255', '223.255.255.255', ''],
  ['168.63.129.16', '168.63.129.16', '168.63.129.15', '168.63.129.17'],
  ['::', '64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff', '', ''],
  ['64:ff9b::1:0:0', '1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '', '2000::'],
  ['2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', '2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:200::'],
  ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db7:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db9::'],
  ['2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2003::'],
  [
    '2620:4f:8000::',
    '2620:4f:8000:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:7fff:ffff:ffff:ffff:ffff:ffff',
    '2620:4f:8001::',
  ],
  ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', '3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '3fff:1000::'],
  ['4000::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '', ''],
];

describe('specialRange', () => {
  it.each(RANGES)('specialRange names %s to %s, and not their neighbours', (first, last, before, after) => {
    expect(special(first)).toBeTypeOf('string');
    expect(special(last)).toBeTypeOf('string');
    if (before) expect(special(before)).toBeUndefined();
    if (after) expect(special(after)).toBeUndefined();
  });

  it.each([
    // RFC 6890 and successors, one of each in IPv6
    '::1',
    '::ffff:0:127.0.0.1',
    '64:ff9b:1::1',
    '100::1',
    '100:0:0:1::1',
    '2001::1',
    '2001:1::1',
    '2001:2::1',
    '2001:3::1',
    '2001:4:112::1',
    '2001:10::1',
    '2001:20::1',
    '2001:30::1',
    '5f00::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fec0::1',
    'ff02::1',
    // addresses inside addresses
    '::127.0.0.1',
    '::7f00:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a00:1',
    '64:ff9b::168.63.129.16',
    '2002:7f00:1::',
    '2002:a00:1::1',
    '2001:0:7f00:1::',
    // metadata services of clouds
    '169.254.169.254',
    '100.100.100.200',
    '192.0.0.192',
  ])('specialRange names %s', (text) => expect(special(text)).toBeTypeOf('string'));

  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '2606:4700::1111',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2a00:1450:4001::5efe:10.0.0.1',
  ])('specialRange finds %s public', (text) => expect(special(text)).toBeUndefined());

  /** Where ipaddr.js 2.5 is known to say `unicast` (or the reverse) for other than public addresses. */
  const KNOWN_DISAGREEMENTS: readonly (readonly [network: string, why: string])[] = [
    ['::/96', 'v4-compatible in hex, deprecated by RFC 4291'],
    ['64:ff9b::/96', 'unwrapped here, rfc6052 there'],
    ['100:0:0:1::/64', 'RFC 9780'],
    ['168.63.129.16/32', 'public by number'],
  ];

  it('specialRange agrees with ipaddr.js, except for known mistakes of that', () => {
    const edges = RANGES.flatMap((range) => range.filter((text) => text !== '')).map((text) => parseIp(text)!);
    const nearEdge = fc.tuple(fc.constantFrom(...edges), fc.integer({ min: -3, max: 3 })).map(([ip, step]) => {
      const moved = Uint8Array.from(ip);
      moved[moved.length - 1] = (moved.at(-1)! + step) & 0xff;
      return moved;
    });
    const any = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((ip) => ip.map((byte, i) => (i === 0 ? 0x20 | (byte & 0x1f) : byte))),
      nearEdge,
    );
    fc.assert(
      fc.property(any, (ip) => {
        const second = ipaddr.fromByteArray([...ip]);
        if (KNOWN_DISAGREEMENTS.some(([range]) => contains(range, second))) return;
        const outside = second.kind() === 'ipv6' && !contains('2000::/3', second) && !contains('::ffff:0:0/96', second);
        const address =
          second.kind() === 'ipv6' && (second as ipaddr.IPv6).isIPv4MappedAddress()
            ? (second as ipaddr.IPv6).toIPv4Address()
            : second;
        const publicThere = address.range() === 'unicast' && !outside;
        expect(`${formatIp(ip)} ${specialRange(ip) === undefined}`).toBe(`${formatIp(ip)} ${publicThere}`);
      }),
      { seed: 6890, numRuns: 3000 },
    );
  });
});

function contains(range: string, ip: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  const [base, bits] = ipaddr.parseCIDR(range);
  return base.kind() === ip.kind() && ip.match(base, bits);
}
