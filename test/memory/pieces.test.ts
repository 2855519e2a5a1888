import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  isOwned,
  joinOwned,
  OWNED_FROM_BYTES,
  own,
  release,
  releaseAll,
  watchMemory,
} from '../../src/memory/pieces.ts';
import { MAX_FREE_SLABS, POOLED_SLAB_BYTES, SlabPool } from '../../src/memory/slab-pool.ts';
import { poison, watchFaults } from '../support/memory/poison.ts';

const canTransfer = 'transfer' in ArrayBuffer.prototype;
const bytes = (length: number): Buffer => Buffer.allocUnsafeSlow(length).fill(7);

describe('Memory of pieces', () => {
  beforeEach(() => watchMemory(undefined));
  afterEach(() => watchMemory(poison));

  it('memory is given back when it is released, if the engine can do that', () => {
    const piece = own(bytes(OWNED_FROM_BYTES));
    expect(isOwned(piece)).toBe(canTransfer);
    release(piece);
    expect(piece.buffer.byteLength).toBe(canTransfer ? 0 : OWNED_FROM_BYTES);
  });

  it('memory that was cut is given back with the last part, in any order of releases', () => {
    const piece = own(bytes(10_000));
    const [first, second, third] = [piece.subarray(0, 100), piece.subarray(100, 9_000), piece.subarray(9_000)];
    releaseAll([second, third]);
    expect(first.every((byte) => byte === 7)).toBe(true);
    release(first, 0, 50);
    expect(first.length).toBe(100);
    release(first, 50);
    expect(piece.buffer.byteLength).toBe(canTransfer ? 0 : 10_000);
  });

  it('memory of less than 4 KiB is left to the collector', () => {
    const piece = own(bytes(OWNED_FROM_BYTES - 1));
    release(piece);
    expect(piece.length).toBe(OWNED_FROM_BYTES - 1);
  });

  it('memory that its maker has not marked is left alone', () => {
    const piece = bytes(OWNED_FROM_BYTES);
    release(piece);
    expect(piece.every((byte) => byte === 7)).toBe(true);
  });

  it('a copy that joins pieces has an owner, who may release the copied pieces', () => {
    const pieces = [own(bytes(20_000)), own(bytes(100))];
    const all = joinOwned(pieces);
    releaseAll(pieces);
    expect([all.length, all.every((byte) => byte === 7)]).toEqual([20_100, true]);
    expect(isOwned(all)).toBe(canTransfer);
  });

  it('memory of which someone else may hold a part cannot be owned', () => {
    const whole = bytes(3 * OWNED_FROM_BYTES);
    const part = own(whole.subarray(0, 2 * OWNED_FROM_BYTES));
    release(part);
    expect(isOwned(part)).toBe(false);
    expect(whole.every((byte) => byte === 7)).toBe(true);
  });

  it('memory without a length is never owned', () => {
    release(own(new Uint8Array(0)));
    expect(isOwned(own(new Uint8Array(0)))).toBe(false);
  });
});

describe('The poison of the tests', () => {
  const isFault = (use: () => unknown): void => {
    const faults = watchFaults();
    expect(use).toThrow('memory: ');
    expect(faults()).toBe(1);
  };

  it('the poison finds that a byte is released twice', () => {
    const piece = own(bytes(100));
    release(piece, 0, 60);
    isFault(() => release(piece, 59));
  });

  it('the poison finds that the length of a released piece is used', () => {
    const piece = own(bytes(100));
    release(piece);
    isFault(() => piece.length);
  });

  it('the poison overwrites what is released, and nothing else', () => {
    const piece = own(bytes(100));
    release(piece, 0, 60);
    expect([piece[59], piece[60]]).toEqual([0xdb, 7]);
  });

  it('the poison detaches memory that has no owner any more', () => {
    const { buffer } = own(bytes(100));
    release(new Uint8Array(buffer));
    expect(buffer.byteLength).toBe(0);
  });
});

describe('A slab of reads', () => {
  it('a slab is reused when all that was handed out of it is released, and it is closed', () => {
    const pool = new SlabPool();
    const slab = pool.acquire(POOLED_SLAB_BYTES);
    const memory = slab.room.buffer;
    const [first, second] = [slab.handOut(1_000), slab.handOut(2_000)];
    release(first);
    release(second);
    expect(pool.freeSlabs).toBe(0);
    slab.close();
    expect(pool.freeSlabs).toBe(1);
    expect(pool.acquire(POOLED_SLAB_BYTES).room.buffer).toBe(memory);
  });

  it('a slab is not reused while a byte of it has an owner', () => {
    const pool = new SlabPool();
    const slab = pool.acquire(POOLED_SLAB_BYTES);
    const chunk = slab.handOut(1_000);
    slab.close();
    release(chunk.subarray(0, 999));
    expect(pool.freeSlabs).toBe(0);
    expect(chunk[999]).toBeDefined();
    release(chunk.subarray(999));
    expect(pool.freeSlabs).toBe(1);
  });

  it('a slab of which nothing was handed out is reused at once', () => {
    const pool = new SlabPool();
    pool.acquire(POOLED_SLAB_BYTES).close();
    expect(pool.freeSlabs).toBe(1);
  });

  it('a slab is kept for reuse only while few are, and only if it is of the largest size', () => {
    const pool = new SlabPool();
    const slabs = Array.from({ length: MAX_FREE_SLABS + 5 }, () => pool.acquire(POOLED_SLAB_BYTES));
    for (const slab of [...slabs, pool.acquire(8_192)]) slab.close();
    expect(pool.freeSlabs).toBe(MAX_FREE_SLABS);
  });
});
