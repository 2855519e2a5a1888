import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressBytes, readAddress, readDatagrams, writeAddress } from '../../src/protocol/datagrams.ts';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import { frame } from '../support/mux/wire.ts';
import { targets } from '../support/mux/wire-arbitraries.ts';

function read(record: Uint8Array): { isWhole: boolean; frames: [number, Buffer][] } {
  const frames: [number, Buffer][] = [];
  const isWhole = readDatagrams(Buffer.from(record), (stream, payload) => void frames.push([stream, payload]));
  return { isWhole, frames };
}

describe('addresses of datagrams', () => {
  it('are read as they were written, with what follows them', () => {
    fc.assert(
      fc.property(targets, fc.uint8Array({ maxLength: 50 }), (target, content) => {
        const bytes = Buffer.alloc(addressBytes(target) + content.length);
        writeAddress(target, bytes, 0);
        bytes.set(content, addressBytes(target));
        expect(readAddress(bytes)).toEqual({ address: target, content: Buffer.from(content) });
      }),
    );
  });

  it('are unknown where they are cut, or of another kind', () => {
    fc.assert(
      fc.property(targets, fc.nat(), (target, cut) => {
        const bytes = Buffer.alloc(addressBytes(target));
        writeAddress(target, bytes, 0);
        expect(readAddress(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
      }),
    );
    for (const kind of [0, 2, 5, 255]) expect(readAddress(Buffer.from([kind, 0, 53, 4, 1, 2, 3, 4]))).toBeUndefined();
    expect(readAddress(Buffer.from([3, 0, 53, 0, 1, 2]))).toBeUndefined();
  });
});

describe('records of datagrams', () => {
  it('are read as they were written', () => {
    const datagram = fc.record({
      stream: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      address: fc.option(targets, { nil: undefined }),
      content: fc.uint8Array({ maxLength: 3_000 }),
    });
    fc.assert(
      fc.property(fc.array(datagram, { minLength: 1, maxLength: 8 }), (datagrams) => {
        const encoder = new RecordEncoder();
        for (const { stream, address, content } of datagrams)
          encoder.datagram(stream, address, Uint8Array.from(content));
        const { length } = encoder;
        const record = Buffer.concat(encoder.take());
        expect(record.length).toBe(length);
        const { isWhole, frames } = read(record);
        expect(isWhole).toBe(true);
        expect(frames).toHaveLength(datagrams.length);
        frames.forEach(([stream, payload], index) => {
          const { stream: expected, address, content } = datagrams[index] ?? expect.unreachable();
          expect(stream).toBe(expected);
          const found = address === undefined ? { address, content: payload } : readAddress(payload);
          expect(found).toEqual({ address, content: Buffer.from(content) });
        });
      }),
    );
  });

  it('have the id of a stream', () => {
    for (const [stream, isRight] of [
      [0, false],
      [1, true],
      [2 ** 31 - 1, true],
      [2 ** 31, false],
    ] as const)
      expect(read(frame(0x82, stream)).isWhole).toBe(isRight);
  });

  it('skip frames of unknown types from 0x80 on, and no others', () => {
    const datagram = frame(0x82, 5, Buffer.from('ping'));
    expect(read(Buffer.concat([frame(0x83, 0, Buffer.from('new')), datagram]))).toMatchObject({
      isWhole: true,
      frames: [[5, Buffer.from('ping')]],
    });
    for (const type of [0x00, 0x04, 0x7f]) expect(read(frame(type, 5)).isWhole).toBe(false);
  });

  it('are malformed where a frame is cut, belongs to no stream, or is too long', () => {
    const datagram = frame(0x82, 5, Buffer.from('ping'));
    for (let cut = 1; cut < datagram.length; cut++) expect(read(datagram.subarray(0, cut)).isWhole).toBe(false);
    expect(read(frame(0x82, 0, Buffer.from('ping'))).isWhole).toBe(false);
    expect(read(frame(0x82, 5, Buffer.alloc(65_500))).isWhole).toBe(true);
    expect(read(frame(0x82, 5, Buffer.alloc(65_501))).isWhole).toBe(false);
  });

  it('are read without a fault of this program, whatever they hold', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void read(bytes)),
      { numRuns: 2_000 },
    );
  });
});
