/**
 * Datagrams as frames of a record that is not numbered (docs/protocol.md §7.1): addresses, and the frames of a record
 * that was received. It knows no associations. Pure.
 */
import { FIRST_IGNORABLE_TYPE, FRAME_HEADER_BYTES, FrameType, MAX_DATAGRAM_BYTES, MAX_STREAM_ID } from './frames.ts';
import { decodeHost, encodeHost, type Target } from './target.ts';

/** Kind and port. */
const ADDRESS_START = 3;
const NAME = 3;
const HOST_BYTES: Readonly<Record<number, number>> = { 1: 4, 4: 16 };

/** Of an address before its datagram, bytes. The target must be one that `encodeHost` can write. */
export function addressBytes(target: Target): number {
  if (target.kind === 'ip') return ADDRESS_START + target.ip.length;
  return ADDRESS_START + 1 + target.name.length;
}

export function writeAddress(target: Target, into: Buffer, at: number): void {
  const address = encodeHost(target);
  if (address === undefined) throw new RangeError('an address that cannot be encoded');
  const { kind, host } = address;
  into[at] = kind;
  into.writeUInt16BE(target.port, at + 1);
  if (kind === NAME) into[at + ADDRESS_START] = host.length;
  into.set(host, at + ADDRESS_START + (kind === NAME ? 1 : 0));
}

export interface Addressed {
  readonly address: Target;
  /** A view of what was given. */
  readonly content: Buffer;
}

/** Undefined where there is no address that this version knows. */
export function readAddress(payload: Buffer): Addressed | undefined {
  const [kind = 0, , , nameBytes = 0] = payload;
  const isName = kind === NAME;
  const start = ADDRESS_START + (isName ? 1 : 0);
  const end = start + (isName ? nameBytes : (HOST_BYTES[kind] ?? 0));
  if (payload.length < end || end === start) return undefined;
  const address = decodeHost(kind, payload.subarray(start, end), payload.readUInt16BE(1));
  return address && { address, content: payload.subarray(end) };
}

/**
 * Calls `handle` for each DATAGRAM frame of a record, with views of it; false, perhaps after some calls, where the
 * record is malformed.
 */
export function readDatagrams(record: Buffer, handle: (stream: number, payload: Buffer) => void): boolean {
  let at = 0;
  while (at < record.length) {
    if (record.length - at < FRAME_HEADER_BYTES) return false;
    const type = record[at] ?? 0;
    const body = at + FRAME_HEADER_BYTES;
    const end = body + record.readUIntBE(at + 1, 3);
    if (type < FIRST_IGNORABLE_TYPE || end > record.length) return false;
    if (type === FrameType.datagram) {
      const stream = record.readUInt32BE(at + 4);
      if (end - body > MAX_DATAGRAM_BYTES || stream === 0 || stream > MAX_STREAM_ID) return false;
      handle(stream, record.subarray(body, end));
    }
    at = end;
  }
  return true;
}
