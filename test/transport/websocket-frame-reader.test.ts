import type { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { FrameReader } from '../../src/transport/websocket-frame-reader.ts';
import { SOCKET_LIMITS } from '../../src/transport/websocket-limits.ts';

/** Exported by `ws`, and forgotten by its types. */
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable };

const CONTINUATION = 0x0;
const TEXT = 0x1;
const BINARY = 0x2;
const CLOSE = 0x8;
const PING = 0x9;

interface Frame {
  readonly opcode: number;
  readonly fin: boolean;
  readonly payload: Uint8Array;
  readonly key: Uint8Array | undefined;
  readonly rsv?: number;
}

/** RFC 6455 §5.2, without a thought for speed. */
function encode({ opcode, fin, payload, key, rsv = 0 }: Frame): Buffer {
  const header = [(fin ? 0x80 : 0) | rsv | opcode];
  const mask = key === undefined ? 0 : 0x80;
  const { length } = payload;
  if (length < 126) header.push(mask | length);
  else if (length < 65_536) header.push(mask | 126, length >> 8, length & 0xff);
  else header.push(mask | 127, 0, 0, 0, 0, ...Buffer.from(Uint32Array.of(length).buffer).reverse());
  const masked = payload.map((byte, i) => byte ^ (key?.[i % 4] ?? 0));
  return Buffer.concat([Uint8Array.from([...header, ...(key ?? [])]), masked]);
}

const ZERO_KEY = new Uint8Array(4);
const aKey = fc.oneof(fc.constant(ZERO_KEY), fc.uint8Array({ minLength: 4, maxLength: 4 }));
const aPayload = fc.oneof(
  fc.uint8Array({ maxLength: 130 }),
  fc.integer({ min: 131, max: 65_535 }).map((length) => new Uint8Array(length).map((_, i) => (i * 7) % 251)),
);
const someText = fc.string({ maxLength: 20 }).map((text) => new TextEncoder().encode(text));

/** What an honest peer sends: whole messages, messages in fragments with pings between them, text, pings. */
function messagesOf(masked: boolean): fc.Arbitrary<Frame[]> {
  const key = masked ? aKey : fc.constant(undefined);
  const one = (opcode: number, fin: boolean, payload: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Frame> =>
    fc.record({ opcode: fc.constant(opcode), fin: fc.constant(fin), payload, key });
  const ping = one(PING, true, fc.uint8Array({ maxLength: 125 }));
  const small = fc.uint8Array({ maxLength: 200 });
  const inFragments = fc.tuple(
    one(BINARY, false, small),
    ping,
    one(CONTINUATION, false, small),
    one(CONTINUATION, true, small),
  );
  const whole = one(BINARY, true, aPayload).map((frame) => [frame]);
  const others = fc.oneof(one(TEXT, true, someText), ping).map((frame) => [frame]);
  return fc
    .array(fc.oneof({ weight: 4, arbitrary: whole }, inFragments, others), { maxLength: 8 })
    .map((all) => all.flat());
}

/** What `ws` makes of bytes: messages and pings in order. */
function receiver(isServer: boolean): { seen: string[]; write(bytes: Uint8Array): void } {
  const seen: string[] = [];
  const receiver = new Receiver({ isServer, ...SOCKET_LIMITS, binaryType: 'nodebuffer' });
  receiver.on('message', (data: Buffer, isBinary: boolean) =>
    seen.push(`${isBinary ? 'binary' : 'text'} ${data.toString('hex')}`),
  );
  receiver.on('ping', (data: Buffer) => seen.push(`ping ${data.toString('hex')}`));
  receiver.on('conclude', (code: number) => seen.push(`close ${code}`));
  receiver.on('error', (error: Error) => seen.push(`fault ${error.message}`));
  return { seen, write: (bytes) => receiver.write(bytes) };
}

/** Reads `bytes` cut at `cuts`, some of it lent: overwritten as soon as it has been read. */
async function readInPieces(
  bytes: Uint8Array,
  masked: boolean,
  cuts: readonly number[],
  lent: (i: number) => boolean,
): Promise<{ seen: string[]; taken: number }> {
  const ws = receiver(masked);
  let taken = 0;
  const reader = new FrameReader(masked, {
    handleMessage: (pieces) => {
      taken += 1;
      ws.seen.push(`binary ${Buffer.concat(pieces).toString('hex')}`);
    },
    handleOther: (other) => ws.write(other),
    handleFault: (text) => ws.seen.push(`fault ${text}`),
  });
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  let at = 0;
  ends.forEach((end, i) => {
    const chunk = Buffer.from(bytes.subarray(at, end));
    reader.read(chunk, lent(i));
    if (lent(i)) chunk.fill(0xee);
    at = end;
  });
  await turn();
  return { seen: ws.seen, taken };
}

async function wholeBy(bytes: Uint8Array, masked: boolean): Promise<string[]> {
  const ws = receiver(masked);
  // `ws` takes off masks in place.
  ws.write(Buffer.from(bytes));
  await turn();
  return ws.seen;
}

describe('reading frames past ws', () => {
  it.each([true, false])(
    'gives what ws alone would, in order, however the bytes are cut and lent (masked: %s)',
    async (masked) => {
      await fc.assert(
        fc.asyncProperty(
          messagesOf(masked),
          fc.array(fc.nat(), { maxLength: 12 }),
          fc.boolean(),
          async (frames, cuts, lendsFirst) => {
            const bytes = Buffer.concat(frames.map(encode));
            const { seen } = await readInPieces(bytes, masked, cuts, (i) => (i % 2 === 0) === lendsFirst);
            expect(seen).toEqual(await wholeBy(bytes, masked));
          },
        ),
        { numRuns: 300 },
      );
    },
  );

  it('gives it byte by byte, and every cut of one message', async () => {
    const bytes = Buffer.concat(
      [ZERO_KEY, Uint8Array.of(1, 2, 3, 4), ZERO_KEY].map((key, i) =>
        encode({ opcode: BINARY, fin: true, payload: new Uint8Array(300).fill(i), key }),
      ),
    );
    const expected = await wholeBy(bytes, true);
    const everyByte = Array.from({ length: bytes.length }, (_, i) => i);
    expect((await readInPieces(bytes, true, everyByte, () => true)).seen).toEqual(expected);
    for (const cut of everyByte) {
      expect((await readInPieces(bytes, true, [cut], (i) => i === 0)).seen).toEqual(expected);
    }
  });

  it('takes whole messages itself, and takes their masks off', async () => {
    for (const key of [ZERO_KEY, Uint8Array.of(0, 0, 0, 1), Uint8Array.of(9, 8, 7, 6)]) {
      const bytes = encode({ opcode: BINARY, fin: true, payload: Uint8Array.of(1, 2, 3, 4, 5), key });
      const { seen, taken } = await readInPieces(bytes, true, [9], () => false);
      expect({ seen, taken }).toEqual({ seen: ['binary 0102030405'], taken: 1 });
    }
  });

  const payload = Uint8Array.of(1, 2, 3);
  it.each<[string, Frame[]]>([
    ['an unmasked message of a client', [{ opcode: BINARY, fin: true, payload, key: undefined }]],
    ['a reserved bit', [{ opcode: BINARY, fin: true, payload, key: ZERO_KEY, rsv: 0x40 }]],
    [
      'a message within fragments of another',
      [
        { opcode: BINARY, fin: false, payload, key: ZERO_KEY },
        { opcode: BINARY, fin: true, payload, key: ZERO_KEY },
      ],
    ],
    [
      'one byte more than a message may have',
      [{ opcode: BINARY, fin: true, payload: new Uint8Array(65_536), key: ZERO_KEY }],
    ],
    [
      'a message behind a close',
      [
        { opcode: CLOSE, fin: true, payload: Uint8Array.of(3, 232), key: ZERO_KEY },
        { opcode: BINARY, fin: true, payload, key: ZERO_KEY },
      ],
    ],
  ])('leaves to ws, which knows the answer: %s', async (_name, frames) => {
    const bytes = Buffer.concat(frames.map(encode));
    const { seen, taken } = await readInPieces(bytes, true, [1, 5, 9], () => false);
    expect(taken).toBe(0);
    expect(seen).toEqual(await wholeBy(bytes, true));
    expect(seen.length).toBe(1);
  });

  it('gives up a message that comes in more pieces than one may', () => {
    const seen: string[] = [];
    const reader = new FrameReader(false, {
      handleMessage: () => seen.push('message'),
      handleOther: () => seen.push('other'),
      handleFault: (text) => seen.push(text),
    });
    const bytes = encode({ opcode: BINARY, fin: true, payload: new Uint8Array(5_000), key: undefined });
    for (const byte of bytes) reader.read(Uint8Array.of(byte), false);
    expect(seen[0]).toBe('a message in more than 4096 pieces');
    expect(seen).not.toContain('message');
  });
});
