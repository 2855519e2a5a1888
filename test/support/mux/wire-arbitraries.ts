/** Random well-formed frames, each with the call of the encoder that writes it. */
import fc from 'fast-check';
import { FAULTS, type WireFaultName, wireCodeOf } from '../../../src/errors.ts';
import type { RecordEncoder } from '../../../src/protocol/frame-encoder.ts';
import { encodeRelays, type ToldRelays } from '../../../src/protocol/relays.ts';
import type { Target } from '../../../src/protocol/target.ts';
import { type LoggedFrame, loggedRelays } from './frame-log.ts';

export interface WrittenFrame {
  write(encoder: RecordEncoder): void;
  /** What a decoder must hand on. */
  readonly read: readonly LoggedFrame[];
}

export const WIRE_FAULTS = Object.entries(FAULTS)
  .filter(([, fault]) => 'wire' in fault)
  .map(([name]) => name as WireFaultName);

const stream = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 0x7fff_ffff }));
const amount = fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 0xffff_ffff }));
const fault = fc.constantFrom(...WIRE_FAULTS);
const opaque = fc.uint8Array({ minLength: 8, maxLength: 8 });
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  // Around the size up to which the encoder copies, and the largest.
  fc.constantFrom(2047, 2048, 2049, 65_511).map((length) => Buffer.alloc(length, length & 0xff)),
);

const name = fc.oneof(
  fc.stringMatching(/^[a-z0-9.-]{1,255}$/),
  fc.uint8Array({ minLength: 1, maxLength: 255 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);

export const targets: fc.Arbitrary<Target> = fc
  .tuple(
    fc.oneof(
      name.map((text) => ({ kind: 'name' as const, name: text })),
      fc
        .constantFrom(4, 16)
        .chain((length) =>
          fc.uint8Array({ minLength: length, maxLength: length }).map((ip) => ({ kind: 'ip' as const, ip })),
        ),
    ),
    fc.nat(0xffff),
  )
  .map(([host, port]) => ({ ...host, port }));

const opened = fc.tuple(stream, amount);
const failed = fc.tuple(stream, fault);

export const toldRelays: fc.Arbitrary<ToldRelays> = fc.record({
  urls: fc.uniqueArray(
    fc.oneof(
      fc.stringMatching(/^wss:\/\/[a-z]{1,20}\.test$/),
      fc.constantFrom(1, 255, 256, 1024).map((length) => 'u'.repeat(length)),
    ),
    { minLength: 1, maxLength: 8 },
  ),
  pins: fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 8 }),
});

/** Any frame but HELLO. */
export const writtenFrames: fc.Arbitrary<WrittenFrame> = fc.oneof(
  fc.tuple(stream, amount, targets).map(([id, credit, target]) => ({
    write: (to: RecordEncoder) => to.open(id, credit, { service: 'tcp', target }),
    read: [['open', id, credit, { service: 'tcp' as const, target }]],
  })),
  opened.map(([id, credit]) => ({
    write: (to: RecordEncoder) => to.opened(id, credit),
    read: [['opened', id, credit]],
  })),
  opened.map(([id, credit]) => ({
    write: (to: RecordEncoder) => to.credit(id, credit),
    read: [['credit', id, credit]],
  })),
  failed.map(([id, code]) => ({
    write: (to: RecordEncoder) => to.openFailed(id, code),
    read: [['open-failed', id, wireCodeOf(code)]],
  })),
  failed.map(([id, code]) => ({
    write: (to: RecordEncoder) => to.reset(id, code),
    read: [['reset', id, wireCodeOf(code)]],
  })),
  fc.tuple(stream, payload, fc.nat(100)).map(([id, bytes, cut]) => ({
    write: (to: RecordEncoder) => {
      to.dataHeader(id, bytes.length);
      to.payload(bytes.subarray(0, cut));
      to.payload(bytes.subarray(cut));
    },
    read: [['data', id, bytes.length], ...(bytes.length > 0 ? [['payload', Buffer.from(bytes).toString('hex')]] : [])],
  })),
  stream.map((id) => ({ write: (to: RecordEncoder) => to.finish(id), read: [['finish', id]] })),
  opaque.map((bytes) => ({
    write: (to: RecordEncoder) => to.ping(bytes),
    read: [['ping', Buffer.from(bytes).toString('hex')]],
  })),
  opaque.map((bytes) => ({
    write: (to: RecordEncoder) => to.pong(bytes),
    read: [['pong', Buffer.from(bytes).toString('hex')]],
  })),
  fc.tuple(fault, fc.nat(0x7fff_ffff)).map(([code, last]) => ({
    write: (to: RecordEncoder) => to.goAway(code, last),
    read: [['go-away', wireCodeOf(code), last]],
  })),
  fc.tuple(fc.integer({ min: 1, max: 255 }), fc.nat(0xffff_ffff)).map(([wanted, maxBytes]) => ({
    write: (to: RecordEncoder) => to.links(wanted, maxBytes),
    read: [['links', wanted, maxBytes]],
  })),
  toldRelays.map((told) => ({
    write: (to: RecordEncoder) => to.relays(encodeRelays(told)),
    read: [['relays', ...loggedRelays(told)]],
  })),
);
