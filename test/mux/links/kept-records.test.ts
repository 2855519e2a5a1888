import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeptRecords, type RecordPart } from '../../../src/mux/links/kept-records.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';

const OVERHEAD = 400;

interface Store {
  readonly memory: RetransmitMemory;
  readonly kept: KeptRecords;
  /** Of the records 1, 2, 3, … */
  readonly parts: readonly RecordPart[];
}

function storeOf(count: number, bytes = 100): Store {
  const memory = new RetransmitMemory(1_000_000);
  const kept = new KeptRecords(memory);
  const parts = Array.from({ length: count }, () => kept.push([Buffer.alloc(bytes)], bytes, undefined));
  return { memory, kept, parts };
}

/** Takes all that waits, in the order in which it is to go. */
function takeAll(kept: KeptRecords): [number: number, offset: number, length: number][] {
  const taken: [number, number, number][] = [];
  for (let part = kept.waiting; part !== undefined; part = kept.waiting) {
    kept.unqueue(part);
    taken.push([part.record.number, part.offset, part.length]);
  }
  return taken;
}

describe('Records that are acknowledged out of order', () => {
  it('a record that is acknowledged before a lower one still counts until that one is', () => {
    const { kept, parts, memory } = storeOf(4);
    for (const index of [2, 1]) kept.acknowledge(parts[index] as RecordPart);
    expect([kept.ackedUpTo, kept.count, kept.bytes]).toEqual([0, 4, 4 * (100 + OVERHEAD)]);
    expect(memory.used).toBe(2 * (100 + OVERHEAD));
    kept.acknowledge(parts[0] as RecordPart);
    expect([kept.ackedUpTo, kept.count, kept.bytes]).toEqual([3, 1, 100 + OVERHEAD]);
    kept.acknowledge(parts[0] as RecordPart);
    expect(kept.ackedUpTo).toBe(3);
    kept.acknowledge(parts[3] as RecordPart);
    expect([kept.ackedUpTo, kept.lastNumber, kept.bytes, memory.used]).toEqual([4, 4, 0, 0]);
  });

  it('acknowledged records are counted as in a naive list, in any order, with new ones in between', () => {
    const steps = fc.oneof(fc.constant('push' as const), fc.nat());
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 300, size: 'max' }), (sequence) => {
        const { kept, memory } = storeOf(0);
        const parts: RecordPart[] = [];
        for (const step of sequence) {
          if (step === 'push') parts.push(kept.push([Buffer.alloc(parts.length)], parts.length, undefined));
          else if (parts.length > 0) kept.acknowledge(parts[step % parts.length] as RecordPart);
          const lowest = parts.findIndex(({ isAcked }) => !isAcked);
          const present = lowest < 0 ? [] : parts.slice(lowest);
          const sum = (of: readonly RecordPart[]): number => of.reduce((all, { length }) => all + length + OVERHEAD, 0);
          expect(kept.lastNumber).toBe(parts.length);
          expect(kept.ackedUpTo).toBe(parts.length - present.length);
          expect(kept.bytes).toBe(sum(present));
          expect(memory.used).toBe(sum(present.filter(({ isAcked }) => !isAcked)));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('a new link can go on after what is not acknowledged yet, and after no more than was sent', () => {
    const { kept, parts } = storeOf(5);
    for (const index of [0, 1, 3]) kept.acknowledge(parts[index] as RecordPart);
    expect([1, 2, 3, 5, 6].map((received) => kept.fits(received))).toEqual([false, true, true, true, false]);
    expect(kept.acknowledgeUpTo(6)).toBe(false);
    expect(kept.ackedUpTo).toBe(2);
    expect(kept.acknowledgeUpTo(3)).toBe(true);
    expect(kept.ackedUpTo).toBe(4);
  });
});

describe('Records that are to be sent again', () => {
  it('records are sent again in the order of their numbers, each once, without those acknowledged meanwhile', () => {
    const { kept, parts } = storeOf(6);
    for (const index of [3, 1, 5, 1, 0]) kept.requeue(parts[index] as RecordPart);
    kept.acknowledge(parts[1] as RecordPart);
    expect(kept.waiting?.record.number).toBe(1);
    expect(takeAll(kept).map(([number]) => number)).toEqual([1, 4, 6]);
    kept.requeue(parts[1] as RecordPart);
    expect(kept.waiting).toBeUndefined();
    kept.requeueAll();
    expect(takeAll(kept).map(([number]) => number)).toEqual([1, 3, 4, 5, 6]);
  });

  it('a record can be handled before bulk if all that it follows has been handled, or is urgent', () => {
    const { kept, parts } = storeOf(3);
    kept.push([Buffer.alloc(9)], 9, undefined, true);
    kept.acknowledge(parts[0] as RecordPart);
    kept.acknowledge(parts[2] as RecordPart);
    const can = (floor: number, ...followed: number[]) => kept.followsNoBulk({ number: 5, floor, followed });
    expect([can(1), can(1, 4), can(0, 1, 4)]).toEqual([true, true, true]);
    // The third is acknowledged, and may wait for the second.
    expect([can(1, 2), can(1, 4, 2), can(1, 3), can(4)]).toEqual([false, false, false, false]);
  });

  it('urgent records are sent again before all others, also in pieces', () => {
    const { kept, parts } = storeOf(3);
    for (let i = 0; i < 2; i++) kept.push([Buffer.alloc(100)], 100, undefined, true);
    for (const part of parts) kept.requeue(part);
    kept.requeueAll();
    expect(kept.waiting?.record.isUrgent).toBe(true);
    kept.cutWaiting(60);
    expect(takeAll(kept)).toEqual([
      [4, 0, 60],
      [4, 60, 40],
      [5, 0, 100],
      [1, 0, 100],
      [2, 0, 100],
      [3, 0, 100],
    ]);
  });

  it('a record that is sent again out of turn takes none of the others from the queue', () => {
    const { kept, parts } = storeOf(3);
    for (const part of parts) kept.requeue(part);
    kept.unqueue(parts[2] as RecordPart);
    kept.unqueue(parts[2] as RecordPart);
    expect(takeAll(kept).map(([number]) => number)).toEqual([1, 2]);
  });

  it('a record is cut into pieces once, and is acknowledged when all of them are, or itself', () => {
    for (const whole of [false, true]) {
      const { kept, parts, memory } = storeOf(2, 1_000);
      const record = parts[0] as RecordPart;
      for (const part of parts) kept.requeue(part);
      kept.cutWaiting(1_000);
      expect(kept.waiting).toBe(record);
      kept.cutWaiting(400);
      const pieces = kept.waiting?.record.pieces ?? [];
      expect(takeAll(kept)).toEqual([
        [1, 0, 400],
        [1, 400, 400],
        [1, 800, 200],
        [2, 0, 1_000],
      ]);
      kept.acknowledge(pieces[1] as RecordPart);
      kept.acknowledge(pieces[1] as RecordPart);
      kept.acknowledge(pieces[2] as RecordPart);
      expect([record.isAcked, kept.ackedUpTo]).toEqual([false, 0]);
      kept.requeueAll();
      expect(takeAll(kept)).toEqual([
        [1, 0, 400],
        [2, 0, 1_000],
      ]);
      kept.acknowledge(whole ? record : (pieces[0] as RecordPart));
      expect([record.isAcked, kept.ackedUpTo, memory.used]).toEqual([true, 1, 1_000 + OVERHEAD]);
    }
  });

  it('a record whose whole was on a link that is lost is sent again in the pieces into which it was cut', () => {
    const { kept, parts } = storeOf(1, 1_000);
    const record = parts[0] as RecordPart;
    kept.requeue(record);
    kept.cutWaiting(600);
    takeAll(kept);
    kept.requeue(record);
    expect(takeAll(kept)).toEqual([
      [1, 0, 600],
      [1, 600, 400],
    ]);
  });

  it('nothing is kept, and nothing waits, when the session is over', () => {
    const { kept, parts, memory } = storeOf(3, 5_000);
    kept.requeue(parts[1] as RecordPart);
    kept.acknowledge(parts[2] as RecordPart);
    kept.clear();
    expect([kept.waiting, kept.bytes, kept.count, memory.used]).toEqual([undefined, 0, 0, 0]);
  });
});
