import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WstunError } from '../../../src/errors.ts';
import { allowedPorts, listenAddressOf, mayListen, parseListenRule } from '../../../src/exit/listen/listen-rules.ts';
import { formatIp, parseIp } from '../../../src/net/ip.ts';
import { nameTarget } from '../../support/proxy/fake-offer.ts';

const ip = (text: string) => parseIp(text)!;

describe('parseListenRule', () => {
  it.each<[string, string, number, boolean]>([
    ['127.0.0.1:8000-8999', '127.0.0.1', 8000, true],
    ['127.0.0.1:8000-8999', '127.0.0.1', 8999, true],
    ['127.0.0.1:8000-8999', '127.0.0.1', 7999, false],
    ['127.0.0.1:8000-8999', '127.0.0.2', 8000, false],
    ['127.0.0.1:8000-8999', '0.0.0.0', 8000, false],
    ['127.0.0.1:8000-8999', '::', 8000, false],
    ['127.0.0.1:8080,9000-9001', '127.0.0.1', 9001, true],
    ['localhost:8080', '127.0.0.1', 8080, true],
    ['localhost:8080', '::1', 8080, true],
    ['localhost:8080', '127.0.0.2', 8080, false],
    ['[::1]:8080', '::1', 8080, true],
    ['[::1]:8080', '127.0.0.1', 8080, false],
    ['[::ffff:127.0.0.1]:8080', '127.0.0.1', 8080, true],
    ['0.0.0.0:8080', '0.0.0.0', 8080, true],
    ['0.0.0.0:8080', '127.0.0.1', 8080, true],
    ['0.0.0.0:8080', '::', 8080, false],
    ['0.0.0.0:8080', '::1', 8080, false],
    ['[::]:8080', '::', 8080, true],
    ['[::]:8080', '0.0.0.0', 8080, true],
    ['*:8080', '::', 8080, true],
    ['*:8080', '0.0.0.0', 8080, true],
    ['*:8080', '192.0.2.1', 8080, true],
    ['*:*', '0.0.0.0', 1024, true],
    ['*:*', '0.0.0.0', 65535, true],
    ['*:*', '0.0.0.0', 1023, false],
    ['127.0.0.1:80', '127.0.0.1', 80, true],
    ['127.0.0.1:8080', '127.0.0.1', 0, true],
    ['127.0.0.1:8080', '127.0.0.2', 0, false],
  ])('%s: %s port %d: %s', (rule, address, port, expected) => {
    expect(mayListen([parseListenRule(rule)], ip(address), port)).toBe(expected);
  });

  it.each([
    ['', 'not ADDRESS:PORTS'],
    ['8080', 'not ADDRESS:PORTS'],
    ['127.0.0.1', 'not ADDRESS:PORTS'],
    ['::1:8080', 'not ADDRESS:PORTS'],
    ['127.0.0.1:', 'is not a port'],
    ['127.0.0.1:0', '1 to 65535'],
    ['127.0.0.1:65536', '1 to 65535'],
    ['127.0.0.1:9-8', 'reverse order'],
    ['127.0.0.1:http', 'is not a port'],
    ['127.0.0.0/8:8080', 'not a network'],
    ['example.com:8080', 'must be an IPv4 address'],
    ['[127.0.0.1]:8080', 'must be an IPv4 address'],
    [':8080', 'must be an IPv4 address'],
    ['127.1:8080', 'must be an IPv4 address'],
    [`127.0.0.1:${'8080,'.repeat(300)}8080`, 'longer than'],
  ])('rejects %j: %s, with examples', (rule, why) => {
    const detail = expect.stringContaining(why) as string;
    const fix = expect.stringContaining('127.0.0.1:8000-8999') as string;
    expect(() => parseListenRule(rule)).toThrow(expect.objectContaining({ fault: 'bad-rule', detail, fix }) as Error);
  });

  it('returns a rule or throws bad-rule for any text', () => {
    const part = fc.constantFrom('127.0.0.1', '[::1]', '*', ':', '8080', '-', ',', 'localhost', '[', ']', '/', '0');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        try {
          const { addresses, ports } = parseListenRule(parts.join(''));
          expect(addresses.length).toBeGreaterThan(0);
          expect(ports.every(({ first, last }) => first >= 1 && last >= first && last <= 65_535)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(WstunError);
        }
      }),
    );
  });
});

it('allowedPorts joins the ranges of all rules for an address', () => {
  const rules = ['127.0.0.1:8000-8999', '*:8500-9500', '[::1]:1'].map(parseListenRule);
  expect(allowedPorts(rules, ip('127.0.0.1'))).toEqual([{ first: 8000, last: 9500 }]);
  expect(allowedPorts(rules, ip('127.0.0.2'))).toEqual([{ first: 8500, last: 9500 }]);
  expect(allowedPorts([], ip('127.0.0.1'))).toEqual([]);
});

it.each<[string, string | undefined]>([
  ['localhost', '127.0.0.1'],
  ['LOCALHOST', '127.0.0.1'],
  ['*', '::'],
  ['127.0.0.1', '127.0.0.1'],
  ['example.com', undefined],
  ['', undefined],
])('listenAddressOf makes of %j: %s', (name, expected) => {
  const found = listenAddressOf(nameTarget(name, 1));
  expect(found && formatIp(found)).toBe(expected);
});
