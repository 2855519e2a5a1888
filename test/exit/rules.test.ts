import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRule, type Rule, ruleAllowsAddress, ruleAllowsName } from '../../src/exit/rules.ts';
import { networkBase, parseIp } from '../../src/net/ip.ts';
import { formatRule } from '../support/proxy/format-rule.ts';

const ip = (text: string) => parseIp(text)!;
const opens = (rule: string, address: string, port: number) => ruleAllowsAddress(parseRule(rule), ip(address), port);
const names = (rule: string, name: string, port: number) => ruleAllowsName(parseRule(rule), name, port);

describe('the canonical text of a rule', () => {
  it.each([
    '*',
    '*:25',
    '10.0.0.0/8',
    '10.0.0.0/8:22,80,8000-8999',
    '192.168.1.7',
    '0.0.0.0/0:443',
    '[fd00::/8]:443',
    '[::/0]',
    '[::1]:1-65535',
    'myhost',
    'db.corp.example:5432',
    '*.corp.example:8000-8999',
  ])('formatRule keeps %s', (text) => expect(formatRule(parseRule(text))).toBe(text));

  it.each([
    ['*:*', '*'],
    ['EXAMPLE.com.', 'example.com'],
    ['10.0.0.7/32', '10.0.0.7'],
    ['[fd00::]/8', '[fd00::/8]'],
    ['[fd00::]/8:443', '[fd00::/8]:443'],
    ['[FD00:0:0::1]:*', '[fd00::1]'],
    ['myhost:80,22,80', 'myhost:22,80'],
    ['myhost:10-20,15-30,31,40', 'myhost:10-31,40'],
    ['myhost:0080', 'myhost:80'],
  ])('formatRule writes %s as %s', (text, canonical) => expect(formatRule(parseRule(text))).toBe(canonical));
});

describe('a malformed rule', () => {
  it.each([
    ['', 'it is empty'],
    ['a'.repeat(1025), 'longer than 1024'],
    ['10.1.2.3/8', 'the network is 10.0.0.0/8'],
    ['[fd00::1/8]', 'the network is [fd00::/8]'],
    ['10.0.0.0/33', 'must be 0 to 32'],
    ['10.0.0.0/08', 'must be 0 to 32'],
    ['10.0.0.0/', 'must be 0 to 32'],
    ['[::/129]', 'must be 0 to 128'],
    ['10.0.0.0/8/8', 'not an IPv4 address'],
    ['10.0.0/8', 'not an IPv4 address'],
    ['[10.0.0.0/8]', 'not an IPv6 address'],
    ['[fe80::1%eth0]', 'not an IPv6 address'],
    ['[::ffff:10.0.0.1]', 'write it as the IPv4 address 10.0.0.1'],
    ['fd00::/8', 'in brackets'],
    ['::1', 'in brackets'],
    ['[::1', 'may follow the bracket'],
    ['[::1]x', 'may follow the bracket'],
    ['127.1', 'a number that is not a dotted IPv4 address'],
    ['0x7f000001', 'a number that is not a dotted IPv4 address'],
    ['exa mple.com', 'contains characters that host names never contain'],
    ['a..b', 'a label'],
    ['b\u00fccher.example', 'xn--'],
    ['*.b\u00fccher.example', 'xn--'],
    ['**', 'a star must be alone'],
    ['*example.com', 'a star must be alone'],
    ['a.*.example', 'a star must be alone'],
    ['*.', 'not 1 to 255 bytes'],
    ['*.*', 'contains characters that host names never contain'],
    ['*.10.0.0.1', 'a name must follow'],
    [':80', 'not 1 to 255 bytes'],
    ['myhost:', '"" is not a port'],
    ['myhost:80,', '"" is not a port'],
    ['myhost:http', '"http" is not a port'],
    ['myhost:80-', '"80-" is not a port'],
    ['myhost:-80', '"-80" is not a port'],
    ['myhost:1-2-3', '"1-2-3" is not a port'],
    ['myhost:8 0', '"8 0" is not a port'],
    ['myhost:0', '1 to 65535'],
    ['myhost:65536', '1 to 65535'],
    ['myhost:1-70000', '1 to 65535'],
    ['myhost:90-80', 'write 80-90'],
  ])('parseRule rejects %j: %s', (text, why) => {
    const fault = expect.objectContaining({ fault: 'bad-rule', detail: expect.stringContaining(why) as string });
    expect(() => parseRule(text)).toThrow(fault);
    expect(() => parseRule(text)).toThrow(JSON.stringify(text.slice(0, 300)));
  });

  it('parseRule returns a rule or throws bad-rule for any text', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a-z0-9.*:,\-/[\]]{0,30}$/));
    fc.assert(
      fc.property(text, (rule) => {
        const canonical = attempt(rule);
        if (canonical !== undefined) expect(attempt(canonical)).toBe(canonical);
      }),
      { seed: 109, numRuns: 5000 },
    );
  });
});

/** The canonical text, or undefined for a bad rule; throws whatever else is thrown. */
function attempt(text: string): string | undefined {
  try {
    return formatRule(parseRule(text));
  } catch (error) {
    expect(error).toMatchObject({ fault: 'bad-rule' });
    return undefined;
  }
}

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}(\.[a-z][a-z0-9-]{0,10}){0,3}$/);
const networkOf = (length: number) =>
  fc
    .tuple(fc.uint8Array({ minLength: length, maxLength: length }), fc.integer({ min: 0, max: 8 * length }))
    // An IPv4-mapped address is no rule; none begins with a bit set.
    .map(([bytes, bits]) => ({
      base: networkBase(
        bytes.map((b, i) => (i === 0 ? b | 0x20 : b)),
        Math.max(bits, 3),
      ),
      bits: Math.max(bits, 3),
    }));
const host = fc.oneof(
  fc.constant({ kind: 'any' as const }),
  fc.record({ kind: fc.constantFrom('name' as const, 'below' as const), name }),
  fc.record({ kind: fc.constant('network' as const), network: fc.oneof(networkOf(4), networkOf(16)) }),
);
const port = fc.integer({ min: 1, max: 65_535 });
const rule = fc.record({
  host,
  ports: fc.oneof(fc.constant('all'), fc.array(fc.tuple(port, port), { minLength: 1, maxLength: 5 })),
});

it('parseRule reads what formatRule writes as the same rule', () => {
  fc.assert(
    fc.property(rule, ({ host, ports }) => {
      const text =
        typeof ports === 'string' ? '*' : ports.map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`).join(',');
      const hostText = formatRule({ host, ports: 'all' });
      const parsed: Rule = parseRule(`${hostText}:${text}`);
      expect(parsed.host).toEqual(host);
      expect(parseRule(formatRule(parsed))).toEqual(parsed);
      for (const probe of [1, 80, 65_535, ...(typeof ports === 'string' ? [] : ports.flat())]) {
        const covered =
          typeof ports === 'string' || ports.some(([a, b]) => Math.min(a, b) <= probe && probe <= Math.max(a, b));
        expect(ruleAllowsName({ host: { kind: 'any' }, ports: parsed.ports }, 'x', probe)).toBe(covered);
      }
    }),
    { seed: 4, numRuns: 1000 },
  );
});

describe('what a rule covers', () => {
  it('a network rule covers addresses at its ports, and no names', () => {
    expect(opens('10.0.0.0/8:22,80-90', '10.255.0.1', 85)).toBe(true);
    expect(opens('10.0.0.0/8:22,80-90', '10.255.0.1', 91)).toBe(false);
    expect(opens('10.0.0.0/8', '11.0.0.0', 22)).toBe(false);
    expect(opens('[fd00::/8]:443', 'fdff::1', 443)).toBe(true);
    expect(opens('[::/0]', '10.0.0.1', 443)).toBe(false);
    expect(names('0.0.0.0/0', 'myhost', 80)).toBe(false);
  });

  it('a name rule covers only that name, and no addresses', () => {
    expect(names('myhost:80', 'myhost', 80)).toBe(true);
    expect(names('myhost:80', 'myhost', 81)).toBe(false);
    expect(names('myhost', 'a.myhost', 80)).toBe(false);
    expect(opens('myhost', '10.0.0.1', 80)).toBe(false);
  });

  it('a rule *.name covers names below it at any depth, but neither itself nor names that only end alike', () => {
    expect(names('*.corp.example', 'a.corp.example', 80)).toBe(true);
    expect(names('*.corp.example', 'a.b.corp.example', 80)).toBe(true);
    expect(names('*.corp.example', 'corp.example', 80)).toBe(false);
    expect(names('*.corp.example', 'evilcorp.example', 80)).toBe(false);
  });

  it('the rule * covers every address and name', () => {
    expect(opens('*', '127.0.0.1', 25)).toBe(true);
    expect(opens('*:443', 'fe80::1', 443)).toBe(true);
    expect(names('*:443', 'localhost', 443)).toBe(true);
    expect(names('*:443', 'localhost', 80)).toBe(false);
  });
});
