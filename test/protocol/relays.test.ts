import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeRelays, encodeRelays, MAX_RELAYS_BYTES } from '../../src/protocol/relays.ts';
import { toldRelays } from '../support/mux/wire-arbitraries.ts';

const URL_A = 'wss://a.test';

/** A payload from its parts: numbers are bytes. */
function payload(...parts: readonly (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : Buffer.from(part as string, 'latin1'))),
  );
}

describe('relays that an exit tells', () => {
  it('what is encoded is decoded as it was', () => {
    fc.assert(
      fc.property(toldRelays, (told) => {
        const bytes = encodeRelays(told);
        expect(bytes.length).toBeLessThanOrEqual(MAX_RELAYS_BYTES);
        expect(decodeRelays(bytes)).toEqual(told);
      }),
    );
  });

  it.each<[string, Buffer]>([
    ['nothing', payload()],
    ['no URL', payload(0, 0)],
    ['9 URLs', payload(9, ...Array.from({ length: 9 }, (_, n) => payload(0, 1, 97 + n)), 0)],
    ['an empty URL', payload(1, 0, 0, 0)],
    ['a URL that is cut', payload(1, 0, 13, URL_A)],
    ['a URL that is too long', payload(1, 0x04, 0x01, 'u'.repeat(1_025), 0)],
    ['a URL with a space', payload(1, 0, 3, 'a b', 0)],
    ['a URL beyond ASCII', payload(1, 0, 1, 0xe4, 0)],
    ['a URL twice', payload(2, 0, 12, URL_A, 0, 12, URL_A, 0)],
    ['no number of pins', payload(1, 0, 12, URL_A)],
    ['9 pins', payload(1, 0, 12, URL_A, 9, Buffer.alloc(9 * 32))],
    ['a pin that is cut', payload(1, 0, 12, URL_A, 1, Buffer.alloc(31))],
    ['bytes that are left over', payload(1, 0, 12, URL_A, 0, 0)],
  ])('%s is ignored', (_what, bytes) => {
    expect(decodeRelays(bytes)).toBeUndefined();
  });

  it('random bytes never throw, and what is read of them is in range', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const told = decodeRelays(Buffer.from(bytes));
        if (told === undefined) return;
        expect(encodeRelays(told)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it.each<[string, Parameters<typeof encodeRelays>[0]]>([
    ['no URL', { urls: [], pins: [] }],
    ['9 URLs', { urls: Array.from({ length: 9 }, (_, n) => `wss://${n}.test`), pins: [] }],
    ['a URL beyond ASCII', { urls: ['wss://ä.test'], pins: [] }],
    ['a short pin', { urls: [URL_A], pins: [new Uint8Array(31)] }],
  ])('%s cannot be told', (_what, told) => {
    expect(() => encodeRelays(told)).toThrow(RangeError);
  });
});
