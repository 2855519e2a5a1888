import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordAssembly } from '../../../src/mux/links/record-assembly.ts';

const TOTAL = 40;
const whole = Uint8Array.from({ length: TOTAL }, (_, i) => i + 1);

const ranges = fc
  .tuple(fc.nat(TOTAL - 1), fc.integer({ min: 1, max: 12 }))
  .map(([offset, length]) => ({ offset, end: Math.min(TOTAL, offset + length) }));

describe('A record that comes in pieces', () => {
  it('a record is complete as soon as each of its bytes has come, in any order, whatever comes twice', () => {
    fc.assert(
      fc.property(fc.array(ranges, { maxLength: 40 }), fc.nat(5), (pieces, cut) => {
        const assembly = new RecordAssembly(TOTAL);
        const come = new Set<number>();
        for (const { offset, end } of pieces) {
          const bytes = whole.subarray(offset, end);
          expect(assembly.add({ offset, total: TOTAL }, [bytes.subarray(0, cut), bytes.subarray(cut)])).toBe(true);
          for (let at = offset; at < end; at++) come.add(at);
          expect(assembly.isComplete).toBe(come.size === TOTAL);
        }
        for (const at of come) expect(assembly.bytes[at]).toBe(whole[at]);
      }),
      { numRuns: 500 },
    );
  });

  it('tiny pieces with a gap after each cost no more than as many bytes in order', () => {
    const total = 65_519;
    const assembly = new RecordAssembly(total);
    const began = process.cpuUsage();
    for (let offset = 0; offset < total; offset += 2) assembly.add({ offset, total }, [Uint8Array.of(1)]);
    expect(assembly.isComplete).toBe(false);
    assembly.add({ offset: 1, total }, [new Uint8Array(total - 1)]);
    expect(assembly.isComplete).toBe(true);
    // Some ms. It took half a minute where each piece looked at all before it.
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1000).toBeLessThan(5_000);
  });

  it.each([
    ['of another total', { offset: 0, total: TOTAL + 1 }, 5],
    ['of nothing', { offset: 3, total: TOTAL }, 0],
    ['that goes beyond the end', { offset: TOTAL - 4, total: TOTAL }, 5],
  ])('a piece %s is none of the record, and changes nothing', (_what, range, length) => {
    const assembly = new RecordAssembly(TOTAL);
    expect(assembly.add({ offset: 0, total: TOTAL }, [whole.subarray(0, 10)])).toBe(true);
    const before = Buffer.from(assembly.bytes);
    expect(assembly.add(range, [new Uint8Array(length).fill(0xff)])).toBe(false);
    expect(Buffer.from(assembly.bytes)).toEqual(before);
    expect(assembly.add({ offset: 10, total: TOTAL }, [whole.subarray(10)])).toBe(true);
    expect(assembly.isComplete).toBe(true);
    expect(Buffer.from(assembly.bytes)).toEqual(Buffer.from(whole));
  });
});
