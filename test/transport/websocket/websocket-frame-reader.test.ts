import { Duplex, type Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { lend } from '../../../src/memory/pieces.ts';
import { FrameReader } from '../../../src/transport/websocket/websocket-frame-reader.ts';
import { WebSocketIntake } from '../../../src/transport/websocket/websocket-intake.ts';
import { SOCKET_LIMITS } from '../../../src/transport/websocket/websocket-limits.ts';

/** `ws` exports it, but its types do not. */
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
  /** Bytes of the length, if it is not the shortest form. */
  readonly field?: 2 | 8;
}

/** RFC 6455 §5.2, written for clarity and not for speed. */
function encode({ opcode, fin, payload, key, rsv = 0, field }: Frame): Buffer {
  const header = [(fin ? 0x80 : 0) | rsv | opcode];
  const mask = key === undefined ? 0 : 0x80;
  const { length } = payload;
  if (length < 126 && field === undefined) header.push(mask | length);
  else if (length < 65_536 && field !== 8) header.push(mask | 126, length >> 8, length & 0xff);
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

/**
 * Whole messages, messages in fragments with pings between them, text, pings, odd lengths; of a peer that is not
 * `honest`, also what breaks the rules.
 */
function framesOf(masked: boolean, honest: boolean): fc.Arbitrary<Frame[]> {
  const key = masked ? aKey : fc.constant(undefined);
  const one = (opcode: number, fin: boolean, payload: fc.Arbitrary<Uint8Array>, more: Partial<Frame> = {}) =>
    fc
      .record({ opcode: fc.constant(opcode), fin: fc.constant(fin), payload, key })
      .map((frame) => ({ ...frame, ...more }));
  const small = fc.uint8Array({ maxLength: 125 });
  const ping = one(PING, true, small);
  const whole = one(BINARY, true, aPayload);
  const fragments = fc.tuple(
    one(BINARY, false, small),
    ping,
    one(CONTINUATION, false, small),
    one(CONTINUATION, true, small),
  );
  const odd = [2, 8].map((field) => one(BINARY, true, small, { field: field as 2 | 8 }));
  const rest = fc.oneof(one(TEXT, true, someText), ping, ...odd);
  const wrong = fc.oneof(
    one(BINARY, true, small, { rsv: 0x40 }),
    one(BINARY, true, small, { key: masked ? undefined : ZERO_KEY }),
    one(BINARY, true, fc.constant(new Uint8Array(65_536))),
    one(TEXT, true, fc.constant(Uint8Array.of(0xff))),
    one(CONTINUATION, true, small),
    one(PING, false, small),
    one(3, true, small),
    one(CLOSE, true, fc.constantFrom(Uint8Array.of(), Uint8Array.of(1), Uint8Array.of(3, 232))),
  );
  const single = honest
    ? fc.oneof({ weight: 4, arbitrary: whole }, rest)
    : fc.oneof({ weight: 4, arbitrary: whole }, rest, wrong);
  return fc
    .array(fc.oneof({ weight: 6, arbitrary: single.map((frame) => [frame]) }, fragments), { maxLength: 10 })
    .map((all) => all.flat());
}

/** What `ws` reads from bytes: messages and pings in order, and how it ends. */
function receiver(isServer: boolean, onFault = (): void => {}): { seen: string[]; write(bytes: Uint8Array): void } {
  const seen: string[] = [];
  const receiver = new Receiver({ isServer, ...SOCKET_LIMITS, binaryType: 'nodebuffer' });
  receiver.on('message', (data: Buffer, isBinary: boolean) =>
    seen.push(`${isBinary ? 'binary' : 'text'} ${data.toString('hex')}`),
  );
  receiver.on('ping', (data: Buffer) => seen.push(`ping ${data.toString('hex')}`));
  receiver.on('conclude', (code: number) => seen.push(`close ${code}`));
  receiver.on('error', (error: Error) => {
    seen.push(`fault ${error.message}`);
    onFault();
  });
  return { seen, write: (bytes) => receiver.write(bytes) };
}

/**
 * A cut at `at`; whether the event loop turns after it; and whether the piece before it is lent, so overwritten as soon
 * as it was read.
 */
interface Cut {
  readonly at: number;
  readonly turns: boolean;
  readonly lent: boolean;
}

/** As a link reads: `ws` behind an intake. */
async function readInPieces(
  bytes: Uint8Array,
  masked: boolean,
  cuts: readonly Cut[],
): Promise<{ seen: string[]; taken: number }> {
  const ws = receiver(masked, () => intake?.stop());
  const raw = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  raw.on('data', (chunk: Uint8Array) => ws.write(chunk));
  let taken = 0;
  const intake = WebSocketIntake.take(raw, masked, {
    handleMessage: (held, last) => {
      taken += 1;
      ws.seen.push(`binary ${Buffer.concat(last === undefined ? held : [...held, last]).toString('hex')}`);
    },
    handleFault: (text) => ws.seen.push(`fault ${text}`),
  });
  await turn();
  const ordered = [...cuts, { at: bytes.length, turns: true, lent: false }].toSorted((a, b) => a.at - b.at);
  let from = 0;
  for (const { at, turns, lent } of ordered) {
    const chunk = Buffer.from(bytes.subarray(from, at));
    if (!lent) raw.push(chunk);
    else if (chunk.length > 0) {
      expect(intake?.readLent(lend(chunk))).toBe(true);
      chunk.fill(0xee);
    }
    if (turns) await turn();
    from = at;
  }
  await turn();
  return { seen: ws.seen, taken };
}

function cutsOf(bytes: Uint8Array): fc.Arbitrary<Cut[]> {
  return fc.array(fc.record({ at: fc.nat(bytes.length), turns: fc.boolean(), lent: fc.boolean() }), { maxLength: 12 });
}

async function wholeBy(bytes: Uint8Array, masked: boolean): Promise<string[]> {
  const ws = receiver(masked);
  // `ws` removes masks in place.
  ws.write(Buffer.from(bytes));
  await turn();
  return ws.seen;
}

describe('the frame reader', () => {
  it.each([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ])(
    'the frame reader delivers what ws alone would, in order, however the bytes are cut and lent (masked: %s, honest: %s)',
    async (masked, honest) => {
      const sent = framesOf(masked, honest).chain((frames) => {
        const bytes = Buffer.concat(frames.map(encode));
        return fc.tuple(fc.constant(bytes), cutsOf(bytes));
      });
      await fc.assert(
        fc.asyncProperty(sent, async ([bytes, cuts]) => {
          const { seen } = await readInPieces(bytes, masked, cuts);
          expect(seen).toEqual(await wholeBy(bytes, masked));
        }),
        { numRuns: 200 },
      );
    },
  );

  it('the frame reader delivers a message that arrives byte by byte, and one cut at every place', async () => {
    const bytes = Buffer.concat(
      [ZERO_KEY, Uint8Array.of(1, 2, 3, 4), ZERO_KEY].map((key, i) =>
        encode({ opcode: BINARY, fin: true, payload: new Uint8Array(300).fill(i), key }),
      ),
    );
    const expected = await wholeBy(bytes, true);
    const everyByte = Array.from({ length: bytes.length }, (_, at) => ({ at, turns: false, lent: true }));
    expect((await readInPieces(bytes, true, everyByte)).seen).toEqual(expected);
    for (const cut of everyByte) expect((await readInPieces(bytes, true, [cut])).seen).toEqual(expected);
  });

  it('the frame reader takes whole messages, and removes their masks', async () => {
    for (const key of [ZERO_KEY, Uint8Array.of(0, 0, 0, 1), Uint8Array.of(9, 8, 7, 6)]) {
      const bytes = encode({ opcode: BINARY, fin: true, payload: Uint8Array.of(1, 2, 3, 4, 5), key });
      const { seen, taken } = await readInPieces(bytes, true, [{ at: 9, turns: true, lent: false }]);
      expect({ seen, taken }).toEqual({ seen: ['binary 0102030405'], taken: 1 });
    }
  });

  const payload = Uint8Array.of(1, 2, 3);
  const good = { opcode: BINARY, fin: true, payload, key: ZERO_KEY };
  it.each<[string, Frame[]]>([
    ['an unmasked message of a client', [{ ...good, key: undefined }]],
    ['a reserved bit', [{ ...good, rsv: 0x40 }]],
    ['a message within fragments of another', [{ ...good, fin: false }, good]],
    [
      'more fragments than a message may have',
      Array.from({ length: 1_025 }, (_, i) => ({
        ...good,
        opcode: i === 0 ? BINARY : CONTINUATION,
        fin: i === 1_024,
      })),
    ],
    ['one byte more than a message may have', [{ ...good, payload: new Uint8Array(65_536) }]],
    ['text that is none', [{ ...good, opcode: TEXT, payload: Uint8Array.of(0xff) }]],
    ['a close', [{ ...good, opcode: CLOSE, payload: Uint8Array.of(3, 232) }]],
  ])(
    'the frame reader leaves to ws what ws answers or rejects, and delivers nothing after it: %s',
    async (_name, frames) => {
      const bytes = Buffer.concat([...frames, good].map(encode));
      const { seen, taken } = await readInPieces(bytes, true, []);
      expect(taken).toBe(0);
      expect(seen).toEqual(await wholeBy(bytes, true));
      expect(seen.length).toBe(1);
    },
  );

  it('the frame reader takes messages again when ws has accepted what came before them', async () => {
    const first = encode({ ...good, opcode: TEXT });
    const { seen, taken } = await readInPieces(Buffer.concat([first, encode(good)]), true, [
      { at: first.length, turns: true, lent: false },
    ]);
    expect(seen).toEqual(['text 010203', 'binary 010203']);
    expect(taken).toBe(1);
  });

  it('the frame reader reports a message in more pieces than are allowed', () => {
    const seen: string[] = [];
    const reader = new FrameReader(false, {
      handleMessage: () => seen.push('message'),
      handleOther: () => seen.push('other'),
      handleFault: (text) => seen.push(text),
    });
    const bytes = encode({ opcode: BINARY, fin: true, payload: new Uint8Array(5_000), key: undefined });
    for (const byte of bytes) reader.take(Uint8Array.of(byte));
    expect(seen[0]).toBe('a message in more than 4096 pieces');
    expect(seen).not.toContain('message');
  });
});
