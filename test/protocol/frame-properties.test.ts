import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameDecoder } from '../../src/protocol/frame-decoder.ts';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import { cutAt, decodePieces, FrameLog, type LoggedFrame } from '../support/mux/frame-log.ts';
import { naiveDecode } from '../support/mux/naive-decoder.ts';
import { frame, wire } from '../support/mux/wire.ts';
import { type WrittenFrame, writtenFrames } from '../support/mux/wire-arbitraries.ts';
import { type Prng, prng } from '../support/prng.ts';

const cuts = fc.array(fc.nat(70_000), { maxLength: 12 });

function encode(frames: readonly WrittenFrame[]): { pieces: readonly Uint8Array[]; announced: number } {
  const encoder = new RecordEncoder();
  encoder.hello(7, 1);
  for (const { write } of frames) write(encoder);
  return { announced: encoder.length, pieces: encoder.take() };
}

describe('Reading written frames', () => {
  it('frames are read as they were written, wherever they are cut', () => {
    fc.assert(
      fc.property(fc.array(writtenFrames, { maxLength: 12 }), cuts, (frames, offsets) => {
        const { pieces, announced } = encode(frames);
        const bytes = Buffer.concat(pieces);
        expect(bytes.length).toBe(announced);
        const expected: LoggedFrame[] = [['hello', 1, 7, 1], ...frames.flatMap(({ read }) => read)];
        const decoded = decodePieces(cutAt(bytes, offsets));
        expect(decoded).toEqual({ frames: expected, fault: undefined });
        expect(decodePieces(pieces)).toEqual(decoded);
        expect(naiveDecode(bytes)).toEqual(decoded);
      }),
      { numRuns: 300 },
    );
  });

  it('records stay unchanged after later ones are begun', () => {
    const encoder = new RecordEncoder();
    const records: { pieces: readonly Uint8Array[]; copy: Buffer }[] = [];
    encoder.hello(1, 1);
    for (let i = 1; i < 2000; i++) {
      encoder.ping(Buffer.from(String(i).padStart(8)));
      encoder.credit(i, i);
      const pieces = encoder.take();
      records.push({ pieces, copy: Buffer.concat(pieces) });
    }
    for (const { pieces, copy } of records) expect(Buffer.concat(pieces).equals(copy)).toBe(true);
  });
});

describe('Reading anything', () => {
  const header = fc
    .tuple(
      fc.oneof(fc.nat(11), fc.nat(255)),
      fc.oneof(fc.nat(16), fc.nat(0x1_0000)),
      fc.oneof(fc.nat(3), fc.nat(0xffff_ffff)),
    )
    .map(([type, length, stream]) => frame(type, stream, Buffer.alloc(0), length));
  const junk = fc.oneof(fc.uint8Array({ maxLength: 60 }), header);
  const anything = fc
    .tuple(fc.boolean(), fc.array(fc.oneof(junk, writtenFrames.map(bytesOf)), { maxLength: 10 }))
    .map(([greets, parts]) => Buffer.concat([...(greets ? [wire.hello()] : []), ...parts]));

  function bytesOf({ write }: WrittenFrame): Buffer {
    const encoder = new RecordEncoder();
    write(encoder);
    return Buffer.concat(encoder.take());
  }

  it('the decoder agrees with a naive one on any bytes, wherever they are cut', () => {
    fc.assert(
      fc.property(anything, cuts, (bytes, offsets) => {
        expect(decodePieces(cutAt(bytes, offsets))).toEqual(naiveDecode(bytes));
      }),
      { numRuns: 2000 },
    );
  });
});

/** A valid stream of a few frames with bytes changed, left out, put in and doubled. */
function mutatedStream(random: Prng): Buffer {
  const parts = [wire.hello()];
  const count = 1 + random.below(6);
  for (let i = 0; i < count; i++) parts.push(randomFrame(random));
  let bytes = Buffer.concat(parts);
  const mutations = random.below(4);
  for (let i = 0; i < mutations; i++) bytes = mutate(bytes, random);
  return bytes;
}

function randomFrame(random: Prng): Buffer {
  const stream = 1 + random.below(5);
  return random.pick([
    () => wire.open(stream, random.below(2 ** 31)),
    () => wire.opened(stream),
    () => wire.openFailed(stream, random.below(70)),
    () => wire.data(stream, Buffer.alloc(random.below(80), 1)),
    () => wire.credit(stream, random.below(2 ** 31)),
    () => wire.finish(stream),
    () => wire.reset(stream),
    () => wire.ping(),
    () => wire.pong(),
    () => wire.goAway(random.below(70), stream),
    () => frame(0x80 + random.below(128), stream, Buffer.alloc(random.below(30))),
  ])();
}

function mutate(bytes: Buffer, random: Prng): Buffer<ArrayBuffer> {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(12));
  switch (random.below(4)) {
    case 0: {
      const changed = Buffer.from(bytes);
      if (at < changed.length) changed[at] = random.below(256);
      return changed;
    }
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([random.below(256)]), bytes.subarray(at)]);
    default:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
  }
}

/** Everything that a decoder keeps of its input, bytes. */
function heldBytes(decoder: FrameDecoder): number {
  let bytes = 0;
  for (const value of Object.values(decoder)) if (value instanceof Uint8Array) bytes += value.buffer.byteLength;
  return bytes;
}

describe('40,000 mutated frame streams', () => {
  const seed = 20260101;

  it('for mutated frame streams the decoder never throws, holds about 1 KiB at most, and agrees with the naive one', () => {
    const random = prng(seed);
    let faults = 0;
    for (let round = 0; round < 40_000; round++) {
      const bytes = mutatedStream(random);
      const decoder = new FrameDecoder();
      const log = new FrameLog();
      let fault: string | undefined;
      for (let at = 0; at < bytes.length; ) {
        const end = random.chance(0.3) ? bytes.length : at + 1 + random.below(20);
        fault = decoder.decode(bytes.subarray(at, end), log);
        at = end;
      }
      const frames = log.frames.length;
      const after = decoder.decode(wire.finish(1), fault === undefined ? new FrameLog() : log);
      if (fault !== undefined) {
        faults += 1;
        if (after !== fault || log.frames.length !== frames)
          throw new Error(`alive after a fault: seed ${seed}, ${round}`);
      }
      if (heldBytes(decoder) > 1200) throw new Error(`holds too much: seed ${seed}, round ${round}`);
      // The twin is slow: every tenth is enough.
      if (round % 10 > 0) continue;
      log.closePayload();
      expect({ frames: log.frames, fault }, `seed ${seed}, round ${round}`).toEqual(naiveDecode(bytes));
    }
    // The mutations must neither break all streams nor none.
    expect(faults).toBeGreaterThan(8_000);
    expect(faults).toBeLessThan(32_000);
  });
});
