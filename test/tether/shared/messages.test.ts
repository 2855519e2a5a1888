import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeLaptopMessage,
  decodePageMessage,
  encodeMessage,
  type LaptopMessage,
  type PageMessage,
} from '../../../src/tether/shared/messages.ts';

const TOKEN = '0123456789abcdef0123456789abcdef';
const token = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));

const laptopMessage: fc.Arbitrary<LaptopMessage> = fc.oneof(
  fc.constantFrom({ type: 'ping' } as const, { type: 'replaced' } as const),
  fc.record({ type: fc.constant('duty' as const), duty: fc.constantFrom('carry', 'spare', 'rest') }),
  fc.record({
    type: fc.constant('open' as const),
    link: token,
    url: fc.constantFrom('wss://relay.example.org/p/T', 'ws://[::1]:8080/T'),
  }),
);

const pageMessage: fc.Arbitrary<PageMessage> = fc.oneof(
  fc.constant({ type: 'pong' } as const),
  fc.record({ type: fc.constant('joined' as const), time: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }) }),
  fc.record({ type: fc.constant('failed' as const), link: token, reason: fc.constantFrom('refused', 'unreachable') }),
);

const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe('messages of the page’s control link', () => {
  it('messages are decoded as they were encoded, each only by its own decoder', () => {
    fc.assert(
      fc.property(laptopMessage, pageMessage, (fromLaptop, fromPage) => {
        expect(decodeLaptopMessage(encodeMessage(fromLaptop))).toEqual(fromLaptop);
        expect(decodePageMessage(encodeMessage(fromPage))).toEqual(fromPage);
        expect(decodePageMessage(encodeMessage(fromLaptop))).toBeUndefined();
        expect(decodeLaptopMessage(encodeMessage(fromPage))).toBeUndefined();
      }),
    );
  });

  it.each<[string, unknown]>([
    ['a field too many', { type: 'ping', x: 1 }],
    ['no type', {}],
    ['an array', ['ping']],
    ['nothing', null],
    ['an unknown duty', { type: 'duty', duty: 'work' }],
    ['a token in capitals', { type: 'open', link: TOKEN.toUpperCase(), url: 'wss://relay/t' }],
    ['a token cut off', { type: 'open', link: TOKEN.slice(1), url: 'wss://relay/t' }],
    ['an upstream URL over http', { type: 'open', link: TOKEN, url: 'https://relay/t' }],
    ['an upstream URL with a fragment', { type: 'open', link: TOKEN, url: 'wss://relay/t#x' }],
    ['an upstream URL with a line break', { type: 'open', link: TOKEN, url: 'wss://relay/t\n' }],
    ['a message longer than any', { type: 'open', link: TOKEN, url: `wss://relay/${'x'.repeat(5_000)}` }],
  ])('a page rejects %s', (_what, value) => {
    expect(decodeLaptopMessage(bytesOf(value))).toBeUndefined();
  });

  it.each<[string, unknown]>([
    ['a time that is no number', { type: 'joined', time: '1' }],
    ['a time before 1970', { type: 'joined', time: -1 }],
    ['a time with a fraction', { type: 'joined', time: 1.5 }],
    ['a failure of no link', { type: 'failed', reason: 'refused' }],
    ['a failure without a known reason', { type: 'failed', link: TOKEN, reason: '<b>' }],
    ['a reason that is a name of objects', { type: 'failed', link: TOKEN, reason: 'constructor' }],
    ['a field too many', { type: 'pong', pong: 1 }],
  ])('a laptop rejects %s', (_what, value) => {
    expect(decodePageMessage(bytesOf(value))).toBeUndefined();
  });

  it('decoding arbitrary bytes as a message never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          decodeLaptopMessage(bytes);
          decodePageMessage(bytes);
        },
      ),
    );
  });
});
