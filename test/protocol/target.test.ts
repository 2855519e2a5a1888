import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHost, encodeHost, type Target } from '../../src/protocol/target.ts';
import { targets } from '../support/wire-arbitraries.ts';

describe('a target', () => {
  it('comes back from its bytes as it was', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const { kind, host } = encodeHost(target)!;
        expect(decodeHost(kind, host, target.port)).toEqual(target);
      }),
    );
  });

  it.each<[string, Target]>([
    ['an empty name', { kind: 'name', host: '', port: 1 }],
    ['a name of 256 bytes', { kind: 'name', host: 'x'.repeat(256), port: 1 }],
    ['a name with a character that is no byte', { kind: 'name', host: 'ż.example', port: 1 }],
    ['a name with a surrogate pair', { kind: 'name', host: '😀.example', port: 1 }],
    ['an IPv4 address of another spelling', { kind: 'ipv4', host: '127.1', port: 1 }],
    ['an IPv6 address where IPv4 is meant', { kind: 'ipv4', host: '::1', port: 1 }],
    ['an IPv4 address where IPv6 is meant', { kind: 'ipv6', host: '127.0.0.1', port: 1 }],
    ['an IPv6 address with a zone', { kind: 'ipv6', host: 'fe80::1%eth0', port: 1 }],
  ])('cannot be written: %s', (_what, target) => {
    expect(encodeHost(target)).toBeUndefined();
  });

  it('keeps every byte of a name, unchecked', () => {
    const host = Buffer.from(Array.from({ length: 255 }, (_, index) => index)).toString('latin1');
    const encoded = encodeHost({ kind: 'name', host, port: 9 });
    expect(Buffer.from(encoded!.host)).toEqual(Buffer.from(Array.from({ length: 255 }, (_, index) => index)));
  });
});
