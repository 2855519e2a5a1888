import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import {
  decodeRecordHeader,
  dropPrefix,
  encodeRecordHeader,
  MAX_RECORD_COUNT,
  type PieceRange,
  type Placement,
  prependRecordHeader,
  RECEIPT_CLOCK_US,
  type RecordHeader,
} from '../../src/protocol/record-header.ts';
import { cutAt } from '../support/mux/frame-log.ts';
import { wire } from '../support/mux/wire.ts';

const acknowledged = { position: 0x0102_0304_0506, receivedUs: 0x0708_090a };
const ACKNOWLEDGED = '010203040506 0708090a';

const plain = { isNumbered: true, mayWait: false, acknowledged: undefined } as const;

function placed(placement: Placement, isLast = false): RecordHeader {
  return { ...plain, isLast, placement };
}

/** As docs/protocol.md §3.1 writes them. */
const HEADERS: readonly [what: string, hex: string, header: RecordHeader][] = [
  ['numbered', '00', { isNumbered: true, mayWait: false, acknowledged: undefined }],
  ['numbered, acknowledging', `01 ${ACKNOWLEDGED}`, { isNumbered: true, mayWait: false, acknowledged }],
  ['an acknowledgement alone', `03 ${ACKNOWLEDGED}`, { isNumbered: false, mayWait: false, acknowledged }],
  ['not numbered', '02', { isNumbered: false, mayWait: false, acknowledged: undefined }],
  ['numbered, may wait', '04', { isNumbered: true, mayWait: true, acknowledged: undefined }],
  ['numbered, acknowledging, may wait', `05 ${ACKNOWLEDGED}`, { isNumbered: true, mayWait: true, acknowledged }],
  ['not numbered, may wait: of no meaning', '06', { isNumbered: false, mayWait: true, acknowledged: undefined }],
];

/** With several links (docs/protocol.md §10.3). */
const PLACED: readonly [what: string, hex: string, header: RecordHeader][] = [
  ['placed, as link b has it first', '08 000000000002 0001 00', placed({ number: 2, floor: 1, followed: [] })],
  ['placed, not behind the one before', '08 000000000003 0002 00', placed({ number: 3, floor: 1, followed: [] })],
  ['placed, behind one of several', '08 000000000004 0003 01 0002', placed({ number: 4, floor: 1, followed: [2] })],
  [
    'placed, behind many, acknowledging',
    `09 ${ACKNOWLEDGED} 000000010000 ffff 03 0001 8000 fffe`,
    { ...placed({ number: 0x10000, floor: 1, followed: [0xffff, 0x8000, 2] }), acknowledged },
  ],
  ['the last of its link', '10', { ...plain, isLast: true }],
  [
    'the last of its link, placed',
    '18 000000000009 0009 00',
    { ...placed({ number: 9, floor: 0, followed: [] }, true) },
  ],
  [
    'a piece',
    '28 000000000005 0001 00 0100 0fff',
    { ...placed({ number: 5, floor: 4, followed: [] }), piece: { offset: 0x100, total: 0xfff } },
  ],
  [
    'of all that is numbered',
    `3d ${ACKNOWLEDGED} ffffffffffff 0002 01 0001 0000 ffef`,
    {
      ...placed({ number: MAX_RECORD_COUNT, floor: MAX_RECORD_COUNT - 2, followed: [MAX_RECORD_COUNT - 1] }, true),
      mayWait: true,
      acknowledged,
      piece: { offset: 0, total: 65_519 },
    },
  ],
];

/** Any placement that can be. */
const placements: fc.Arbitrary<Placement> = fc
  .record({
    number: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: MAX_RECORD_COUNT })),
    back: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 0xffff })),
    others: fc.array(fc.nat(), { maxLength: 255 }),
  })
  .map(({ number, back, others }) => {
    const distance = Math.min(back, number);
    const followed = distance === 1 ? [] : others.map((other) => number - 1 - (other % (distance - 1)));
    return { number, floor: number - distance, followed };
  });

const pieces: fc.Arbitrary<PieceRange> = fc
  .record({ total: fc.integer({ min: 1, max: 65_519 }), at: fc.nat() })
  .map(({ total, at }) => ({ offset: at % total, total }));

const headersOfLinks: fc.Arbitrary<RecordHeader> = fc
  .tuple(fc.boolean(), fc.boolean(), placements, fc.option(pieces, { nil: undefined }))
  .map(([mayWait, isLast, placement, piece]) => {
    const header = { isNumbered: true, mayWait, isLast, acknowledged: undefined, placement };
    return piece === undefined ? header : { ...header, piece };
  });

const headers: fc.Arbitrary<RecordHeader> = fc.record({
  isNumbered: fc.boolean(),
  mayWait: fc.boolean(),
  acknowledged: fc.option(fc.record({ position: fc.nat(MAX_RECORD_COUNT), receivedUs: fc.nat(RECEIPT_CLOCK_US - 1) }), {
    nil: undefined,
  }),
});

describe('The header of a record', () => {
  it.each([...HEADERS, ...PLACED])(
    'the record header of %s is read and written as its literal bytes',
    (_what, hex, header) => {
      const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
      expect(Buffer.from(encodeRecordHeader(header))).toEqual(bytes);
      expect(decodeRecordHeader([bytes])).toEqual({ header, bytes: bytes.length });
    },
  );

  it('a record header is read as it was written, before frames or alone, wherever the message is cut', () => {
    fc.assert(
      fc.property(
        fc.oneof(headers, headersOfLinks),
        fc.boolean(),
        fc.array(fc.nat(60), { maxLength: 6 }),
        (header, hasFrames, cuts) => {
          const encoder = new RecordEncoder();
          if (hasFrames) encoder.finish(7);
          const message = Buffer.concat(prependRecordHeader(header, encoder.take()));
          const pieces = cutAt(message, cuts);
          const decoded = decodeRecordHeader(pieces);
          expect(decoded?.header).toEqual(header);
          const rest = Buffer.concat(dropPrefix(pieces, decoded?.bytes ?? 0));
          expect(rest).toEqual(hasFrames ? wire.finish(7) : Buffer.alloc(0));
        },
      ),
    );
  });

  it('a record header with an unknown flag or cut short is rejected', () => {
    for (let flags = 0x40; flags < 256; flags++) expect(decodeRecordHeader([Buffer.alloc(20, flags)])).toBeUndefined();
    for (const flags of [1, 3, 5, 7])
      for (let length = 1; length < 11; length++)
        expect(decodeRecordHeader([Buffer.alloc(length, flags)])).toBeUndefined();
    expect(decodeRecordHeader([])).toBeUndefined();
  });

  it('a record header of several links is rejected wherever it is cut short', () => {
    for (const [, hex] of PLACED) {
      const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
      for (let length = 0; length < bytes.length; length++)
        expect(decodeRecordHeader([bytes.subarray(0, length)]), `${hex}, ${length}`).toBeUndefined();
    }
  });

  it.each([
    ['a placement on an unnumbered record', '0a 000000000002 0001 00'],
    ['the last of its link, unnumbered', '12'],
    ['a piece, unnumbered', '2a 000000000002 0001 00 0000 0001'],
    ['a piece without a placement', '20 0000 0001'],
    ['a piece without a placement, the last of its link', '30 0000 0001'],
    ['a floor that is its own number', '08 000000000002 0000 00'],
    ['a floor below 0', '08 000000000002 0003 00'],
    ['the number 0', '08 000000000000 0001 00'],
    ['another record that is itself', '08 000000000009 0004 01 0000'],
    ['another record that is its floor', '08 000000000009 0004 01 0004'],
    ['another record below its floor', '08 000000000009 0004 02 0001 0005'],
    ['fewer other records than their count', '08 000000000009 0004 02 0001'],
    ['a piece of nothing', '28 000000000002 0001 00 0000 0000'],
    ['a piece of more than a record holds', '28 000000000002 0001 00 0000 fff0'],
    ['a piece that begins at its end', '28 000000000002 0001 00 0005 0005'],
  ])('a record header with %s is rejected', (_what, hex) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    expect(decodeRecordHeader([bytes])).toBeUndefined();
    expect(decodeRecordHeader(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toBeUndefined();
  });

  it('any bytes are a record header that would be written so, or none', () => {
    const bytesOfLinks = fc
      .tuple(fc.constantFrom(0x08, 0x09, 0x10, 0x18, 0x28, 0x29, 0x3c), fc.uint8Array({ maxLength: 40 }))
      .map(([flags, rest]) => Uint8Array.of(flags, ...rest));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), bytesOfLinks), (bytes) => {
        const decoded = decodeRecordHeader([bytes]);
        if (decoded === undefined) return;
        expect(Buffer.from(encodeRecordHeader(decoded.header))).toEqual(Buffer.from(bytes.subarray(0, decoded.bytes)));
      }),
      { numRuns: 2000 },
    );
  });
});
