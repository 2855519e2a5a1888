/**
 * Who owns a piece of memory, and how it is given back at once. Left to the garbage collector, V8 would run it over the
 * whole heap for each 67 MB of unused buffers (docs/adr/0016-memory-given-back.md). Pure; knows no socket or stream.
 * - A `Piece` parameter takes the bytes: the caller must not use them any more, not even their length. The owner passes
 *   them on, or calls `release` when it has copied or used them, or drops them: then the collector frees them.
 * - `Uint8Array` parameters are only read during the call. `Lent` bytes are used again by their owner after the call.
 * - Each byte is released once. Different owners may release parts: the memory is given back with the last byte.
 * - Only memory that its maker has marked (`own`, `ownRead`, a lease) is given back. The collector frees the rest.
 *
 * To release too early is a memory fault. A piece that was given back has length 0, and cutting it throws a TypeError;
 * but a pending system call sends what the memory holds by then, and a part of a memory in use keeps its length. Types
 * find a lent piece that is passed on, but not one that was cut before, nor a `release` of what was only to be read. So
 * the tests poison what is released (test/support/memory/poison.ts).
 */

declare const LENT: unique symbol;

/** Bytes that their holder owns, and has to pass on, release or drop. */
export type Piece = Uint8Array & { readonly [LENT]?: never };

/** Bytes of another owner, valid only during the call. */
export type Lent = Uint8Array & { readonly [LENT]: true };

export interface Lease {
  /** Bytes that were handed out and not released. */
  live: number;
  /** More of it may be handed out. */
  isFilling: boolean;
  /** Keeps the memory when no byte is in use. False, or undefined: it goes to the allocator. */
  readonly takeBack: ((memory: ArrayBufferLike) => boolean) | undefined;
}

/** Observes all memory that has an owner. For tests. */
export interface MemoryWatch {
  handleOwned(bytes: Uint8Array): void;
  handleReleased(bytes: Uint8Array): void;
  /** From now on the owner uses the memory again. */
  handleLentBack(bytes: Lent): void;
  /** No byte has an owner any more: detaches it. */
  handleGivenBack(memory: ArrayBufferLike): void;
}

/** For smaller pieces the collector is cheaper, and there are few: bulk comes in larger ones. */
export const OWNED_FROM_BYTES = 4096;

const LEASE = Symbol('lease');

type Leased = ArrayBufferLike & { [LEASE]?: Lease };

type Transfer = (this: ArrayBufferLike, newByteLength: number) => ArrayBufferLike;

/** ES2024; missing in Node 20, where the collector does it. */
const transfer = (ArrayBuffer.prototype as { transfer?: Transfer }).transfer;

/** Whether this engine can give memory back at all. */
const CAN_GIVE_BACK = transfer !== undefined;

let watch: MemoryWatch | undefined;

/** For tests: from now on pieces of any length are owned, on any release of Node. @internal */
export function watchMemory(watcher: MemoryWatch | undefined): void {
  watch = watcher;
}

/** For bytes that their owner keeps, and that a call may read. */
export function lend(bytes: Uint8Array): Lent {
  return bytes as Lent;
}

/** The call has returned for which they were lent. */
export function takeLentBack(bytes: Lent): void {
  watch?.handleLentBack(bytes);
}

/** Marks memory that no one else holds a part of, as from a cipher or a socket. No effect on parts of a memory. */
export function own<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  return bytes.length === bytes.buffer.byteLength ? mark(bytes) : bytes;
}

function mark<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  const isWorth = CAN_GIVE_BACK && bytes.length >= OWNED_FROM_BYTES;
  if ((!isWorth && watch === undefined) || bytes.length === 0 || isOwned(bytes)) return bytes;
  lease(bytes.buffer, { live: bytes.length, isFilling: false, takeBack: undefined });
  watch?.handleOwned(bytes);
  return bytes;
}

let readsArePlain = false;

/** Whether Node reads only plain sockets, or TLS ones with `onread`. Until then only whole memories are given back. */
export function expectPlainReads(isSo: boolean): void {
  readsArePlain = isSo;
}

/**
 * As `own`, for a chunk that Node has read from a socket. Up to Node 22 that is the whole of its memory. From 24 on a
 * read that has nearly filled its 64 KiB keeps them, and the next read of a TLS socket uses the rest: if the memory
 * were given back, that read would be lost, or Node would fail to write there. Chunks of TLS sockets are in memory that
 * all of these share, and are left to the collector.
 */
export function ownRead<Bytes extends Uint8Array>(chunk: Bytes): Bytes {
  const { buffer, byteOffset, length } = chunk;
  const isMostOfIt = byteOffset === 0 && length * 4 >= buffer.byteLength * 3;
  return readsArePlain && isMostOfIt ? mark(chunk) : own(chunk);
}

/** A concatenated copy, owned from 4 KiB on: `Buffer.concat` of Node ≥ 24 takes up to 32 KiB from a shared pool. */
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

/** As `joinOwned`, and the pieces are not needed any more. */
export function joinReleasing(pieces: readonly Piece[]): Buffer & Piece {
  const all = joinOwned(pieces);
  releaseAll(pieces);
  return all;
}

/** Marks memory with a lease in which the caller counts what it hands out. */
export function lease(memory: ArrayBufferLike, terms: Lease): Lease {
  (memory as Leased)[LEASE] = terms;
  return terms;
}

/** For memory that its maker hands out part by part, until `endFilling`. Undefined where it cannot be given back. */
export function leaseForFilling(memory: ArrayBufferLike): Lease | undefined {
  if (!CAN_GIVE_BACK && watch === undefined) return undefined;
  return lease(memory, { live: 0, isFilling: true, takeBack: undefined });
}

export function handOut(bytes: Uint8Array): void {
  const terms = (bytes.buffer as Leased)[LEASE];
  if (terms === undefined) return;
  terms.live += bytes.length;
  watch?.handleOwned(bytes);
}

/** The bytes have an owner, who releases them or leaves them to the collector. */
export function isOwned(bytes: Uint8Array): boolean {
  return (bytes.buffer as Leased)[LEASE] !== undefined;
}

/** The owner needs these bytes no more. Part of a piece: what the caller has used, if the rest is passed on. */
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

/** No more of the lease is handed out: it ends when the last byte is released. No effect after its end. */
export function endFilling(memory: ArrayBufferLike, terms: Lease | undefined): void {
  if (terms === undefined || (memory as Leased)[LEASE] !== terms || !terms.isFilling) return;
  terms.isFilling = false;
  if (terms.live === 0) giveBack(memory, terms);
}

function giveBack(memory: ArrayBufferLike, terms: Lease): void {
  if (terms.takeBack?.(memory) === true) return;
  if (watch !== undefined) watch.handleGivenBack(memory);
  else transfer?.call(memory, 0);
}
