import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALL_OPENS, RecordOrder, WHOLE_SESSION } from '../../../src/mux/links/record-order.ts';
import type { Placement } from '../../../src/protocol/record-header.ts';

interface Step {
  readonly topics: ReadonlySet<number>;
  /** How many more the peer acknowledges first. */
  readonly acked: number;
}

const streams = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 400 }));
const topic = fc.oneof(
  { weight: 20, arbitrary: streams },
  { weight: 2, arbitrary: fc.constant(ALL_OPENS) },
  { weight: 1, arbitrary: fc.constant(WHOLE_SESSION) },
);
const steps: fc.Arbitrary<Step> = fc.record({
  topics: fc
    .oneof(fc.array(topic, { maxLength: 4 }), fc.array(streams, { maxLength: 60 }))
    .map((list) => new Set(list)),
  acked: fc.nat(2),
});

/** All records that it follows, itself not counted: those that they follow, too. */
function ancestorsOf(
  number: number,
  placements: ReadonlyMap<number, Placement>,
  found = new Set<number>(),
): Set<number> {
  const placement = placements.get(number);
  if (placement === undefined) return found;
  const direct = [...placement.followed];
  for (let other = placement.floor; other > 0 && !found.has(other); other--) direct.push(other);
  for (const other of direct) {
    if (found.has(other)) continue;
    found.add(other);
    ancestorsOf(other, placements, found);
  }
  return found;
}

describe('What a record follows', () => {
  it('each record follows the newest one of each of its streams, the newest open if it opens, and all before the end', () => {
    fc.assert(
      fc.property(fc.nat(5), fc.array(steps, { minLength: 1, maxLength: 60 }), (base, sequence) => {
        const order = new RecordOrder(base);
        const newest = new Map<number, number>();
        const placements = new Map<number, Placement>();
        let ackedUpTo = 0;
        let number = base;
        for (const { topics, acked } of sequence) {
          ackedUpTo = Math.min(number, ackedUpTo + acked);
          number += 1;
          const placement = order.place(number, topics, ackedUpTo);
          expect(placement.number).toBe(number);
          const { floor, followed } = placement;
          expect(floor).toBeLessThan(number);
          expect(floor).toBeGreaterThanOrEqual(base);
          for (const other of followed) expect(other > floor && other < number).toBe(true);
          expect(followed.length).toBeLessThanOrEqual(32);
          placements.set(number, placement);
          const ancestors = ancestorsOf(number, placements);
          for (const one of topics) {
            const before = newest.get(one) ?? 0;
            if (before > ackedUpTo) expect(before <= floor || ancestors.has(before)).toBe(true);
            newest.set(one, number);
          }
          if (topics.has(WHOLE_SESSION)) expect(floor).toBe(number - 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a record of one stream does not follow a late one of another', () => {
    const order = new RecordOrder(1);
    expect(order.place(2, new Set([1]), 1)).toEqual({ number: 2, floor: 1, followed: [] });
    expect(order.place(3, new Set([3]), 1)).toEqual({ number: 3, floor: 1, followed: [] });
    expect(order.place(4, new Set([1]), 1)).toEqual({ number: 4, floor: 1, followed: [2] });
    expect(order.place(5, new Set([1, 3]), 1)).toEqual({ number: 5, floor: 1, followed: [4, 3] });
    expect(order.place(6, new Set([1]), 5)).toEqual({ number: 6, floor: 5, followed: [] });
  });

  it('a record of more than 32 streams follows all up to the highest of the rest', () => {
    const order = new RecordOrder(0);
    for (let id = 1; id <= 40; id++) order.place(id, new Set([id]), 0);
    const all = new Set(Array.from({ length: 40 }, (_, i) => i + 1));
    const { floor, followed } = order.place(41, all, 0);
    expect(floor).toBe(8);
    expect(followed).toEqual(Array.from({ length: 32 }, (_, i) => 40 - i));
  });

  it('streams that ended long ago are not remembered', () => {
    const order = new RecordOrder(0);
    for (let id = 1; id <= 100_000; id++) order.place(id, new Set([id]), id - 10);
    const { newest } = order as unknown as { readonly newest: ReadonlyMap<number, number> };
    expect(newest.size).toBeLessThan(1_000);
  });
});
