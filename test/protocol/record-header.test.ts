import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordEncoder } from '../../src/protocol/frame-encoder.ts';
import {
  decodeRecordHeader,
  dropPrefix,
  encodeRecordHeader,
  MAX_RECORD_COUNT,
  prependRecordHeader,
  RECEIPT_CLOCK_US,
  type RecordHeader,
} from '../../src/protocol/record-header.ts';
import { cutAt } from '../support/mux/frame-log.ts';
import { wire } from '../support/mux/wire.ts';

const acknowledged = { position: 0x0102_0304_0506, receivedUs: 0x0708_090a };
const ACKNOWLEDGED = '010203040506 0708090a';

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

const headers: fc.Arbitrary<RecordHeader> = fc.record({
  isNumbered: fc.boolean(),
  mayWait: fc.boolean(),
  acknowledged: fc.option(fc.record({ position: fc.nat(MAX_RECORD_COUNT), receivedUs: fc.nat(RECEIPT_CLOCK_US - 1) }), {
    nil: undefined,
  }),
});

describe('The header of a record', () => {
  it.each(HEADERS)('the record header of %s is read and written as its literal bytes', (_what, hex, header) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    expect(Buffer.from(encodeRecordHeader(header))).toEqual(bytes);
    expect(decodeRecordHeader([bytes])).toEqual({ header, bytes: bytes.length });
  });

  it('a record header is read as it was written, before frames or alone, wherever the message is cut', () => {
    fc.assert(
      fc.property(headers, fc.boolean(), fc.array(fc.nat(60), { maxLength: 6 }), (header, hasFrames, cuts) => {
        const encoder = new RecordEncoder();
        if (hasFrames) encoder.finish(7);
        const message = Buffer.concat(prependRecordHeader(header, encoder.take()));
        const pieces = cutAt(message, cuts);
        const decoded = decodeRecordHeader(pieces);
        expect(decoded?.header).toEqual(header);
        const rest = Buffer.concat(dropPrefix(pieces, decoded?.bytes ?? 0));
        expect(rest).toEqual(hasFrames ? wire.finish(7) : Buffer.alloc(0));
      }),
    );
  });

  it('a record header with an unknown flag or cut short is rejected', () => {
    for (let flags = 0x40; flags < 256; flags++) expect(decodeRecordHeader([Buffer.alloc(20, flags)])).toBeUndefined();
    for (const flags of [1, 3, 5, 7])
      for (let length = 1; length < 11; length++)
        expect(decodeRecordHeader([Buffer.alloc(length, flags)])).toBeUndefined();
    expect(decodeRecordHeader([])).toBeUndefined();
  });
});
