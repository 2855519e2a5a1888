import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameMessage, type Masking } from '../../../src/transport/websocket/websocket-frame.ts';

function frame(message: Uint8Array[], masking: Masking): Buffer {
  const bytes = message.reduce((sum, piece) => sum + piece.byteLength, 0);
  return Buffer.concat(frameMessage(message, bytes, masking));
}

/** A naive reader of RFC 6455 §5.2, for one whole frame. */
function readFrame(frame: Buffer): { head: number; masked: boolean; key: Buffer; payload: Buffer } {
  const masked = (frame[1]! & 0x80) !== 0;
  let length = frame[1]! & 0x7f;
  let at = 2;
  if (length === 126) {
    length = frame.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    length = Number(frame.readBigUInt64BE(2));
    at = 10;
  }
  const key = masked ? frame.subarray(at, at + 4) : Buffer.alloc(4);
  if (masked) at += 4;
  const payload = Buffer.from(frame.subarray(at));
  expect(payload.length).toBe(length);
  for (let i = 0; i < length; i++) payload[i]! ^= key[i % 4]!;
  return { head: frame[0]!, masked, key, payload };
}

describe('an outgoing data frame', () => {
  it.each<[string, Uint8Array[], Masking, string]>([
    ['an empty message of a server', [], 'none', '8200'],
    ['an empty message of a client', [], 'zero', '828000000000'],
    ['the two pieces of a server', [Uint8Array.of(1), Uint8Array.of(2, 3)], 'none', '8203010203'],
    ['the two pieces of a client', [Uint8Array.of(1), Uint8Array.of(2, 3)], 'zero', '828300000000010203'],
  ])('a data frame has the bytes that RFC 6455 requires: %s', (_name, message, masking, hex) => {
    expect(frame(message, masking).toString('hex')).toBe(hex);
  });

  it.each([
    [125, '827d'],
    [126, '827e007e'],
    [65_535, '827effff'],
    [65_536, '827f0000000000010000'],
  ])('a data frame of %i bytes has the shortest length field', (bytes, head) => {
    const whole = frame([new Uint8Array(bytes)], 'none');
    expect(whole.subarray(0, head.length / 2).toString('hex')).toBe(head);
    expect(whole.length).toBe(head.length / 2 + bytes);
  });

  it('a data frame carries any pieces under any masking', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.integer({ min: 2_000, max: 2_100 }).map((n) => new Uint8Array(n).fill(n)),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 6 }),
        fc.constantFrom<Masking>('none', 'zero', 'random'),
        (message, masking) => {
          const untouched = Buffer.concat(message);
          const read = readFrame(frame(message, masking));
          expect(read.head).toBe(0x82);
          expect(read.masked).toBe(masking !== 'none');
          if (masking === 'zero') expect(read.key).toEqual(Buffer.alloc(4));
          expect(read.payload.equals(untouched)).toBe(true);
          expect(Buffer.concat(message).equals(untouched)).toBe(true);
        },
      ),
      { seed: 6455 },
    );
  });

  it('each masked frame has a new random key, also after the end of the pool', () => {
    const keys = new Set<string>();
    for (let i = 0; i < 3_000; i++) keys.add(readFrame(frame([Uint8Array.of(1)], 'random')).key.toString('hex'));
    expect(keys.size).toBeGreaterThan(2_990);
  });

  it('a data frame with zero masks does not copy large pieces', () => {
    const large = new Uint8Array(32_768);
    expect(frameMessage([Uint8Array.of(1), large], 32_769, 'zero')[1]).toBe(large);
  });
});
