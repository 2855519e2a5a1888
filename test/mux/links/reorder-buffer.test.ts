import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ReorderBuffer } from '../../../src/mux/links/reorder-buffer.ts';
import { RetransmitMemory } from '../../../src/mux/links/retransmit-store.ts';
import type { Placement } from '../../../src/protocol/record-header.ts';
import { type Prng, prng } from '../../support/prng.ts';

const MIB = 1024 * 1024;
const PLENTY = { reorderBytes: 9 * MIB, minRetransmitBytes: MIB };

/** What each record says: its own number, so often. */
function framesOf(number: number): Buffer {
  return Buffer.alloc(1 + (number % 7), number);
}

/** The buffer, and in what order it gave the records out. */
class Receiver {
  readonly memory: RetransmitMemory;
  readonly buffer: ReorderBuffer;
  readonly handled: number[] = [];

  constructor(limits = PLENTY, memory = new RetransmitMemory(64 * MIB)) {
    this.memory = memory;
    this.buffer = new ReorderBuffer(limits, memory);
  }

  whole(placement: Placement): string {
    const frames = framesOf(placement.number);
    const receipt = this.buffer.receive(placement, [frames], frames.length);
    if (receipt === 'ready') this.take(frames);
    return receipt;
  }

  piece(placement: Placement, begin: number, end: number): string {
    const frames = framesOf(placement.number);
    const range = { offset: begin, total: frames.length };
    const receipt = this.buffer.receivePiece(placement, range, [frames.subarray(begin, end)]);
    if (receipt !== 'ready') return receipt;
    const assembled = this.buffer.assembled(placement.number);
    expect(Buffer.from(assembled)).toEqual(frames);
    return this.whole(placement);
  }

  private take(frames: Uint8Array): void {
    this.handled.push(Number(frames[0]));
    for (let next = this.buffer.next(); next !== undefined; next = this.buffer.next())
      this.handled.push(Number(next[0]?.[0]));
  }
}

/** The definition: a record is handled as soon as all of it has come and all that it follows is handled. */
class Naive {
  private readonly bytes = new Map<number, Set<number>>();
  readonly come = new Map<number, Placement>();
  readonly handled = new Set<number>();

  receive(placement: Placement, begin: number, end: number): void {
    const { number } = placement;
    const bytes = this.bytes.get(number) ?? new Set();
    this.bytes.set(number, bytes);
    for (let at = begin; at < end; at++) bytes.add(at);
    if (bytes.size < framesOf(number).length) return;
    this.come.set(number, placement);
    while ([...this.come.values()].some((one) => this.handle(one)));
  }

  private handle({ number, floor, followed }: Placement): boolean {
    if (this.handled.has(number)) return false;
    for (let other = 1; other <= floor; other++) if (!this.handled.has(other)) return false;
    if (!followed.every((other) => this.handled.has(other))) return false;
    this.handled.add(number);
    return true;
  }

  get received(): number {
    let upTo = 0;
    while (this.come.has(upTo + 1)) upTo += 1;
    return upTo;
  }
}

function randomPlacement(number: number, random: Prng): Placement {
  const floor = random.chance(0.2) ? number - 1 : Math.max(0, number - 1 - random.below(12));
  const followed: number[] = [];
  for (let other = floor + 1; other < number; other++) if (random.chance(0.3)) followed.push(other);
  return { number, floor, followed };
}

describe('Records that come out of order', () => {
  it('records are handled as soon as all that they follow were, whatever order they and their pieces come in', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = prng(seed);
      const count = 1 + random.below(40);
      const placements = Array.from({ length: count }, (_, i) => randomPlacement(i + 1, random));
      const receiver = new Receiver();
      const naive = new Naive();
      const parts = placements.flatMap((placement) => partsOf(placement, random));
      for (const { placement, begin, end } of shuffled(parts, random)) {
        const isKnown = naive.come.has(placement.number);
        const { length } = framesOf(placement.number);
        const receipt =
          begin === 0 && end === length ? receiver.whole(placement) : receiver.piece(placement, begin, end);
        if (isKnown) expect(receipt).toBe('duplicate');
        naive.receive(placement, begin, end);
        expect(new Set(receiver.handled), `seed ${seed}`).toEqual(naive.handled);
        expect(receiver.buffer.received, `seed ${seed}`).toBe(naive.received);
      }
      expect(receiver.handled).toHaveLength(count);
      expectOrder(receiver.handled, placements);
      expect([receiver.buffer.heldBytes, receiver.memory.used]).toEqual([0, 0]);
    }
  });

  /** Whole, or in two pieces; some parts twice. */
  function partsOf(placement: Placement, random: Prng): { placement: Placement; begin: number; end: number }[] {
    const { length } = framesOf(placement.number);
    const middle = length > 1 && random.chance(0.4) ? 1 + random.below(length - 1) : length;
    const parts = [{ placement, begin: 0, end: middle }];
    if (middle < length) parts.push({ placement, begin: middle, end: length });
    if (random.chance(0.3)) parts.push({ placement, begin: 0, end: length });
    return parts;
  }

  function shuffled<T>(items: readonly T[], random: Prng): T[] {
    const mixed = [...items];
    for (let i = mixed.length - 1; i > 0; i--) {
      const other = random.below(i + 1);
      [mixed[i], mixed[other]] = [mixed[other] as T, mixed[i] as T];
    }
    return mixed;
  }

  function expectOrder(handled: readonly number[], placements: readonly Placement[]): void {
    const at = new Map(handled.map((number, index) => [number, index]));
    for (const { number, floor, followed } of placements)
      for (const other of [...followed, ...Array.from({ length: floor }, (_, i) => i + 1)])
        expect(at.get(other)).toBeLessThan(Number(at.get(number)));
  }

  it('records of one link need no object, and a gap in them closes again', () => {
    const { buffer, memory } = new Receiver();
    for (let number = 1; number <= 10; number++) expect(buffer.receiveNext(number)).toBe(true);
    expect(buffer.receiveNext(10)).toBe(false);
    expect(buffer.receiveNext(12)).toBe(false);
    expect(buffer.receive({ number: 12, floor: 11, followed: [] }, [Buffer.alloc(3)], 3)).toBe('held');
    expect(buffer.receiveNext(11)).toBe(false);
    expect(buffer.receive({ number: 11, floor: 10, followed: [] }, [Buffer.alloc(3)], 3)).toBe('ready');
    expect(buffer.next()).toHaveLength(1);
    expect(buffer.next()).toBeUndefined();
    expect([buffer.received, buffer.heldBytes, memory.used]).toEqual([12, 0, 0]);
    expect(buffer.receiveNext(13)).toBe(true);
  });

  it('a record that follows only what has come is handled although others before it are missing', () => {
    const receiver = new Receiver();
    expect(receiver.whole({ number: 5, floor: 0, followed: [] })).toBe('ready');
    expect(receiver.whole({ number: 9, floor: 0, followed: [5] })).toBe('ready');
    expect(receiver.whole({ number: 8, floor: 0, followed: [5, 7] })).toBe('held');
    expect([receiver.handled, receiver.buffer.received]).toEqual([[5, 9], 0]);
    expect(receiver.whole({ number: 7, floor: 0, followed: [] })).toBe('ready');
    expect(receiver.handled).toEqual([5, 9, 7, 8]);
  });
});

describe('Bounds of what is held', () => {
  it('a record 32,768 ahead of the last is held, and one more is bad', () => {
    for (const upTo of [0, 10]) {
      const { buffer } = new Receiver();
      for (let number = 1; number <= upTo; number++) buffer.receiveNext(number);
      const ahead = (number: number): Placement => ({ number, floor: number - 1, followed: [] });
      expect(buffer.receive(ahead(upTo + 32_768), [Buffer.alloc(1)], 1)).toBe('held');
      expect(buffer.receive(ahead(upTo + 32_769), [Buffer.alloc(1)], 1)).toBe('bad-record');
      const range = { offset: 0, total: 2 };
      expect(buffer.receivePiece(ahead(upTo + 32_769), range, [Buffer.alloc(1)])).toBe('bad-record');
    }
  });

  it('more bytes than the bound are bad, in whole records or in pieces, each counted with 400 bytes more', () => {
    const limits = { reorderBytes: 100_000, minRetransmitBytes: 1_000 };
    for (const inPieces of [false, true]) {
      const { buffer, memory } = new Receiver(limits);
      let held = 0;
      let receipt = 'held';
      for (let number = 2; receipt === 'held'; number++) {
        const placement = { number, floor: number - 1, followed: [] };
        receipt = inPieces
          ? buffer.receivePiece(placement, { offset: 0, total: 600 }, [Buffer.alloc(1)])
          : buffer.receive(placement, [Buffer.alloc(600)], 600);
        if (receipt === 'held') held += 1;
        expect(buffer.heldBytes).toBe(held * 1_000);
        expect(memory.used).toBe(buffer.heldBytes);
      }
      expect([receipt, held]).toEqual(['bad-record', 100]);
      buffer.clear();
      expect(memory.used).toBe(0);
    }
  });

  it('a process without memory has room for the least of a session, and no more', () => {
    const memory = new RetransmitMemory(MIB);
    const receiver = new Receiver({ reorderBytes: MIB, minRetransmitBytes: 5_000 }, memory);
    const { buffer } = receiver;
    memory.used += MIB;
    const held = (number: number): string =>
      buffer.receive({ number, floor: number - 1, followed: [] }, [Buffer.alloc(600)], 600);
    for (let number = 2; number <= 6; number++) expect(held(number)).toBe('held');
    expect(held(7)).toBe('no-room');
    expect(buffer.receivePiece({ number: 7, floor: 6, followed: [] }, { offset: 0, total: 9 }, [Buffer.alloc(1)])).toBe(
      'no-room',
    );
    // What waits for nothing needs no memory.
    expect(buffer.receive({ number: 8, floor: 0, followed: [] }, [Buffer.alloc(600)], 600)).toBe('ready');
    memory.used -= MIB;
    expect(held(7)).toBe('held');
  });

  it('the lowest record that is missing has room for its pieces, or what waits for it would wait for ever', () => {
    const memory = new RetransmitMemory(MIB);
    const receiver = new Receiver({ reorderBytes: MIB, minRetransmitBytes: 100 }, memory);
    const follows = (number: number): Placement => ({ number, floor: number - 1, followed: [] });
    expect(receiver.whole(follows(2))).toBe('held');
    memory.used += MIB;
    expect(receiver.piece(follows(3), 0, 2)).toBe('no-room');
    expect(receiver.piece(follows(1), 0, 1)).toBe('held');
    expect(receiver.piece(follows(1), 1, 2)).toBe('ready');
    expect(receiver.handled).toEqual([1, 2]);
  });

  it('a record of which pieces were taken is kept although there is no memory when the last one comes', () => {
    const memory = new RetransmitMemory(MIB);
    const receiver = new Receiver({ reorderBytes: MIB, minRetransmitBytes: 100 }, memory);
    const placement = { number: 6, floor: 5, followed: [] };
    expect(receiver.piece(placement, 0, 4)).toBe('held');
    memory.used += MIB;
    expect(receiver.piece({ number: 5, floor: 4, followed: [] }, 0, 2)).toBe('no-room');
    expect(receiver.piece(placement, 4, 7)).toBe('held');
    for (let number = 1; number <= 5; number++) receiver.whole({ number, floor: number - 1, followed: [] });
    expect(receiver.handled).toEqual([1, 2, 3, 4, 5, 6]);
    expect(memory.used).toBe(MIB);
  });

  it('a whole record beside a small piece of the same number is bounded like any other', () => {
    const { buffer } = new Receiver({ reorderBytes: 10_000, minRetransmitBytes: 100 });
    const placement = { number: 6, floor: 5, followed: [] };
    expect(buffer.receivePiece(placement, { offset: 0, total: 2 }, [Buffer.alloc(1)])).toBe('held');
    expect(buffer.receive(placement, [Buffer.alloc(10_000)], 10_000)).toBe('bad-record');
  });

  it('whatever numbers, floors and pieces a peer makes up, the buffer stays within its bounds and gives all back', () => {
    const limits = { reorderBytes: 20_000, minRetransmitBytes: 1_000 };
    const receipts = fc.tuple(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 60 }),
      fc.nat(2_000),
      fc.option(fc.nat(2_500), { nil: undefined }),
    );
    fc.assert(
      fc.property(fc.array(receipts, { maxLength: 100 }), (sequence) => {
        const { buffer, memory } = new Receiver(limits);
        for (const [number, distance, bytes, offset] of sequence) {
          const placement = { number, floor: Math.max(0, number - distance), followed: [] };
          const frames = [Buffer.alloc(bytes)];
          let receipt =
            offset === undefined
              ? buffer.receive(placement, frames, bytes)
              : buffer.receivePiece(placement, { offset, total: 2_500 }, frames);
          if (receipt === 'bad-record') break;
          if (receipt === 'ready' && offset !== undefined)
            receipt = buffer.receive(placement, [buffer.assembled(number)], 2_500);
          if (receipt === 'ready') while (buffer.next() !== undefined);
          expect(buffer.heldBytes).toBeLessThanOrEqual(limits.reorderBytes + 400);
          expect(memory.used).toBe(buffer.heldBytes);
        }
        buffer.clear();
        expect(memory.used).toBe(0);
      }),
    );
  });
});

it('what records follow counts against what is held, where it is more than usual', () => {
  const buffer = new ReorderBuffer({ reorderBytes: MIB, minRetransmitBytes: MIB }, new RetransmitMemory(16 * MIB));
  const followed = Array.from({ length: 255 }, (_, index) => index + 2);
  let held = 0;
  for (let number = 300; buffer.receive({ number, floor: 1, followed }, [], 0) === 'held'; number++) held += 1;
  expect(held).toBeLessThan(MIB / (255 * 8));
  expect(buffer.heldBytes).toBeLessThanOrEqual(MIB + 4096);
});

it('a record that waits for many others looks at each of them once, not at all whenever one comes', () => {
  const buffer = new ReorderBuffer(PLENTY, new RetransmitMemory(16 * MIB));
  const [records, others] = [200, 250];
  const followed = Array.from({ length: others }, (_, index) => index + 2);
  for (let i = 0; i < records; i++) expect(buffer.receive({ number: 300 + i, floor: 0, followed }, [], 0)).toBe('held');
  const looks = vi.spyOn(Set.prototype, 'has');
  let handled = 0;
  for (const number of followed) {
    buffer.receive({ number, floor: 0, followed: [] }, [], 0);
    while (buffer.next() !== undefined) handled += 1;
  }
  const count = looks.mock.calls.length;
  looks.mockRestore();
  expect(handled).toBe(records);
  expect(count).toBeLessThan(3 * records * others);
});
