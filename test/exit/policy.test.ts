import { describe, expect, it } from 'vitest';
import { checkAddresses, checkTarget, type OwnEndpoints } from '../../src/exit/policy.ts';
import { parseRule } from '../../src/exit/rules.ts';
import { parseHostText } from '../../src/exit/target-host.ts';
import { formatIp, parseIp } from '../../src/net/ip.ts';
import type { Target } from '../../src/tunnel/stream/stream.ts';

const ip = (text: string) => parseIp(text)!;
const OWN: OwnEndpoints = {
  addresses: ['192.168.1.5', 'fe80::5', '93.184.216.5', '2606:2800::5'].map(ip),
  ports: [8080, 443],
};
const NOWHERE: OwnEndpoints = { addresses: [], ports: [] };

/** A target as a SOCKS client may name it: a literal goes as one when it can. */
function target(host: string, port: number, asName = false): Target {
  const ip = asName ? undefined : parseIp(host);
  return ip ? { kind: 'ip', ip, port } : { kind: 'name', name: host, port };
}

/** In short: `resolve x`, `vouched x`, `dial a b` or the fault. */
function verdict(host: string, port: number, rules: string[] = [], own = OWN, domains: string[] = []): string {
  const fullNamesOf = (name: string) => [...domains.map((domain) => `${name}.${domain}`), name];
  const verdicts = [false, true].map((asName) => {
    const found = checkTarget(target(host, port, asName), { rules: rules.map(parseRule), own, fullNamesOf });
    if (found.kind === 'resolve') {
      const names = found.names.map(({ name, vouched }) => `${vouched ? 'vouched' : 'resolve'} ${name}`);
      return [...names, ...(found.ifUnknown ? [`or ${found.ifUnknown.fault}`] : [])].join(', ');
    }
    return found.kind === 'dial' ? `dial ${found.addresses.map(formatIp).join(' ')}` : found.fault;
  });
  // However a literal comes, as bytes or as the text of a name, its verdict is the same.
  expect(verdicts[0]).toBe(verdicts[1]);
  return verdicts[0]!;
}

function answers(addresses: string[], port: number, rules: string[] = [], vouched = false): string {
  const context = { vouched, rules: rules.map(parseRule), own: OWN };
  const found = checkAddresses(addresses.map(ip), port, context);
  return found.kind === 'dial' ? `dial ${found.addresses.map(formatIp).join(' ')}` : found.fault;
}

describe('the policy without rules', () => {
  it.each(['8.8.8.8', '2606:4700::1111', '64:ff9b::808:808'])('the policy without rules allows %s', (host) =>
    expect(verdict(host, 80)).toBe(`dial ${host}`),
  );

  it('the policy takes an IPv4-mapped address for the IPv4 address in it', () =>
    expect(verdict('::ffff:8.8.8.8', 80)).toBe('dial 8.8.8.8'));

  it.each([
    '127.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    'fd00::1',
    '0.0.0.0',
    '::',
    '::ffff:0.0.0.0',
    '168.63.129.16',
    '255.255.255.255',
  ])('the policy without rules does not allow %s', (host) => expect(verdict(host, 80)).toBe('dial-not-allowed'));

  it.each(OWN.addresses.map(formatIp))('the policy does not allow %s, an address of the exit itself', (host) =>
    expect(verdict(host, 80)).toBe('dial-not-allowed'),
  );

  it('the policy does not allow the exit’s own address through NAT64', () =>
    expect(verdict('64:ff9b::93.184.216.5', 80)).toBe('dial-not-allowed'));

  it.each([25, 465, 587, 445])('the policy closes port %d by default', (port) => {
    expect(verdict('8.8.8.8', port)).toBe('dial-not-allowed');
    expect(answers(['8.8.8.8'], port)).toBe('dial-not-allowed');
  });

  it('the policy resolves names, but not special-use names', () => {
    expect(verdict('Example.COM.', 443)).toBe('resolve example.com');
    for (const name of ['localhost', 'LOCALHOST.', 'a.localhost', 'metadata.google.internal', 'x.onion']) {
      expect(verdict(name, 443)).toBe('dial-not-allowed');
    }
  });

  it.each(['', '127.1', '2130706433', '0', 'a\0b', 'a b', 'fe80::1%1'])('the policy rejects the host %j', (host) =>
    expect(verdict(host, 80)).toBe('dial-bad-target'),
  );

  it.each([0, -1, 65_536, 1.5, Number.NaN])('the policy rejects the port %d', (port) =>
    expect(verdict('8.8.8.8', port)).toBe('dial-bad-target'),
  );
});

describe('the policy with rules', () => {
  it.each([
    ['10.1.2.3', 22, '10.0.0.0/8:22'],
    ['::ffff:10.1.2.3', 22, '10.0.0.0/8:22'],
    ['127.0.0.1', 5432, '127.0.0.1:5432'],
    ['::1', 5432, '[::1]'],
    ['169.254.169.254', 80, '*'],
    ['8.8.8.8', 25, '*:25'],
    ['8.8.8.8', 25, '8.8.8.0/24'],
    ['93.184.216.5', 80, '93.184.216.5:80'],
    ['64:ff9b::a00:1', 80, '[64:ff9b::/96]'],
  ])('the policy allows %s port %d by the rule %s', (host, port, rule) => {
    expect(verdict(host, port)).toBe('dial-not-allowed');
    expect(verdict(host, port, [rule])).toMatch(/^dial [\d:a-f.]+$/);
  });

  it('rules open only their own ports and networks', () => {
    expect(verdict('10.1.2.3', 23, ['10.0.0.0/8:22', '11.0.0.0/8'])).toBe('dial-not-allowed');
    expect(verdict('64:ff9b::a00:1', 22, ['10.0.0.0/8'])).toBe('dial-not-allowed');
  });

  it('rules close nothing that is allowed without them', () => {
    for (const rules of [['10.0.0.0/8:22'], ['myhost:80'], ['*:1']])
      expect(verdict('8.8.8.8', 443, rules)).toBe('dial 8.8.8.8');
    expect(verdict('myhost', 22, ['myhost:80'])).toBe('resolve myhost');
  });

  it('a name rule opens the name at its ports, with any addresses', () => {
    expect(verdict('myhost', 80, ['myhost:80'])).toBe('vouched myhost');
    expect(verdict('a.corp.example', 80, ['*.corp.example'])).toBe('vouched a.corp.example');
    expect(answers(['10.0.0.1', 'fd00::1'], 25, [], true)).toBe('dial 10.0.0.1 fd00::1');
  });

  it('a special-use name needs a rule that names it: no network rule opens it', () => {
    expect(verdict('localhost', 80, ['127.0.0.0/8', '[::1]'])).toBe('dial-not-allowed');
    expect(verdict('localhost', 80, ['localhost:81'])).toBe('dial-not-allowed');
    expect(verdict('localhost', 80, ['localhost:80'])).toBe('vouched localhost');
    expect(verdict('nas.lan', 80, ['*.lan'])).toBe('vouched nas.lan');
    expect(verdict('nas.lan', 80, ['*'])).toBe('vouched nas.lan');
  });

  it('rules do not open malformed targets', () => {
    expect(verdict('127.1', 80, ['*'])).toBe('dial-bad-target');
    expect(verdict('localhost\0.example.com', 80, ['*'])).toBe('dial-bad-target');
  });
});

describe('the answers of a name', () => {
  it('the policy keeps the order of the answers of a name, without duplicates', () => {
    expect(answers(['2606:4700::1', '1.1.1.1', '1.0.0.1', '::ffff:1.1.1.1'], 443)).toBe(
      'dial 2606:4700::1 1.1.1.1 1.0.0.1',
    );
  });

  it.each([
    '10.0.0.1',
    '127.0.0.1',
    '0.0.0.0',
    '::1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    '192.168.1.5',
    '93.184.216.5',
  ])('the policy refuses a name if one of its addresses is %s', (bad) => {
    expect(answers(['1.1.1.1', bad], 80)).toBe('dial-not-allowed');
    expect(answers([bad, '1.1.1.1'], 80)).toBe('dial-not-allowed');
  });

  it('the policy allows public answers mixed with those that a rule opens', () =>
    expect(answers(['1.1.1.1', '10.0.0.1'], 80, ['10.0.0.0/8'])).toBe('dial 1.1.1.1 10.0.0.1'));

  it('the policy fails a name without answers with dial-name-failed', () =>
    expect(answers([], 80)).toBe('dial-name-failed'));
});

describe('the exit’s own ports are never dialled, whatever the rules say', () => {
  const WAYS = [
    '127.0.0.1',
    '127.255.0.9',
    '::1',
    '::ffff:127.0.0.1',
    '0.0.0.0',
    '::',
    '::ffff:0.0.0.0',
    ...OWN.addresses.map(formatIp),
    '::ffff:192.168.1.5',
    '64:ff9b::93.184.216.5',
  ];

  it.each(WAYS)('the policy never allows the exit’s own ports at %s, whatever the rules say', (host) => {
    for (const port of OWN.ports) {
      expect(verdict(host, port, ['*', '127.0.0.0/8', '[::/0]', '0.0.0.0/0'])).toBe('dial-not-allowed');
      expect(answers([host], port, ['*'], true)).toBe('dial-not-allowed');
      expect(answers(['1.1.1.1', host], port, ['*'], true)).toBe('dial-not-allowed');
    }
  });

  it.each(['127.1', '0', '0x7f000001', '2130706433', '127.0.0.1\0', '[::1%lo]'])(
    'the policy never allows the exit’s own ports as %j, whatever the rules say',
    (host) => {
      expect(parseHostText(host).kind).toBe('rejected');
      expect(verdict(host, 8080, ['*'])).toBe('dial-bad-target');
    },
  );

  it('the policy allows other ports of the same machine by a rule', () => {
    expect(verdict('127.0.0.1', 8081, ['127.0.0.1'])).toBe('dial 127.0.0.1');
    expect(verdict('93.184.216.5', 8081, ['93.184.216.5'])).toBe('dial 93.184.216.5');
  });

  it('the policy does not allow the unspecified address by any rule', () => {
    for (const host of ['0.0.0.0', '::', '::ffff:0.0.0.0']) {
      expect(verdict(host, 9999, ['*'], NOWHERE)).toBe('dial-not-allowed');
      expect(answers([host], 9999, ['*'], true)).toBe('dial-not-allowed');
    }
  });
});

describe('a name below search domains', () => {
  const below = (host: string, rules: string[], ...domains: string[]) => verdict(host, 80, rules, OWN, domains);

  it('the policy checks each full name as if the program had asked for it', () => {
    expect(below('wiki', [], 'corp.example')).toBe('resolve wiki.corp.example, resolve wiki');
    expect(below('wiki', ['wiki.corp.example'], 'corp.example')).toBe('vouched wiki.corp.example, resolve wiki');
    expect(below('wiki', ['*.corp.example:80'], 'a.example', 'corp.example')).toBe(
      'resolve wiki.a.example, vouched wiki.corp.example, resolve wiki',
    );
    expect(below('wiki', ['*.corp.example:443'], 'corp.example')).toBe('resolve wiki.corp.example, resolve wiki');
  });

  it('a rule for the name as the program writes it opens its full names', () =>
    expect(below('wiki', ['wiki'], 'corp.example')).toBe('vouched wiki.corp.example, vouched wiki'));

  it('a full name of special use is looked up only if a rule names it', () => {
    expect(below('nas', [], 'lan')).toBe('resolve nas, or dial-not-allowed');
    expect(below('metadata', [], 'google.internal', 'corp.example')).toBe(
      'resolve metadata.corp.example, resolve metadata, or dial-not-allowed',
    );
    expect(below('nas', ['nas'], 'lan')).toBe('vouched nas.lan, vouched nas');
    expect(below('nas', ['*.lan'], 'lan')).toBe('vouched nas.lan, resolve nas');
    // Rules for addresses open no name of special use, as without a search domain.
    expect(below('nas', ['10.0.0.0/8'], 'lan')).toBe('resolve nas, or dial-not-allowed');
  });

  it('a name with dots is unknown if its full name of special use was not looked up', () =>
    expect(below('www.example', [], 'cluster.local')).toBe('resolve www.example'));

  it('a single label may be a host below a search domain of special use', () => {
    expect(below('intranet', [], 'corp.example')).toBe('resolve intranet.corp.example, or dial-not-allowed');
    expect(below('intranet', [], 'lan')).toBe('dial-not-allowed');
  });

  it('a name with a dot at its end is a full name', () =>
    expect(below('wiki.', ['wiki'], 'corp.example')).toBe('vouched wiki'));

  it('a full name leads to private addresses only if a rule opens them', () => {
    expect(answers(['10.0.0.5'], 80)).toBe('dial-not-allowed');
    expect(answers(['10.0.0.5'], 80, ['10.0.0.0/8'])).toBe('dial 10.0.0.5');
    expect(answers(['10.0.0.5'], 80, [], true)).toBe('dial 10.0.0.5');
  });
});

describe('UDP', () => {
  const decide = (host: string, port: number, rules: string[] = []) =>
    checkAddresses([ip(host)], port, {
      transport: 'udp',
      rules: rules.map(parseRule),
      own: OWN,
      vouched: false,
    }).kind;

  it.each<[string, number, string[], string]>([
    ['1.1.1.1', 53, [], 'dial'],
    ['1.1.1.1', 443, [], 'dial'],
    ['1.1.1.1', 137, [], 'refuse'],
    ['1.1.1.1', 138, [], 'refuse'],
    ['1.1.1.1', 445, [], 'refuse'],
    ['1.1.1.1', 137, ['1.1.1.1'], 'dial'],
    ['10.0.0.1', 53, [], 'refuse'],
    ['10.0.0.1', 53, ['10.0.0.0/8'], 'dial'],
    ['192.168.1.5', 53, [], 'refuse'],
    ['192.168.1.5', 443, ['*'], 'refuse'],
    ['224.0.0.1', 53, ['*'], 'refuse'],
    ['239.255.255.250', 1900, ['*'], 'refuse'],
    ['255.255.255.255', 67, ['*'], 'refuse'],
    ['ff02::1', 53, ['*'], 'refuse'],
    ['64:ff9b::e000:1', 53, ['*'], 'refuse'],
    ['0.0.0.0', 53, ['*'], 'refuse'],
  ])('to %s port %d with the rules %j: %s', (host, port, rules, expected) => {
    expect(decide(host, port, rules)).toBe(expected);
  });
});
