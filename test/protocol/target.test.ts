import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHost, encodeHost, type Target } from '../../src/protocol/target.ts';
import { targets } from '../support/mux/wire-arbitraries.ts';

describe('The host of a target', () => {
  it('decodeHost reads what encodeHost wrote as the same target', () => {
    fc.assert(
      fc.property(targets, (target) => {
        const { kind, host } = encodeHost(target)!;
        expect(decodeHost(kind, host, target.port)).toEqual(target);
      }),
    );
  });

  it.each<[string, Target]>([
    ['an empty name', { kind: 'name', name: '', port: 1 }],
    ['a name of 256 bytes', { kind: 'name', name: 'x'.repeat(256), port: 1 }],
    ['a name with a character that is no byte', { kind: 'name', name: 'ż.example', port: 1 }],
    ['a name with a surrogate pair', { kind: 'name', name: '😀.example', port: 1 }],
    ...[0, 3, 5, 15, 17].map((length): [string, Target] => [
      `an address of ${length} bytes`,
      { kind: 'ip', ip: new Uint8Array(length), port: 1 },
    ]),
  ])('encodeHost rejects %s', (_what, target) => {
    expect(encodeHost(target)).toBeUndefined();
  });

  it('encodeHost keeps every byte of a name, unchecked', () => {
    const host = Buffer.from(Array.from({ length: 255 }, (_, index) => index)).toString('latin1');
    const encoded = encodeHost({ kind: 'name', name: host, port: 9 });
    expect(Buffer.from(encoded!.host)).toEqual(Buffer.from(Array.from({ length: 255 }, (_, index) => index)));
  });
});
