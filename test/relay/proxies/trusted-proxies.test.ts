import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { TrustedProxies } from '../../../src/relay/proxies/trusted-proxies.ts';

const trusted = new TrustedProxies(['loopback', '10.0.0.0/8', '2001:db8:1::/48', '192.0.2.80']);
const xff = (value: string) => trusted.clientOf({ 'x-forwarded-for': value });
const forwarded = (value: string) => trusted.clientOf({ forwarded: value });

describe('trusted proxies', () => {
  it.each([
    ['127.3.2.1', true],
    ['::1', true],
    ['::ffff:10.1.2.3', true],
    ['10.255.255.255', true],
    ['11.0.0.0', false],
    ['2001:db8:1:ffff::', true],
    ['2001:db8:2::', false],
    ['192.0.2.80', true],
    ['192.0.2.81', false],
    [undefined, false],
  ])('whether %s is trusted: %j', (address, expected) => {
    expect(trusted.has(address)).toBe(expected);
  });

  it.each(['', '10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/-1', 'localhost', '10.0.0.0/8,11.0.0.0/8', '::/129', 'all'])(
    'the network %j is an error',
    (text) => {
      expect(() => new TrustedProxies([text])).toThrow(WstunError);
    },
  );

  it.each([
    ['203.0.113.5', '203.0.113.5'],
    ['198.51.100.1, 203.0.113.5', '203.0.113.5'],
    ['198.51.100.1,203.0.113.5, 10.0.0.7', '203.0.113.5'],
    ['10.0.0.9, 10.0.0.7', '10.0.0.9'],
    ['203.0.113.5:4711', '203.0.113.5'],
    ['[2001:db8::5]:4711', '2001:db8::5'],
    ['2001:DB8::5', '2001:db8::5'],
    ['::ffff:203.0.113.5', '203.0.113.5'],
    ['203.0.113.5, garbage', undefined],
    ['203.0.113.5, garbage, 10.0.0.7', '10.0.0.7'],
    ['unknown', undefined],
    ['', undefined],
  ])('X-Forwarded-For: %j comes from %j', (value, expected) => {
    expect(xff(value)).toBe(expected);
  });

  it.each([
    ['for=203.0.113.5', '203.0.113.5'],
    ['For="[2001:db8::5]:4711"', '2001:db8::5'],
    ['for=198.51.100.1, proto=https;for=203.0.113.5;by=10.0.0.1', '203.0.113.5'],
    ['for=203.0.113.5, for=10.0.0.7', '203.0.113.5'],
    ['for=unknown', undefined],
    ['for=_hidden, for=10.0.0.7', '10.0.0.7'],
    ['by=203.0.113.5', undefined],
  ])('Forwarded: %j comes from %j', (value, expected) => {
    expect(forwarded(value)).toBe(expected);
  });

  it('X-Forwarded-For goes before Forwarded, which a front that sets the other may pass on unread', () => {
    expect(trusted.clientOf({ 'x-forwarded-for': '203.0.113.5', forwarded: 'for=198.51.100.1' })).toBe('203.0.113.5');
  });

  it('whatever a client puts in front, the address that the first proxy saw is the one', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.ipV4(),
        fc.array(fc.constantFrom('10.0.0.1', '127.0.0.1')),
        (forged, seen, proxies) => {
          fc.pre(!trusted.has(seen));
          expect(xff([forged, seen, ...proxies].join(', '))).toBe(seen);
          expect(forwarded([`for=${forged}`, ...[seen, ...proxies].map((hop) => `for=${hop}`)].join(', '))).toBe(seen);
        },
      ),
    );
  });
});
