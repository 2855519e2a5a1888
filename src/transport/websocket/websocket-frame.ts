/**
 * Outgoing data frames, RFC 6455 §5.2. `ws` frames one buffer at a time: a message of several pieces must be copied
 * together or sent as fragments, and both cost a third or more of the throughput (docs/adr/0003-websocket-framing.md).
 * Pure except for the randomness of masks.
 */
import { randomFillSync } from 'node:crypto';
import { own, type Piece, release, releaseAll } from '../../memory/pieces.ts';
import type { Message } from '../message-link.ts';
import { applyMask } from './websocket-mask.ts';

/**
 * How frames are masked (RFC 6455 §5.3). A server does not: `none`. A client must; `zero` is a key of four zero bytes,
 * which costs nothing; `random` is for plain text across networks, where §10.3 requires an unpredictable key.
 */
export type Masking = 'none' | 'zero' | 'random';

const FIN_BINARY = 0x82;
const MASK_BIT = 0x80;
const KEY_BYTES = 4;
/** Smaller pieces are copied: that costs less than one more buffer in the write. */
const COPY_BELOW_BYTES = 2_048;

/** One whole frame, in buffers to be written in order; the caller's. Takes the message: what is copied is released. */
export function frameMessage(message: Message, payloadBytes: number, masking: Masking): Piece[] {
  if (masking === 'random') return [maskedFrame(message, payloadBytes)];
  const header = Buffer.allocUnsafe(headerBytes(payloadBytes, masking));
  if (masking === 'zero') header.fill(0, header.length - KEY_BYTES);
  writeHeader(header, payloadBytes, masking);
  return gather(header, message);
}

function headerBytes(payloadBytes: number, masking: Masking): number {
  const length = payloadBytes < 126 ? 0 : payloadBytes < 65_536 ? 2 : 8;
  return 2 + length + (masking === 'none' ? 0 : KEY_BYTES);
}

/** Fills all bytes except the key. */
function writeHeader(header: Uint8Array, payloadBytes: number, masking: Masking): void {
  const maskBit = masking === 'none' ? 0 : MASK_BIT;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  header[0] = FIN_BINARY;
  if (payloadBytes < 126) {
    header[1] = maskBit | payloadBytes;
  } else if (payloadBytes < 65_536) {
    header[1] = maskBit | 126;
    view.setUint16(2, payloadBytes);
  } else {
    header[1] = maskBit | 127;
    view.setBigUint64(2, BigInt(payloadBytes));
  }
}

/** Copies runs of small pieces together and leaves large ones where they are. */
function gather(header: Piece, message: Message): Piece[] {
  const buffers: Piece[] = [];
  let run: Piece[] = [header];
  for (const piece of message) {
    if (piece.byteLength < COPY_BELOW_BYTES) {
      run.push(piece);
      continue;
    }
    if (run.length > 0) buffers.push(joined(run));
    run = [];
    buffers.push(piece);
  }
  if (run.length > 0) buffers.push(joined(run));
  return buffers;
}

function joined(run: readonly Piece[]): Piece {
  const [only] = run;
  if (run.length === 1 && only !== undefined) return only;
  const copy = Buffer.concat(run);
  releaseAll(run);
  return copy;
}

/** Masks a copy: the pieces may also be in a retransmit buffer. */
function maskedFrame(message: Message, payloadBytes: number): Piece {
  const headLength = headerBytes(payloadBytes, 'random');
  const bytes = own(new Uint8Array(headLength + payloadBytes));
  let end = headLength;
  for (const piece of message) {
    bytes.set(piece, end);
    end += piece.byteLength;
    release(piece);
  }
  const key = nextKey();
  applyMask(bytes.subarray(headLength), key);
  writeHeader(bytes.subarray(0, headLength), payloadBytes, 'random');
  bytes.set(key, headLength - KEY_BYTES);
  return bytes;
}

/** Keys of one call for randomness; a call for each key would cost more than masking a small frame. */
const POOL_KEYS = 1_024;
const pool = new Uint8Array(POOL_KEYS * KEY_BYTES);
let poolUsed = pool.byteLength;

function nextKey(): Uint8Array {
  if (poolUsed === pool.byteLength) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  poolUsed += KEY_BYTES;
  return pool.subarray(poolUsed - KEY_BYTES, poolUsed);
}
