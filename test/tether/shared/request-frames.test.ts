/** The messages by which a page makes requests for the laptop (docs/tether-protocol.md §6.1). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeLaptopFrame,
  decodePageFrame,
  encodeLaptopFrame,
  encodePageFrame,
  type LaptopFrame,
  type PageFrame,
} from '../../../src/tether/shared/request-frames.ts';

const id = fc.integer({ min: 0, max: 0xffffffff });
const bytes = fc.uint8Array({ maxLength: 300 });
const path = fc.stringMatching(/^[\w/-]{0,180}$/);

const laptopFrame: fc.Arbitrary<LaptopFrame> = fc.oneof(
  fc.record({
    type: fc.constant('begin' as const),
    id,
    method: fc.constantFrom('GET' as const, 'POST' as const),
    url: path.map((text) => `https://relay.example.org/${text}`),
  }),
  fc.record({ type: fc.constant('part' as const), id, bytes }),
  fc.record({ type: fc.constantFrom('send' as const, 'abort' as const), id }),
  fc.record({ type: fc.constant('credit' as const), id, bytes: id }),
);

const pageFrame: fc.Arbitrary<PageFrame> = fc.oneof(
  fc.record({
    type: fc.constant('head' as const),
    id,
    status: fc.integer({ min: 0, max: 0xffff }),
    fields: fc.dictionary(fc.stringMatching(/^[a-z][a-z-]{0,20}$/), fc.string({ maxLength: 40 }), {
      maxKeys: 8,
      noNullPrototype: true,
    }),
  }),
  fc.record({ type: fc.constant('answerPart' as const), id, bytes }),
  fc.record({ type: fc.constantFrom('end' as const, 'failed' as const), id }),
);

describe('messages of requests', () => {
  it('every message of the laptop is read as it was written, and is none of the page', () => {
    fc.assert(
      fc.property(laptopFrame, (frame) => {
        const message = encodeLaptopFrame(frame);
        expect(decodeLaptopFrame(message)).toEqual(frame);
        expect(decodePageFrame(message)).toBeUndefined();
      }),
    );
  });

  it('every message of the page is read as it was written, and is none of the laptop', () => {
    fc.assert(
      fc.property(pageFrame, (frame) => {
        const message = encodePageFrame(frame);
        expect(decodePageFrame(message)).toEqual(frame);
        expect(decodeLaptopFrame(message)).toBeUndefined();
      }),
    );
  });

  it('any bytes are a message or none, and what is read as one is written as these bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (message) => {
        const frame = decodeLaptopFrame(message);
        if (frame !== undefined) expect(encodeLaptopFrame(frame)).toEqual(message);
        decodePageFrame(message);
      }),
    );
  });

  it.each(['ftp://relay.example.org/', 'javascript:alert(1)', 'https://relay.example.org/#a', 'https://a b/', ''])(
    'a request to %j is no message',
    (url) => {
      expect(decodeLaptopFrame(encodeLaptopFrame({ type: 'begin', id: 1, method: 'GET', url }))).toBeUndefined();
    },
  );

  it('fields of an answer that are too long are left out', () => {
    const fields = { 'content-type': 'x'.repeat(10_000) };
    expect(decodePageFrame(encodePageFrame({ type: 'head', id: 1, status: 200, fields }))).toMatchObject({
      fields: {},
    });
  });
});
