import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHost, parseHostText } from '../../src/exit/target-host.ts';
import { formatIp } from '../../src/net/ip.ts';
import { ipTarget } from '../support/net/targets.ts';

/** The host in short: `name x`, `address x` or `rejected`. */
function short(text: string): string {
  const host = parseHostText(text);
  if (host.kind === 'name') return `name ${host.name}`;
  return host.kind === 'address' ? `address ${formatIp(host.ip)}` : host.kind;
}

const LABEL_63 = 'a'.repeat(63);
const NAME_253 = `${`${LABEL_63}.`.repeat(3)}${'b'.repeat(61)}`;

describe('parseHostText', () => {
  it.each([
    ['example.com', 'example.com'],
    ['EXAMPLE.Com', 'example.com'],
    ['example.com.', 'example.com'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['_srv.under_score.example', '_srv.under_score.example'],
    ['ends-.in-.hyphens-', 'ends-.in-.hyphens-'],
    ['r3---sn-h0jeln7l.googlevideo.com', 'r3---sn-h0jeln7l.googlevideo.com'],
    ['myhost', 'myhost'],
    ['3com.com', '3com.com'],
    ['1.2.3.4.example', '1.2.3.4.example'],
    ['0xabc.example', '0xabc.example'],
    ['a.0xyz', 'a.0xyz'],
    [NAME_253, NAME_253],
    [`${NAME_253}.`, NAME_253],
  ])('parseHostText reads %s as a name', (text, name) => expect(short(text)).toBe(`name ${name}`));

  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['::1', '::1'],
    ['[2001:DB8::1]', '2001:db8::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['[::ffff:a00:1]', '10.0.0.1'],
  ])('parseHostText reads %s as an address', (text, ip) => expect(short(text)).toBe(`address ${ip}`));

  it.each([
    '',
    '.',
    '..',
    'a..b',
    '.example.com',
    'example.com..',
    '-',
    '-h',
    '-h.example',
    'a.-h.example',
    'example.-com',
    '--help',
    `${LABEL_63}a.example`,
    `${NAME_253}c`,
    'x'.repeat(256),
    // inet_aton's spellings of 127.0.0.1, and of 0.0.0.0
    '127.1',
    '127.0.1',
    '0x7f.1',
    '0x7f.0.0.1',
    '0x7f000001',
    '0177.0.0.1',
    '017700000001',
    '2130706433',
    '127.0.0.01',
    '127.0.0.1.',
    '127.0.0.0x1',
    '0',
    '00',
    '0x',
    '0X0',
    '1.2.3.4.5',
    '1.2.3.256',
    'foo.127',
    'foo.0x7f',
    'foo.0X7F.',
    // bytes that no host name has
    'example.com\0',
    '127.0.0.1\0.example.com',
    '\0',
    'a b.example',
    ' example.com',
    'example.com\n',
    'example.com\r\nHost: x',
    'user@example.com',
    'example.com:80',
    'example.com/path',
    'ex%61mple.com',
    'b\u00fccher.example',
    '\u00ef\u00bc\u0091',
    '１２７.0.0.1',
    '127。0。0。1',
    '*.example.com',
    // brackets and zones
    'fe80::1%eth0',
    '[fe80::1%25eth0]',
    '[127.0.0.1]',
    '[example.com]',
    '[]',
    '[::1',
    '::1]',
    '[[::1]]',
    '[::1]:80',
  ])('parseHostText rejects %j', (text) => expect(short(text)).toBe('rejected'));

  it('parseHostText makes of any bytes a rejection, a safe name or an address, and reads its own output the same', () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 300 }).map((list) => Buffer.from(list).toString('latin1'));
    const near = fc.stringMatching(/^[a-zA-Z0-9._:[\]\-x%]{0,40}$/);
    fc.assert(
      fc.property(fc.oneof(bytes, near), (text) => {
        const host = parseHostText(text);
        if (host.kind === 'name') {
          expect(host.name).toMatch(/^[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*$/);
          expect(parseHostText(host.name)).toEqual(host);
        }
        if (host.kind === 'address') expect(parseHostText(formatIp(host.ip))).toEqual(host);
        if (host.kind === 'rejected' && text.length > 3) expect(host.reason).not.toContain(text);
      }),
      { seed: 1123, numRuns: 5000 },
    );
  });
});

describe('parseHost', () => {
  it('parseHost takes an IPv4-mapped address for the IPv4 address it holds', () => {
    expect(parseHost(ipTarget('1.2.3.4', 80))).toEqual({ kind: 'address', ip: Uint8Array.of(1, 2, 3, 4) });
    expect(parseHost(ipTarget('::ffff:1.2.3.4', 80))).toEqual({ kind: 'address', ip: Uint8Array.of(1, 2, 3, 4) });
  });

  it.each([0, 3, 5, 15, 17])('parseHost rejects an address of %i bytes', (length) => {
    expect(parseHost({ kind: 'ip', ip: new Uint8Array(length), port: 80 }).kind).toBe('rejected');
  });

  it('parseHost takes a name that spells an address for that address', () => {
    expect(parseHost({ kind: 'name', name: '1.2.3.4', port: 80 }).kind).toBe('address');
    expect(parseHost({ kind: 'name', name: 'example.com', port: 80 }).kind).toBe('name');
  });
});
