/**
 * Who owns a piece of memory, and how it is given back at once instead of being left to the collector, which V8 runs over the whole
 * heap for each 67 MB of buffers that nobody holds any more (docs/adr/0016-memory-given-back.md). Pure; it may know of no socket, link or stream.
 *
 * The rules, wherever bytes are handed on:
 * - A parameter of type `Piece` takes the bytes over: the caller must not look at them any more, not even at their length. Whoever has
 *   them hands them on in turn, or calls `release` when it has copied or used them, or drops them: then the collector has them, as ever.
 * - A parameter of type `Uint8Array` is for bytes that are only read, during the call.
 * - `Lent` bytes stay with their owner, who uses the memory again as soon as the call returns; the types let nobody take them over.
 * - Each byte is released once. A piece may be cut, and its parts released by different owners: the memory goes back with the last byte.
 * - Only memory that its maker has marked with `own` is given back. All else is the collector's, and `release` leaves it alone.
 *
 * A piece that was given back has length 0 (Node 22 and later). The tests poison what is released (test/support/poison.ts).
 */

declare const LENT: unique symbol;

/** Bytes, and with them the right and the duty to dispose of them. */
export type Piece = Uint8Array & { readonly [LENT]?: never };

/** Bytes that may be used during the call only, and belong to somebody else. */
export type Lent = Uint8Array & { readonly [LENT]: true };

/** What is left of one memory. */
export interface Lease {
  /** Bytes that were handed out and not released. */
  live: number;
  /** More of it may be handed out. */
  isFilling: boolean;
  /** Where it goes when nothing of it is left; undefined: to the allocator. */
  readonly takeBack: ((memory: ArrayBufferLike) => void) | undefined;
}

/** Is told of all memory that has an owner. For tests. */
export interface MemoryWatch {
  handleOwned(bytes: Uint8Array): void;
  handleReleased(bytes: Uint8Array): void;
  /** Nothing of it has an owner: detaches it. */
  handleGivenBack(memory: ArrayBufferLike): void;
}

/** Below this the collector is cheaper, and seldom has anything to do: bulk comes in larger pieces. */
export const OWNED_FROM_BYTES = 4096;

const LEASE = Symbol('lease');

type Leased = ArrayBufferLike & { [LEASE]?: Lease };

type Transfer = (this: ArrayBufferLike, newByteLength: number) => ArrayBufferLike;

/** ES2024; missing in Node 20, where the collector does it. */
const transfer = (ArrayBuffer.prototype as { transfer?: Transfer }).transfer;

let watch: MemoryWatch | undefined;

/** From now on pieces of any length are owned, on any release of Node. */
export function watchMemory(watcher: MemoryWatch | undefined): void {
  watch = watcher;
}

/** Bytes that their owner keeps, to be read during a call. */
export function lend(bytes: Uint8Array): Lent {
  return bytes as Lent;
}

/**
 * Marks memory that nobody else holds any part of, such as what a cipher or a socket has made for this caller. No effect on bytes that are
 * not the whole of their memory.
 */
export function own<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  return bytes.length === bytes.buffer.byteLength ? mark(bytes) : bytes;
}

function mark<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  const isWorth = transfer !== undefined && bytes.length >= OWNED_FROM_BYTES;
  if ((!isWorth && watch === undefined) || bytes.length === 0 || isOwned(bytes)) return bytes;
  lease(bytes.buffer, { live: bytes.length, isFilling: false, takeBack: undefined });
  watch?.handleOwned(bytes);
  return bytes;
}

/**
 * As `own`, for a chunk that Node has read from a plain socket. Up to Node 22 that is the whole of its memory; later ones leave a quarter
 * of it unused where the read has nearly filled it, and never use that rest. Chunks of TLS sockets have no memory of their own there: they
 * lie in one that all such sockets share, and are the collector's.
 */
export function ownRead<Bytes extends Uint8Array>(chunk: Bytes): Bytes {
  const { buffer, byteOffset, length } = chunk;
  if (length === buffer.byteLength || byteOffset > 0 || length * 4 < buffer.byteLength * 3) return own(chunk);
  return mark(chunk);
}

/** A copy of all, one behind the other, which has an owner: from 4 KiB on, up to 32 KiB of which Node 24 and later would take from a pool. */
export function joinOwned(pieces: readonly Uint8Array[]): Buffer & Piece {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (length < OWNED_FROM_BYTES) return Buffer.concat(pieces, length);
  const all = Buffer.allocUnsafeSlow(length);
  let end = 0;
  for (const piece of pieces) {
    all.set(piece, end);
    end += piece.length;
  }
  return own(all);
}

/** Marks memory with a lease of the caller's own, who counts in it what it hands out. */
export function lease(memory: ArrayBufferLike, terms: Lease): Lease {
  (memory as Leased)[LEASE] = terms;
  return terms;
}

/** Bytes of a lease are being handed out. */
export function handOut(bytes: Uint8Array): void {
  const terms = (bytes.buffer as Leased)[LEASE];
  if (terms === undefined) return;
  terms.live += bytes.length;
  watch?.handleOwned(bytes);
}

/** Somebody has to release these bytes, or leaves them to the collector. */
export function isOwned(bytes: Uint8Array): boolean {
  return (bytes.buffer as Leased)[LEASE] !== undefined;
}

/** The owner needs these bytes no more. Part of a piece: what the caller has used, while the rest goes elsewhere. */
export function release(piece: Piece, from = 0, to = piece.length): void {
  const terms = (piece.buffer as Leased)[LEASE];
  if (terms === undefined || to <= from) return;
  const memory = piece.buffer;
  watch?.handleReleased(from === 0 && to === piece.length ? piece : piece.subarray(from, to));
  terms.live -= to - from;
  if (terms.live === 0 && !terms.isFilling) giveBack(memory, terms);
}

export function releaseAll(pieces: readonly Piece[]): void {
  for (const piece of pieces) release(piece);
}

/** No more of the lease is handed out: it ends with the last byte that is released. */
export function endFilling(memory: ArrayBufferLike): void {
  const terms = (memory as Leased)[LEASE];
  if (terms === undefined || !terms.isFilling) return;
  terms.isFilling = false;
  if (terms.live === 0) giveBack(memory, terms);
}

function giveBack(memory: ArrayBufferLike, terms: Lease): void {
  if (terms.takeBack !== undefined) return terms.takeBack(memory);
  if (watch !== undefined) watch.handleGivenBack(memory);
  else transfer?.call(memory, 0);
}
