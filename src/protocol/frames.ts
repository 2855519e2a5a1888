/** Types, lengths and ranges of the frame stream. docs/protocol.md is normative; constants name its sections. Pure. */
import { MAX_RELAYS_BYTES } from './relays.ts';

/** docs/protocol.md §6. */
export const PROTOCOL_VERSION = 1;

/** §6, bit of HELLO's features: the sender understands records whose acknowledgement may wait. */
export const FEATURE_MAY_WAIT = 0x0001;
/** The same: it understands several links at once (§10.2). */
export const FEATURE_LINKS = 0x0002;

/** The same: it understands DATAGRAM frames in records that are not numbered, an exit also UDP (§7.1). */
export const FEATURE_DATAGRAMS = 0x0004;
/** The same: an exit has a resolver and listeners, a client takes what its listeners accept (§7.1). */
export const FEATURE_SERVICES = 0x0008;
/** The same: a client understands RELAYS (§6.1). */
export const FEATURE_RELAYS = 0x0010;

/** §3. A link message holds at most 65,535 bytes, of which a sealed record needs 16 for its tag. */
export const MAX_RECORD_BYTES = 65_519;

/** §4. */
export const FRAME_HEADER_BYTES = 8;
export const MAX_PAYLOAD_BYTES = MAX_RECORD_BYTES - FRAME_HEADER_BYTES;

/** §4, §7: ids are 31 bits. */
export const MAX_STREAM_ID = 0x7fff_ffff;

/** §8: the most credit that one direction of a stream may have, bytes. */
export const MAX_CREDIT_BYTES = 0x7fff_ffff;

/** §9: smaller increments are no-op frames. */
export const MIN_CREDIT_BYTES = 256;

/** §6: how many streams an opener holds before it knows the peer's limit. */
export const STREAMS_BEFORE_HELLO = 64;

/** §4. */
export const FrameType = {
  hello: 0x00,
  open: 0x01,
  opened: 0x02,
  openFailed: 0x03,
  data: 0x04,
  credit: 0x05,
  finish: 0x06,
  reset: 0x07,
  ping: 0x08,
  pong: 0x09,
  goAway: 0x0a,
  links: 0x81,
  relays: 0x83,
  /** Only in records that are not numbered; elsewhere it is skipped. */
  datagram: 0x82,
} as const;

/** §4: a receiver skips types from here on that it does not know. */
export const FIRST_IGNORABLE_TYPE = 0x80;

/** §7.1: of a DATAGRAM frame's payload, address included. */
export const MAX_DATAGRAM_BYTES = 65_500;

const shape = (onStream: boolean, minLength: number, maxLength = minLength) => ({ onStream, minLength, maxLength });

/** Of LINKS. */
const LINKS_SHAPE = shape(false, 5);

/** Whether the frame concerns a stream, and the length of its payload. Indexed by type. */
const FRAME_SHAPES: readonly ReturnType<typeof shape>[] = [
  shape(false, 8, 1024),
  shape(true, 9, 263),
  shape(true, 4, 23),
  shape(true, 2),
  shape(true, 0, MAX_PAYLOAD_BYTES),
  shape(true, 4),
  shape(true, 0),
  shape(true, 2),
  shape(false, 8),
  shape(false, 8),
  shape(false, 6),
];

/** Undefined for a type that this version does not know. */
export function shapeOf(type: number): ReturnType<typeof shape> | undefined {
  return type === FrameType.links ? LINKS_SHAPE : FRAME_SHAPES[type];
}

/** A receiver passes the payload on, or skips it, as it comes. */
export function isStreamed(type: number, length: number): boolean {
  if (type === FrameType.relays) return length > MAX_RELAYS_BYTES;
  return type === FrameType.data || (type >= FIRST_IGNORABLE_TYPE && type !== FrameType.links);
}
