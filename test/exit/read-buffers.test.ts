import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReadBudget, ReadBuffers } from '../../src/exit/read-buffers.ts';

const KIB = 1024;

describe('the size of reads', () => {
  it('reads start at 8 KiB, and grow to 256 KiB while every read is full', () => {
    const buffers = new ReadBuffers(new ReadBudget());
    const sizes = Array.from({ length: 5 }, () => buffers.take(buffers.next().length).length / KIB);
    expect(sizes).toEqual([8, 32, 128, 256, 256]);
  });

  it('reads shrink again: an idle stream holds at most 8 KiB', () => {
    const buffers = new ReadBuffers(new ReadBudget());
    for (let i = 0; i < 5; i++) buffers.take(buffers.next().length);
    buffers.next();
    buffers.take(100);
    expect(buffers.next().buffer.byteLength).toBe(8 * KIB);
  });

  it('reads are never below 4 KiB, and small reads share a slab', () => {
    const buffers = new ReadBuffers(new ReadBudget());
    const slabs = new Set<unknown>();
    for (let i = 0; i < 400; i++) {
      const next = buffers.next();
      expect(next.length).toBeGreaterThanOrEqual(4 * KIB);
      slabs.add(next.buffer);
      buffers.take(100);
    }
    // 40 KB of data, half of each slab used at the least
    expect(slabs.size).toBeLessThanOrEqual(10);
  });
});

it('memory of a read is never handed out again, and takes at most 8 times its bytes, and one slab', () => {
  const reads = fc.array(fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })), { maxLength: 60 });
  fc.assert(
    fc.property(reads, (fillings) => {
      const buffers = new ReadBuffers(new ReadBudget());
      const chunks: { chunk: Buffer; mark: number }[] = [];
      for (const [i, filling] of fillings.entries()) {
        const room = buffers.next();
        const length = Math.max(1, Math.floor(filling * room.length));
        room.fill(i & 0xff, 0, length);
        chunks.push({ chunk: buffers.take(length), mark: i & 0xff });
      }
      buffers.next().fill(0xff);
      for (const { chunk, mark } of chunks) expect(chunk.every((byte) => byte === mark)).toBe(true);
      const slabs = new Set(chunks.map(({ chunk }) => chunk.buffer));
      const pinned = [...slabs].reduce((sum, slab) => sum + slab.byteLength, 0);
      const held = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0);
      expect(pinned).toBeLessThanOrEqual(8 * held + 256 * KIB);
    }),
    { seed: 256, numRuns: 50 },
  );
});

it('reads grow less while many sockets share the budget', () => {
  const budget = new ReadBudget();
  expect(budget.largestRead).toBe(256 * 1024);
  const sockets = Array.from({ length: 512 }, () => new EventEmitter());
  for (const socket of sockets) budget.count(socket, new ReadBuffers(budget));
  expect(budget.largestRead).toBe(8 * 1024);
  const buffers = new ReadBuffers(budget);
  for (let i = 0; i < 8; i++) buffers.take(buffers.next().length);
  expect(buffers.next().length).toBe(8 * 1024);
  for (const socket of sockets) socket.emit('close');
  expect(budget.largestRead).toBe(256 * 1024);
});
