/** The header of a record (docs/protocol.md §3.1): is it numbered, may its ACK wait, what was received. Pure. */
import { handOut, type Piece, release } from '../memory/pieces.ts';

/** Bits of the first byte. */
const ACKNOWLEDGES = 0x01;
const UNNUMBERED = 0x02;
const MAY_WAIT = 0x04;
const KNOWN_FLAGS = ACKNOWLEDGES | UNNUMBERED | MAY_WAIT;

/** A count is a u48: at a million records a second it lasts nine years, and a number holds it exactly. */
const COUNT_BYTES = 6;
export const MAX_RECORD_COUNT = 2 ** 48 - 1;

/** A time is a u32 of microseconds of the receiver's own clock, which wraps around every 71 minutes. */
const TIME_BYTES = 4;
export const RECEIPT_CLOCK_US = 2 ** 32;

export const MAX_RECORD_HEADER_BYTES = 1 + COUNT_BYTES + TIME_BYTES;

export interface Acknowledgement {
  /** The number of the newest numbered record that was received on this link. */
  readonly count: number;
  /** When it was received, microseconds of any clock that runs steadily, modulo RECEIPT_CLOCK_US. */
  readonly receivedUs: number;
}

export interface RecordHeader {
  /** Unnumbered: not counted, not kept and not retransmitted; in version 1 it has no frames. */
  readonly isNumbered: boolean;
  /** The acknowledgement may wait. Only to a peer whose HELLO says that it understands this. */
  readonly mayWait: boolean;
  readonly acknowledged: Acknowledgement | undefined;
}

export function encodeRecordHeader(header: RecordHeader): Uint8Array {
  const bytes = Buffer.allocUnsafe(lengthOf(header));
  writeRecordHeader(header, bytes);
  return bytes;
}

/** In the first piece: each piece costs cipher and link a call. Only for pieces fresh from `RecordEncoder.take`. */
export function prependRecordHeader(header: RecordHeader, pieces: readonly Piece[]): readonly Piece[] {
  const [first] = pieces;
  if (first === undefined) return [encodeRecordHeader(header)];
  const length = lengthOf(header);
  const headed = Buffer.from(first.buffer, first.byteOffset - length, length + first.length);
  writeRecordHeader(header, headed);
  handOut(headed.subarray(0, length));
  return [headed, ...pieces.slice(1)];
}

function lengthOf({ acknowledged }: RecordHeader): number {
  return acknowledged === undefined ? 1 : MAX_RECORD_HEADER_BYTES;
}

function writeRecordHeader({ isNumbered, mayWait, acknowledged }: RecordHeader, bytes: Buffer): void {
  const flags = (isNumbered ? 0 : UNNUMBERED) | (mayWait ? MAY_WAIT : 0);
  bytes[0] = acknowledged === undefined ? flags : flags | ACKNOWLEDGES;
  if (acknowledged === undefined) return;
  bytes.writeUIntBE(acknowledged.count, 1, COUNT_BYTES);
  bytes.writeUInt32BE(acknowledged.receivedUs, 1 + COUNT_BYTES);
}

/** Undefined if it is malformed. The frames follow at `bytes`. */
export function decodeRecordHeader(
  message: readonly Uint8Array[],
): { header: RecordHeader; bytes: number } | undefined {
  const start = firstBytes(message);
  const flags = start[0];
  if (flags === undefined || flags > KNOWN_FLAGS) return undefined;
  const isNumbered = (flags & UNNUMBERED) === 0;
  const mayWait = (flags & MAY_WAIT) !== 0;
  if ((flags & ACKNOWLEDGES) === 0) return { header: { isNumbered, mayWait, acknowledged: undefined }, bytes: 1 };
  if (start.length < MAX_RECORD_HEADER_BYTES) return undefined;
  const acknowledged = { count: start.readUIntBE(1, COUNT_BYTES), receivedUs: start.readUInt32BE(1 + COUNT_BYTES) };
  return { header: { isNumbered, mayWait, acknowledged }, bytes: MAX_RECORD_HEADER_BYTES };
}

/** As many bytes as a header may have, in one piece: nearly always without a copy. */
function firstBytes(message: readonly Uint8Array[]): Buffer {
  const [first] = message;
  if (first !== undefined && (first.length >= MAX_RECORD_HEADER_BYTES || message.length === 1))
    return Buffer.from(first.buffer, first.byteOffset, Math.min(first.length, MAX_RECORD_HEADER_BYTES));
  return Buffer.concat(message).subarray(0, MAX_RECORD_HEADER_BYTES);
}

/** The pieces without their first `bytes` bytes; empty pieces are left out. Takes the message. */
export function dropPrefix(message: readonly Piece[], bytes: number): Piece[] {
  const rest: Piece[] = [];
  let left = bytes;
  for (const piece of message) {
    const { length } = piece;
    if (length > left) rest.push(left === 0 ? piece : piece.subarray(left));
    if (left > 0) release(piece, 0, Math.min(left, length));
    left = Math.max(0, left - length);
  }
  return rest;
}
