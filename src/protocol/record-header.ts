/** The header of a record (docs/protocol.md §3.1): its number and what it follows, and what was received. Pure. */
import { handOut, type Piece, release } from '../memory/pieces.ts';
import { MAX_RECORD_BYTES } from './frames.ts';

/** Bits of the first byte. */
const ACKNOWLEDGES = 0x01;
const UNNUMBERED = 0x02;
const MAY_WAIT = 0x04;
const PLACED = 0x08;
const LAST = 0x10;
const PIECE = 0x20;
const FLAGS_OF_LINKS = PLACED | LAST | PIECE;
const KNOWN_FLAGS = ACKNOWLEDGES | UNNUMBERED | MAY_WAIT | FLAGS_OF_LINKS;

/** A count is a u48: at a million records a second it lasts nine years, and a number holds it exactly. */
const COUNT_BYTES = 6;
export const MAX_RECORD_COUNT = 2 ** 48 - 1;

/** A time is a u32 of microseconds of the receiver's own clock, which wraps around every 71 minutes. */
const TIME_BYTES = 4;
export const RECEIPT_CLOCK_US = 2 ** 32;

const ACKNOWLEDGEMENT_BYTES = COUNT_BYTES + TIME_BYTES;

/** A placement without what else it follows: number, floor, count. */
const PLACEMENT_BYTES = COUNT_BYTES + 2 + 1;
const FOLLOWED_BYTES = 2;
const PIECE_BYTES = 4;

/** What else a record can follow, beside all up to its floor. */
const MAX_FOLLOWED = 0xff;

/** Of a record of one stream: so much is kept free in front of a record. */
export const USUAL_HEADER_BYTES = 1 + ACKNOWLEDGEMENT_BYTES + PLACEMENT_BYTES + 2 * FOLLOWED_BYTES;
const MAX_HEADER_BYTES = 1 + ACKNOWLEDGEMENT_BYTES + PLACEMENT_BYTES + MAX_FOLLOWED * FOLLOWED_BYTES + PIECE_BYTES;

export interface Acknowledgement {
  /** The position of the newest numbered record that was received on this link. */
  readonly position: number;
  /** When it was received, microseconds of any clock that runs steadily, modulo RECEIPT_CLOCK_US. */
  readonly receivedUs: number;
}

/** The number of a record, and which records its frames are handled after: those up to `floor`, and `followed`. */
export interface Placement {
  readonly number: number;
  /** At most 65,535 below `number`. */
  readonly floor: number;
  /** Numbers between `floor` and `number`, at most MAX_FOLLOWED. */
  readonly followed: readonly number[];
}

/** Which part of a record's frames the message has. */
export interface PieceRange {
  readonly offset: number;
  /** Of all frames of the record, bytes. */
  readonly total: number;
}

export interface RecordHeader {
  /** Unnumbered: not counted, not kept and not retransmitted; in version 1 it has no frames. */
  readonly isNumbered: boolean;
  /** The acknowledgement may wait. Only to a peer whose HELLO says that it understands this. */
  readonly mayWait: boolean;
  /** No numbered record follows on this link. Only to a peer that understands several links, as all below. */
  readonly isLast?: boolean;
  readonly acknowledged: Acknowledgement | undefined;
  /** Undefined: the record has the next number of its link, and follows all before it. */
  readonly placement?: Placement | undefined;
  readonly piece?: PieceRange | undefined;
}

export function encodeRecordHeader(header: RecordHeader): Uint8Array {
  const bytes = Buffer.allocUnsafe(lengthOf(header));
  writeRecordHeader(header, bytes);
  return bytes;
}

/** In the first piece: each piece costs cipher and link a call. Only for pieces fresh from `RecordEncoder.take`. */
export function prependRecordHeader(header: RecordHeader, pieces: readonly Piece[]): readonly Piece[] {
  const [first] = pieces;
  const length = lengthOf(header);
  if (first === undefined) return [encodeRecordHeader(header)];
  if (length > USUAL_HEADER_BYTES) return [encodeRecordHeader(header), ...pieces];
  const headed = Buffer.from(first.buffer, first.byteOffset - length, length + first.length);
  writeRecordHeader(header, headed);
  handOut(headed.subarray(0, length));
  return [headed, ...pieces.slice(1)];
}

function lengthOf({ acknowledged, placement, piece }: RecordHeader): number {
  const start = acknowledged === undefined ? 1 : 1 + ACKNOWLEDGEMENT_BYTES;
  if (placement === undefined) return start;
  const placed = start + PLACEMENT_BYTES + placement.followed.length * FOLLOWED_BYTES;
  return piece === undefined ? placed : placed + PIECE_BYTES;
}

function writeRecordHeader(header: RecordHeader, bytes: Buffer): void {
  const { acknowledged, placement, piece } = header;
  bytes[0] = flagsOf(header);
  let at = 1;
  if (acknowledged !== undefined) {
    bytes.writeUIntBE(acknowledged.position, at, COUNT_BYTES);
    bytes.writeUInt32BE(acknowledged.receivedUs, at + COUNT_BYTES);
    at += ACKNOWLEDGEMENT_BYTES;
  }
  if (placement === undefined) return;
  at = writePlacement(placement, bytes, at);
  if (piece === undefined) return;
  bytes.writeUInt16BE(piece.offset, at);
  bytes.writeUInt16BE(piece.total, at + 2);
}

function flagsOf({ isNumbered, mayWait, isLast, acknowledged, placement, piece }: RecordHeader): number {
  const flags = (acknowledged === undefined ? 0 : ACKNOWLEDGES) | (isNumbered ? 0 : UNNUMBERED);
  const ofLinks = (isLast ? LAST : 0) | (placement === undefined ? 0 : PLACED) | (piece === undefined ? 0 : PIECE);
  return flags | (mayWait ? MAY_WAIT : 0) | ofLinks;
}

function writePlacement({ number, floor, followed }: Placement, bytes: Buffer, start: number): number {
  bytes.writeUIntBE(number, start, COUNT_BYTES);
  bytes.writeUInt16BE(number - floor, start + COUNT_BYTES);
  bytes[start + COUNT_BYTES + 2] = followed.length;
  let at = start + PLACEMENT_BYTES;
  for (const other of followed) at = bytes.writeUInt16BE(number - other, at);
  return at;
}

export interface DecodedHeader {
  readonly header: RecordHeader;
  /** The frames follow there. */
  readonly bytes: number;
}

/** Undefined if it is malformed. */
export function decodeRecordHeader(message: readonly Uint8Array[]): DecodedHeader | undefined {
  const start = firstBytes(message, 1 + ACKNOWLEDGEMENT_BYTES);
  const flags = start[0];
  if (flags === undefined || flags > KNOWN_FLAGS) return undefined;
  const isNumbered = (flags & UNNUMBERED) === 0;
  const mayWait = (flags & MAY_WAIT) !== 0;
  const hasAcknowledgement = (flags & ACKNOWLEDGES) !== 0;
  if (hasAcknowledgement && start.length < 1 + ACKNOWLEDGEMENT_BYTES) return undefined;
  const acknowledged = hasAcknowledgement
    ? { position: start.readUIntBE(1, COUNT_BYTES), receivedUs: start.readUInt32BE(1 + COUNT_BYTES) }
    : undefined;
  const bytes = hasAcknowledgement ? 1 + ACKNOWLEDGEMENT_BYTES : 1;
  if ((flags & FLAGS_OF_LINKS) === 0) return { header: { isNumbered, mayWait, acknowledged }, bytes };
  if (!isNumbered) return undefined;
  return decodeForLinks({ isNumbered, mayWait, acknowledged }, flags, firstBytes(message, MAX_HEADER_BYTES), bytes);
}

/** The parts that only a session with several links has. */
function decodeForLinks(start: RecordHeader, flags: number, bytes: Buffer, at: number): DecodedHeader | undefined {
  const isLast = (flags & LAST) !== 0;
  const isPiece = (flags & PIECE) !== 0;
  if ((flags & PLACED) === 0) return isPiece ? undefined : { header: { ...start, isLast }, bytes: at };
  const placement = decodePlacement(bytes, at);
  if (placement === undefined) return undefined;
  const end = at + PLACEMENT_BYTES + placement.followed.length * FOLLOWED_BYTES;
  if (!isPiece) return { header: { ...start, isLast, placement }, bytes: end };
  if (bytes.length < end + PIECE_BYTES) return undefined;
  const piece = { offset: bytes.readUInt16BE(end), total: bytes.readUInt16BE(end + 2) };
  if (piece.total > MAX_RECORD_BYTES || piece.offset >= piece.total) return undefined;
  return { header: { ...start, isLast, placement, piece }, bytes: end + PIECE_BYTES };
}

function decodePlacement(bytes: Buffer, start: number): Placement | undefined {
  if (bytes.length < start + PLACEMENT_BYTES) return undefined;
  const number = bytes.readUIntBE(start, COUNT_BYTES);
  const distance = bytes.readUInt16BE(start + COUNT_BYTES);
  const count = bytes[start + COUNT_BYTES + 2] ?? 0;
  const end = start + PLACEMENT_BYTES + count * FOLLOWED_BYTES;
  if (distance === 0 || distance > number || bytes.length < end) return undefined;
  const followed: number[] = [];
  for (let at = start + PLACEMENT_BYTES; at < end; at += FOLLOWED_BYTES) {
    const back = bytes.readUInt16BE(at);
    if (back === 0 || back >= distance) return undefined;
    followed.push(number - back);
  }
  return { number, floor: number - distance, followed };
}

/** As many bytes as a header may have, in one piece: nearly always without a copy. */
function firstBytes(message: readonly Uint8Array[], most: number): Buffer {
  const [first] = message;
  if (first !== undefined && (first.length >= most || message.length === 1))
    return Buffer.from(first.buffer, first.byteOffset, Math.min(first.length, most));
  return Buffer.concat(message).subarray(0, most);
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
