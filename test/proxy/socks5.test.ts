import { describe, expect, it } from 'vitest';
import type { FaultName } from '../../src/errors.ts';
import { CredentialCheck } from '../../src/proxy/credentials.ts';
import { Socks5Negotiation } from '../../src/proxy/socks5.ts';
import { ipTarget } from '../support/net/targets.ts';
import { cuts, run } from '../support/proxy/socks-run.ts';

const GREETING = [5, 1, 0];
const V4_REQUEST = [5, 1, 0, 1, 192, 0, 2, 7, 0, 80];
const V4_TARGET = ipTarget('192.0.2.7', 80);
const open = () => new Socks5Negotiation(undefined);
const locked = () => new Socks5Negotiation(new CredentialCheck({ user: 'ann', pass: 'öl' }));

function nameRequest(name: Uint8Array, port = 443): number[] {
  return [5, 1, 0, 3, name.length, ...name, port >> 8, port & 0xff];
}

function failure(code: number): string {
  return `05${code.toString(16).padStart(2, '0')}0001000000000000`;
}

describe('Socks5Negotiation without credentials', () => {
  it.each([
    ['an IPv4 address', V4_REQUEST, V4_TARGET],
    [
      'an IPv6 address',
      [5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0xbb],
      ipTarget('2001:db8::1', 443),
    ],
    ['a name', nameRequest(Buffer.from('example.com')), { kind: 'name', name: 'example.com', port: 443 }],
    ['a name that is a literal, as a name', nameRequest(Buffer.from('10.0.0.1')), { kind: 'name', name: '10.0.0.1' }],
    ['a name of 255 bytes', nameRequest(Buffer.alloc(255, 'a')), { kind: 'name', name: 'a'.repeat(255), port: 443 }],
    ['a name of any bytes, a char each', nameRequest(Buffer.of(0xff, 0x20)), { kind: 'name', name: '\u00ff ' }],
    ['port 65535', nameRequest(Buffer.from('a'), 65_535), { port: 65_535 }],
    ['port 0, which is for the exit to refuse', nameRequest(Buffer.from('a'), 0), { port: 0 }],
    ['rubbish in the reserved byte', [5, 1, 0xff, ...V4_REQUEST.slice(3)], V4_TARGET],
  ])('Socks5Negotiation reads a request for %s, however it is split', (_, request, target) => {
    for (const pieces of cuts([...GREETING, ...request])) {
      expect(run(open(), pieces)).toMatchObject({ replies: '0500', end: 'request', target });
    }
  });

  it('Socks5Negotiation finds its method among 255', () => {
    const greeting = [5, 255, ...Array.from({ length: 254 }, (_, i) => i + 1), 0];
    expect(run(open(), [Uint8Array.from([...greeting, ...V4_REQUEST])])).toMatchObject({ end: 'request' });
  });

  it('Socks5Negotiation returns what follows the request', () => {
    const bytes = [...GREETING, ...V4_REQUEST, ...Buffer.from('GET /')];
    for (const pieces of cuts(bytes)) expect(run(open(), pieces)).toMatchObject({ rest: 'GET /' });
  });

  it.each<[string, number[], string, FaultName]>([
    ['no methods', [5, 0], '05ff', 'proxy-malformed'],
    ['no acceptable method', [5, 2, 1, 3], '05ff', 'proxy-malformed'],
    ['version 4 in the request', [...GREETING, 4, 1, 0, 1], `0500${failure(1)}`, 'proxy-malformed'],
    ['version 0 in the request', [...GREETING, 0], `0500${failure(1)}`, 'proxy-malformed'],
    ['command 9', [...GREETING, 5, 9, 0, 1], `0500${failure(7)}`, 'proxy-command'],
    ['address type 2', [...GREETING, 5, 1, 0, 2, 0, 0], `0500${failure(8)}`, 'proxy-address-type'],
    ['an empty name', [...GREETING, ...nameRequest(Buffer.of())], `0500${failure(1)}`, 'dial-bad-target'],
    ['a NUL in the name', [...GREETING, ...nameRequest(Buffer.from('a\0b'))], `0500${failure(1)}`, 'dial-bad-target'],
    ['a leading hyphen', [...GREETING, ...nameRequest(Buffer.from('-h'))], `0500${failure(1)}`, 'dial-bad-target'],
    [
      'a hyphen first in a label',
      [...GREETING, ...nameRequest(Buffer.from('a.-b.c'))],
      `0500${failure(1)}`,
      'dial-bad-target',
    ],
    ['an empty label', [...GREETING, ...nameRequest(Buffer.from('a..b'))], `0500${failure(1)}`, 'dial-bad-target'],
  ])('Socks5Negotiation refuses %s, however it is split', (_, bytes, replies, fault) => {
    for (const pieces of cuts(bytes)) expect(run(open(), pieces)).toMatchObject({ replies, end: 'refused', fault });
  });

  it.each([
    ['BIND', 2, 'bind'],
    ['UDP ASSOCIATE', 3, 'udp-associate'],
    ['command 5 of hev-socks5', 5, 'udp-in-tcp'],
  ])('Socks5Negotiation tells %s', (_, code, command) => {
    const bytes = [...GREETING, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    for (const pieces of cuts(bytes)) expect(run(open(), pieces)).toMatchObject({ end: 'request', command });
  });

  it.each([
    ['an IPv4 address', ipTarget('192.0.2.7', 8080), '050000' + '01c00002071f90'],
    ['an IPv6 address', ipTarget('2001:db8::1', 443), `050000` + `0420010db8000000000000000000000001` + `01bb`],
    ['a name', { kind: 'name', name: 'ab', port: 1 } as const, '050000' + '030261620001'],
  ])('Socks5Negotiation replies with %s', (_, place, bytes) => {
    expect(Buffer.from(open().grantedAt(place)).toString('hex')).toBe(bytes);
  });

  it('Socks5Negotiation refuses an unsupported command without waiting for its address', () => {
    expect(run(open(), [Uint8Array.of(...GREETING, 5, 9, 0, 1)])).toMatchObject({ fault: 'proxy-command' });
  });

  it.each<[FaultName, number]>([
    ['dial-refused', 5],
    ['dial-host-unreachable', 4],
    ['dial-name-unknown', 4],
    ['dial-network-unreachable', 3],
    ['dial-not-allowed', 2],
    ['dial-timed-out', 6],
    ['dial-name-failed', 1],
    ['dial-busy', 1],
    ['not-connected', 1],
    ['internal', 1],
  ])('Socks5Negotiation reports %s as REP %i', (fault, code) => {
    expect(Buffer.from(open().failed(fault)).toString('hex')).toBe(failure(code));
  });
});

function password(user: string, pass: string): number[] {
  const [u, p] = [Buffer.from(user), Buffer.from(pass)];
  return [1, u.length, ...u, p.length, ...p];
}

describe('Socks5Negotiation with unneeded credentials', () => {
  it.each([
    ['some', password('ann', 'öl')],
    ['empty ones', password('', '')],
    ['the longest', password('x'.repeat(255), 'y'.repeat(255))],
  ])(
    'Socks5Negotiation without credentials accepts a program that offers only a password, sent as %s, however it is split',
    (_, sent) => {
      for (const methods of [[2], [1, 2]]) {
        for (const pieces of cuts([5, methods.length, ...methods, ...sent, ...V4_REQUEST])) {
          expect(run(open(), pieces)).toMatchObject({ replies: '05020100', end: 'request', target: V4_TARGET });
        }
      }
    },
  );

  it('Socks5Negotiation without credentials prefers no authentication, in any order', () => {
    for (const methods of [
      [0, 2],
      [2, 0],
      [1, 2, 0],
    ]) {
      for (const pieces of cuts([5, methods.length, ...methods, ...V4_REQUEST])) {
        expect(run(open(), pieces)).toMatchObject({ replies: '0500', end: 'request', target: V4_TARGET });
      }
    }
  });

  it('Socks5Negotiation refuses unneeded credentials in another version of the message', () => {
    expect(run(open(), [Uint8Array.of(5, 1, 2, 5)])).toMatchObject({ replies: '05020101', fault: 'proxy-malformed' });
  });
});

describe('Socks5Negotiation with credentials', () => {
  it('Socks5Negotiation accepts the right credentials, however they are split', () => {
    for (const pieces of cuts([5, 2, 0, 2, ...password('ann', 'öl'), ...V4_REQUEST])) {
      expect(run(locked(), pieces)).toMatchObject({ replies: '05020100', end: 'request', target: V4_TARGET });
    }
  });

  it.each([
    ['a wrong password', password('ann', 'oil')],
    ['a wrong user', password('bob', 'öl')],
    ['nothing', password('', '')],
    ['the longest', password('x'.repeat(255), 'y'.repeat(255))],
  ])('Socks5Negotiation refuses wrong credentials: %s', (_, sent) => {
    for (const pieces of cuts([5, 1, 2, ...sent])) {
      expect(run(locked(), pieces)).toMatchObject({ replies: '05020101', end: 'refused', fault: 'proxy-unauthorised' });
    }
  });

  it('Socks5Negotiation refuses a program that offers no password', () => {
    expect(run(locked(), [Uint8Array.of(5, 1, 0)])).toMatchObject({ replies: '05ff', fault: 'proxy-unauthorised' });
  });

  it('Socks5Negotiation refuses another version of the password message', () => {
    expect(run(locked(), [Uint8Array.of(5, 1, 2, 5)])).toMatchObject({ replies: '05020101', fault: 'proxy-malformed' });
  });
});
