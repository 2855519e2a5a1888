import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyMask } from '../../../src/transport/websocket/websocket-mask.ts';

describe('a WebSocket mask', () => {
  it('a mask is applied as RFC 6455 requires', () => {
    // §5.7, a masked "Hello".
    const bytes = Buffer.from('7f9f4d5158', 'hex');
    applyMask(bytes, Buffer.from('37fa213d', 'hex'));
    expect(bytes.toString()).toBe('Hello');
  });

  it('a mask is applied to every byte of the payload once, and to no byte outside it', () => {
    const where = fc.tuple(fc.nat(9), fc.nat(70), fc.nat(9));
    const key = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(where, key, ([before, length, after], key) => {
        const memory = Uint8Array.from({ length: before + length + after }, (_, i) => i * 7);
        const expected = memory.map((byte, i) =>
          i < before || i >= before + length ? byte : byte ^ key[(i - before) % 4]!,
        );
        applyMask(memory.subarray(before, before + length), key);
        expect(memory).toEqual(expected);
      }),
    );
  });

  it('a mask is the same for a payload in two pieces', () => {
    const key = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(70), key, (payload, at, key) => {
        const [whole, cut] = [payload.slice(), payload.slice()];
        const first = cut.subarray(0, at);
        applyMask(whole, key);
        applyMask(first, key);
        applyMask(cut.subarray(first.length), key, first.length);
        expect(cut).toEqual(whole);
      }),
    );
  });
});
