/** 64-bit numbers of the HTTP link (docs/protocol.md §1.4). Offsets stay below 2^53; all ones have a meaning. Pure. */

export const U64_BYTES = 8;
const TWO_32 = 2 ** 32;

/** Of an answer: the link has ended. Of a request: from where the answer before it ends. */
export type U64 = number | 'all-ones';

export function writeU64(bytes: Uint8Array, at: number, value: U64): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(at, value === 'all-ones' ? TWO_32 - 1 : Math.floor(value / TWO_32));
  view.setUint32(at + 4, value === 'all-ones' ? TWO_32 - 1 : value % TWO_32);
}

/** Undefined: beyond what a link can reach. */
export function readU64(bytes: Uint8Array, at: number): U64 | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const high = view.getUint32(at);
  const low = view.getUint32(at + 4);
  if (high === TWO_32 - 1 && low === TWO_32 - 1) return 'all-ones';
  const value = high * TWO_32 + low;
  return Number.isSafeInteger(value) ? value : undefined;
}
