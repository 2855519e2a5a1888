import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  announcements,
  type ControlMessage,
  decodeControl,
  encodeControl,
  encodeNotice,
  MAX_ANNOUNCED_KEYS,
} from '../../src/transport/control-messages.ts';

const key = (): string => randomBytes(32).toString('base64url');
const decodeText = (text: string): ControlMessage | undefined => decodeControl([Buffer.from(text)]);

const keyArbitrary = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b).toString('base64url'));
const messageArbitrary: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.constantFrom<ControlMessage>({ type: 'ping' }, { type: 'replaced' }, { type: 'occupied' }, { type: 'registered' }),
  fc.record({
    type: fc.constant('call' as const),
    token: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from(b).toString('hex')),
  }),
  fc.record({
    type: fc.constant('call' as const),
    token: fc.constant('0f'.repeat(16)),
    relay: fc.string({ unit: 'grapheme', maxLength: 300 }),
  }),
  fc.record({ type: fc.constant('unreached' as const), token: fc.constant('f0'.repeat(16)) }),
  fc.record({
    type: fc.constant('rotated' as const),
    proof: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b).toString('hex')),
  }),
  fc.record({
    type: fc.constant('instance' as const),
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from(b).toString('hex')),
  }),
  fc.oneof(fc.ipV4(), fc.ipV6()).map((address) => ({ type: 'seen' as const, address })),
  fc
    .tuple(fc.nat(MAX_ANNOUNCED_KEYS - 1), fc.nat(MAX_ANNOUNCED_KEYS))
    .map(([keys, more]) => ({ type: 'taken' as const, keys, of: Math.max(keys + 1, more) })),
  fc.record({
    type: fc.constant('bearers' as const),
    keys: fc.array(keyArbitrary, { maxLength: 20 }),
    more: fc.boolean(),
  }),
);

describe('a control message', () => {
  it('a control message is decoded as it was encoded, however it is cut into pieces', () => {
    fc.assert(
      fc.property(messageArbitrary, fc.nat(200), (message, at) => {
        const bytes = Buffer.concat(encodeControl(message));
        expect(decodeControl([bytes.subarray(0, at), new Uint8Array(0), bytes.subarray(at)])).toEqual(message);
      }),
      { seed: 1 },
    );
  });

  it.each([
    ['nothing', ''],
    ['no JSON', '{"type":"ping"'],
    ['no object', '[]'],
    ['null', 'null'],
    ['a number', '7'],
    ['no type', '{}'],
    ['an unknown type', '{"type":"pong"}'],
    ['a type that is an object member', '{"type":"constructor"}'],
    ['a field too many', '{"type":"ping","x":1}'],
    ['a rotation without its proof', '{"type":"rotated"}'],
    ['a proof that is too short', `{"type":"rotated","proof":"${'a'.repeat(63)}"}`],
    ['a proof that is no text', '{"type":"rotated","proof":7}'],
    ['a field too many in a call', `{"type":"call","token":"${'0'.repeat(32)}","x":1}`],
    ['a URL that is a number', `{"type":"call","token":"${'0'.repeat(32)}","relay":1}`],
    ['a URL that is too long', `{"type":"call","token":"${'0'.repeat(32)}","relay":"${'u'.repeat(1_025)}"}`],
    ['a URL and no token', '{"type":"call","relay":"wss://a.example"}'],
    ['a bad token that was not reached', '{"type":"unreached","token":"0"}'],
    ['more taken than there are', '{"type":"taken","keys":3,"of":2}'],
    ['all taken', '{"type":"taken","keys":2,"of":2}'],
    ['half a key taken', '{"type":"taken","keys":0.5,"of":2}'],
    ['keys taken that are a text', '{"type":"taken","keys":"1","of":2}'],
    ['more keys than a list may have', '{"type":"taken","keys":1,"of":10001}'],
    ['an address that is none', '{"type":"seen","address":"192.0.2.256"}'],
    ['a name as an address', '{"type":"seen","address":"relay.example"}'],
    ['an address with a port', '{"type":"seen","address":"192.0.2.1:80"}'],
    ['an address with a zone', '{"type":"seen","address":"fe80::1%eth0"}'],
    ['an address that is a number', '{"type":"seen","address":3221225985}'],
    ['no address', '{"type":"seen"}'],
    ['no id', '{"type":"instance"}'],
    ['an id in capitals', `{"type":"instance","id":"${'A'.repeat(32)}"}`],
    ['an id that is too long', `{"type":"instance","id":"${'a'.repeat(33)}"}`],
    ['an id that is a number', '{"type":"instance","id":7}'],
    ['a token too short', `{"type":"call","token":"${'0'.repeat(31)}"}`],
    ['a token in capitals', `{"type":"call","token":"${'A'.repeat(32)}"}`],
    ['a token and a line feed', `{"type":"call","token":"${'0'.repeat(32)}\\n"}`],
    ['a token that is a list', `{"type":"call","token":["${'0'.repeat(32)}"]}`],
    ['keys missing', '{"type":"bearers","more":false}'],
    ['more missing', '{"type":"bearers","keys":[]}'],
    ['more as a number', '{"type":"bearers","keys":[],"more":0}'],
    ['keys as an object', '{"type":"bearers","keys":{},"more":false}'],
    ['a key too short', `{"type":"bearers","keys":["${'A'.repeat(42)}"],"more":false}`],
    ['a key with unused bits set', `{"type":"bearers","keys":["${'A'.repeat(42)}B"],"more":false}`],
    ['a key with padding', `{"type":"bearers","keys":["${'A'.repeat(43)}="],"more":false}`],
    ['a byte-order mark', '\ufeff{"type":"ping"}'],
  ])('a control message with %s is rejected', (_what, text) => {
    expect(decodeText(text)).toBeUndefined();
  });

  it('a control message that is not UTF-8 is rejected', () => {
    expect(decodeControl([Buffer.from('{"type":"ping"}'), Uint8Array.of(0xff)])).toBeUndefined();
    expect(decodeControl([])).toBeUndefined();
  });

  it('a control message may have 60,000 bytes and not one more', () => {
    const padded = (bytes: number): string => '{"type":"ping"}'.padEnd(bytes, ' ');
    expect(decodeText(padded(60_000))).toEqual({ type: 'ping' });
    expect(decodeText(padded(60_001))).toBeUndefined();
  });

  it('garbage is rejected as a control message, and decoding never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.json().map((t) => Buffer.from(t)),
        ),
        (bytes) => {
          expect(decodeControl([bytes])).toBeUndefined();
        },
      ),
      { seed: 2, numRuns: 500 },
    );
  });

  it('a control message with one byte changed is rejected, or is one that would be encoded so', () => {
    fc.assert(
      fc.property(messageArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, flip) => {
        const bytes = Buffer.concat(encodeControl(message));
        bytes[at % bytes.length]! ^= flip;
        const decoded = decodeControl([bytes]);
        if (decoded !== undefined) expect(decodeControl(encodeControl(decoded))).toEqual(decoded);
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});

describe('an announcement', () => {
  it.each([0, 1, 1_000, 1_001, MAX_ANNOUNCED_KEYS])(
    'an announcement of %i keys arrives whole, each message within its bound',
    (count) => {
      const keys = Array.from({ length: count }, key);
      const messages = announcements(keys);
      const decoded = messages.map((message) => decodeControl(encodeControl(message)));
      expect(decoded).toEqual(messages);
      expect(messages.flatMap((message) => message.keys)).toEqual(keys);
      expect(messages.map(({ more }) => more)).toEqual(messages.map((_, at) => at < messages.length - 1));
    },
  );

  it('an announcement of more keys than an access list may have is rejected', () => {
    expect(() => announcements(Array.from({ length: MAX_ANNOUNCED_KEYS + 1 }, () => ''))).toThrow(RangeError);
  });
});

describe('a notice', () => {
  it('a notice may have a proof after the code', () => {
    expect(Buffer.concat(encodeNotice('keys-rotated', Buffer.of(1, 2)))).toEqual(Buffer.of(0, 0, 17, 1, 2));
  });

  it('a notice is a zero byte and the wire code', () => {
    expect(Buffer.concat(encodeNotice('exit-absent'))).toEqual(Buffer.of(0, 0, 14));
  });
});
