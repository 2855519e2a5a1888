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

describe('without rules', () => {
  it.each(['8.8.8.8', '2606:4700::1111', '64:ff9b::808:808'])('%s is dialled', (host) =>
    expect(verdict(host, 80)).toBe(`dial ${host}`),
  );

  it('an IPv4-mapped address is dialled as the IPv4 address it is', () =>
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
  ])('%s is not allowed', (host) => expect(verdict(host, 80)).toBe('dial-not-allowed'));

  it.each(OWN.addresses.map(formatIp))('%s, an address of the exit itself, is not allowed', (host) =>
    expect(verdict(host, 80)).toBe('dial-not-allowed'),
  );

  it('the exit’s own address through NAT64 is not allowed either', () =>
    expect(verdict('64:ff9b::93.184.216.5', 80)).toBe('dial-not-allowed'));

  it.each([25, 465, 587, 445])('port %d is closed', (port) => {
    expect(verdict('8.8.8.8', port)).toBe('dial-not-allowed');
    expect(answers(['8.8.8.8'], port)).toBe('dial-not-allowed');
  });

  it('names are resolved, special ones are not', () => {
    expect(verdict('Example.COM.', 443)).toBe('resolve example.com');
    for (const name of ['localhost', 'LOCALHOST.', 'a.localhost', 'metadata.google.internal', 'x.onion']) {
      expect(verdict(name, 443)).toBe('dial-not-allowed');
    }
  });

  it.each(['', '127.1', '2130706433', '0', 'a\0b', 'a b', 'fe80::1%1'])('%j is no target', (host) =>
    expect(verdict(host, 80)).toBe('dial-bad-target'),
  );

  it.each([0, -1, 65_536, 1.5, Number.NaN])('port %d is none', (port) =>
    expect(verdict('8.8.8.8', port)).toBe('dial-bad-target'),
  );
});

describe('rules open more', () => {
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
  ])('%s port %d by %s', (host, port, rule) => {
    expect(verdict(host, port)).toBe('dial-not-allowed');
    expect(verdict(host, port, [rule])).toMatch(/^dial [\d:a-f.]+$/);
  });

  it('at their own ports and networks alone', () => {
    expect(verdict('10.1.2.3', 23, ['10.0.0.0/8:22', '11.0.0.0/8'])).toBe('dial-not-allowed');
    expect(verdict('64:ff9b::a00:1', 22, ['10.0.0.0/8'])).toBe('dial-not-allowed');
  });

  it('and close nothing: what was allowed without them stays so', () => {
    for (const rules of [['10.0.0.0/8:22'], ['myhost:80'], ['*:1']])
      expect(verdict('8.8.8.8', 443, rules)).toBe('dial 8.8.8.8');
    expect(verdict('myhost', 22, ['myhost:80'])).toBe('resolve myhost');
  });

  it('a name rule vouches for the name at its ports, and for whatever that resolves to', () => {
    expect(verdict('myhost', 80, ['myhost:80'])).toBe('vouched myhost');
    expect(verdict('a.corp.example', 80, ['*.corp.example'])).toBe('vouched a.corp.example');
    expect(answers(['10.0.0.1', 'fd00::1'], 25, [], true)).toBe('dial 10.0.0.1 fd00::1');
  });

  it('a special name needs a rule that names it: no network opens it', () => {
    expect(verdict('localhost', 80, ['127.0.0.0/8', '[::1]'])).toBe('dial-not-allowed');
    expect(verdict('localhost', 80, ['localhost:81'])).toBe('dial-not-allowed');
    expect(verdict('localhost', 80, ['localhost:80'])).toBe('vouched localhost');
    expect(verdict('nas.lan', 80, ['*.lan'])).toBe('vouched nas.lan');
    expect(verdict('nas.lan', 80, ['*'])).toBe('vouched nas.lan');
  });

  it('bad bytes stay bad', () => {
    expect(verdict('127.1', 80, ['*'])).toBe('dial-bad-target');
    expect(verdict('localhost\0.example.com', 80, ['*'])).toBe('dial-bad-target');
  });
});

describe('the answers of a name', () => {
  it('are dialled in their order, each once', () => {
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
  ])('are refused whole when one of them is %s', (bad) => {
    expect(answers(['1.1.1.1', bad], 80)).toBe('dial-not-allowed');
    expect(answers([bad, '1.1.1.1'], 80)).toBe('dial-not-allowed');
  });

  it('may mix public ones with those that a rule opens', () =>
    expect(answers(['1.1.1.1', '10.0.0.1'], 80, ['10.0.0.0/8'])).toBe('dial 1.1.1.1 10.0.0.1'));

  it('that are none fail as a name', () => expect(answers([], 80)).toBe('dial-name-failed'));
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

  it.each(WAYS)('at %s', (host) => {
    for (const port of OWN.ports) {
      expect(verdict(host, port, ['*', '127.0.0.0/8', '[::/0]', '0.0.0.0/0'])).toBe('dial-not-allowed');
      expect(answers([host], port, ['*'], true)).toBe('dial-not-allowed');
      expect(answers(['1.1.1.1', host], port, ['*'], true)).toBe('dial-not-allowed');
    }
  });

  it.each(['127.1', '0', '0x7f000001', '2130706433', '127.0.0.1\0', '[::1%lo]'])('nor as %j', (host) => {
    expect(parseHostText(host).kind).toBe('rejected');
    expect(verdict(host, 8080, ['*'])).toBe('dial-bad-target');
  });

  it('but others on the same machine are, by a rule', () => {
    expect(verdict('127.0.0.1', 8081, ['127.0.0.1'])).toBe('dial 127.0.0.1');
    expect(verdict('93.184.216.5', 8081, ['93.184.216.5'])).toBe('dial 93.184.216.5');
  });

  it('and the unspecified address is nobody’s, by any rule', () => {
    for (const host of ['0.0.0.0', '::', '::ffff:0.0.0.0']) {
      expect(verdict(host, 9999, ['*'], NOWHERE)).toBe('dial-not-allowed');
      expect(answers([host], 9999, ['*'], true)).toBe('dial-not-allowed');
    }
  });
});

describe('a name below search domains', () => {
  const below = (host: string, rules: string[], ...domains: string[]) => verdict(host, 80, rules, OWN, domains);

  it('is judged as if the program had asked for the full name', () => {
    expect(below('wiki', [], 'corp.example')).toBe('resolve wiki.corp.example, resolve wiki');
    expect(below('wiki', ['wiki.corp.example'], 'corp.example')).toBe('vouched wiki.corp.example, resolve wiki');
    expect(below('wiki', ['*.corp.example:80'], 'a.example', 'corp.example')).toBe(
      'resolve wiki.a.example, vouched wiki.corp.example, resolve wiki',
    );
    expect(below('wiki', ['*.corp.example:443'], 'corp.example')).toBe('resolve wiki.corp.example, resolve wiki');
  });

  it('is opened by a rule for the name as the program writes it, too', () =>
    expect(below('wiki', ['wiki'], 'corp.example')).toBe('vouched wiki.corp.example, vouched wiki'));

  it('of special use needs a rule that names it either way, and else is not asked for', () => {
    expect(below('nas', [], 'lan')).toBe('resolve nas, or dial-not-allowed');
    expect(below('metadata', [], 'google.internal', 'corp.example')).toBe(
      'resolve metadata.corp.example, resolve metadata, or dial-not-allowed',
    );
    expect(below('nas', ['nas'], 'lan')).toBe('vouched nas.lan, vouched nas');
    expect(below('nas', ['*.lan'], 'lan')).toBe('vouched nas.lan, resolve nas');
    // Rules for addresses open no name of special use, as without a search domain.
    expect(below('nas', ['10.0.0.0/8'], 'lan')).toBe('resolve nas, or dial-not-allowed');
  });

  it('that has dots is unknown where its full name of special use was not asked for: it was meant as it is', () =>
    expect(below('www.example', [], 'cluster.local')).toBe('resolve www.example'));

  it('that is of special use alone may be a host there', () => {
    expect(below('intranet', [], 'corp.example')).toBe('resolve intranet.corp.example, or dial-not-allowed');
    expect(below('intranet', [], 'lan')).toBe('dial-not-allowed');
  });

  it('is full with a dot at its end', () => expect(below('wiki.', ['wiki'], 'corp.example')).toBe('vouched wiki'));

  it('leads to private addresses only where a rule opens them', () => {
    expect(answers(['10.0.0.5'], 80)).toBe('dial-not-allowed');
    expect(answers(['10.0.0.5'], 80, ['10.0.0.0/8'])).toBe('dial 10.0.0.5');
    expect(answers(['10.0.0.5'], 80, [], true)).toBe('dial 10.0.0.5');
  });
});
