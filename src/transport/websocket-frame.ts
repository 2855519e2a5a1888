/**
 * Outgoing data frames, RFC 6455 §5.2. `ws` frames one buffer at a time: with it a message of several pieces must be copied
 * together or sent as fragments, both of which cost a third or more of the throughput (docs/adr/0003-websocket-framing.md).
 *
 * Pure but for the randomness of masks. Control frames and everything incoming are left to `ws`.
 */
import { randomFillSync } from 'node:crypto';
import type { Message } from './message-link.ts';
import { applyMask } from './websocket-mask.ts';

/**
 * How frames are masked (RFC 6455 §5.3). A server does not mask: `none`. A client must; `zero` is a key of four zero bytes,
 * which costs nothing to apply or take off; `random` is for plain text across networks, where §10.3 wants a key that the
 * application cannot foresee.
 */
export type Masking = 'none' | 'zero' | 'random';

const FIN_BINARY = 0x82;
const MASK_BIT = 0x80;
const KEY_BYTES = 4;
/** Largest header: 2 bytes, 8 of length, 4 of key. Also keeps a payload behind it aligned to words. */
const HEADER_ROOM = 16;
/** Below this a copy costs less than one more buffer in the write. */
const COPY_BELOW_BYTES = 2_048;

/** The message as one whole frame, in buffers to be written in a row. `payloadBytes` is the sum of its pieces. */
export function frameMessage(message: Message, payloadBytes: number, masking: Masking): Uint8Array[] {
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

/** Fills all but the key, which stays as it is. */
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
function gather(header: Uint8Array, message: Message): Uint8Array[] {
  const buffers: Uint8Array[] = [];
  let run: Uint8Array[] = [header];
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

function joined(run: readonly Uint8Array[]): Uint8Array {
  const [only] = run;
  return run.length === 1 && only !== undefined ? only : Buffer.concat(run);
}

/** Masks a copy: the pieces may also lie in a replay buffer. */
function maskedFrame(message: Message, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_ROOM + payloadBytes);
  let end = HEADER_ROOM;
  for (const piece of message) {
    bytes.set(piece, end);
    end += piece.byteLength;
  }
  const key = nextKey();
  applyMask(bytes.subarray(HEADER_ROOM), key);

  const start = HEADER_ROOM - headerBytes(payloadBytes, 'random');
  writeHeader(bytes.subarray(start, HEADER_ROOM), payloadBytes, 'random');
  bytes.set(key, HEADER_ROOM - KEY_BYTES);
  return bytes.subarray(start);
}

/** One call for randomness serves this many keys; a call for each would cost more than masking a small frame. */
const KEYS_A_POOL = 1_024;
const pool = new Uint8Array(KEYS_A_POOL * KEY_BYTES);
let poolUsed = pool.byteLength;

function nextKey(): Uint8Array {
  if (poolUsed === pool.byteLength) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  poolUsed += KEY_BYTES;
  return pool.subarray(poolUsed - KEY_BYTES, poolUsed);
}
