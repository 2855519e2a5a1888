import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SourcePenalties, sourceOf } from '../../src/relay/source-limits.ts';

/** As many failures at once as begin a penalty; returns it. */
function provoke(penalties: SourcePenalties, source: string, now: number): number {
  for (let i = 0; i < 20; i++) expect(penalties.fail(source, now)).toBe(0);
  return penalties.fail(source, now);
}

describe('sourceOf', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['172.32.0.1', '172.32.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:DB8::1', '2001:db8:0:0::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['2a00::192.0.2.7', '2a00:0:0:0::/64'],
  ])('sourceOf groups %s as %s', (address, source) => {
    expect(sourceOf(address)).toBe(source);
  });

  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.1.1',
    '100.64.0.1',
    '::ffff:10.1.2.3',
    '::1',
    'fd00::1',
    'fe80::1%eth0',
    undefined,
  ])('sourceOf exempts %s', (address) => {
    expect(sourceOf(address)).toBeUndefined();
  });
});

describe('SourcePenalties', () => {
  it('a penalty begins with the 21st failure at once, and ends after five seconds', () => {
    const penalties = new SourcePenalties();
    expect(provoke(penalties, 'a', 1000)).toBe(5000);
    expect(penalties.isBlocked('a', 5999)).toBe(true);
    expect(penalties.isBlocked('b', 5999)).toBe(false);
    expect(penalties.isBlocked('a', 6000)).toBe(false);
  });

  it('a penalty never begins at two failures a second, and begins at three', () => {
    const penalties = new SourcePenalties();
    for (let now = 0; now < 3_600_000; now += 500) expect(penalties.fail('slow', now)).toBe(0);
    const times = Array.from({ length: 100 }, (_, i) => (i * 1000) / 3);
    expect(times.some((now) => penalties.fail('fast', now) > 0)).toBe(true);
  });

  it('penalties double up to ten minutes', () => {
    const penalties = new SourcePenalties();
    const lengths: number[] = [];
    for (let now = 0, i = 0; i < 9; i++) {
      lengths.push(provoke(penalties, 'a', now));
      now += lengths.at(-1) ?? 0;
    }
    expect(lengths).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600].map((seconds) => seconds * 1000));
  });

  it('failures during a penalty do not count against the source', () => {
    const penalties = new SourcePenalties();
    provoke(penalties, 'a', 0);
    for (let i = 0; i < 100; i++) expect(penalties.fail('a', 4999)).toBe(0);
    expect(penalties.isBlocked('a', 5000)).toBe(false);
    expect(penalties.fail('a', 5000)).toBe(0);
  });

  it('the length of penalties starts again after ten minutes without a failure, and not before', () => {
    const quiet = 600_000;
    const [soon, late] = [new SourcePenalties(), new SourcePenalties()];
    for (const penalties of [soon, late]) provoke(penalties, 'a', 0);
    expect(provoke(soon, 'a', 5000 + quiet - 1)).toBe(10_000);
    expect(provoke(late, 'a', 5000 + quiet)).toBe(5000);
  });

  it('a valid ticket ends the penalty of its source', () => {
    const penalties = new SourcePenalties();
    provoke(penalties, 'a', 0);
    penalties.clear('a');
    expect(penalties.isBlocked('a', 1)).toBe(false);
    expect(provoke(penalties, 'a', 1)).toBe(5000);
  });

  it('penalties of 4,096 sources are remembered, and one more replaces the one that failed longest ago', () => {
    const penalties = new SourcePenalties();
    provoke(penalties, 'first', 0);
    provoke(penalties, 'second', 1);
    for (let i = 0; i < 4095; i++) penalties.fail(`other ${i}`, 2);
    expect(penalties.size).toBe(4096);
    expect(penalties.isBlocked('first', 3)).toBe(false);
    expect(penalties.isBlocked('second', 3)).toBe(true);
  });

  it('penalties never exceed ten minutes nor the memory, and need more than twenty failures', () => {
    const step = fc.record({ source: fc.integer({ min: 0, max: 3 }), wait: fc.integer({ min: 0, max: 20_000 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const penalties = new SourcePenalties();
        const failures = new Map<number, number>();
        let now = 0;
        for (const { source, wait } of steps) {
          now += wait % 97 === 0 ? wait : wait % 50;
          failures.set(source, (failures.get(source) ?? 0) + 1);
          const penalty = penalties.fail(`${source}`, now);
          expect(penalty === 0 || (penalty >= 5000 && penalty <= 600_000)).toBe(true);
          if (penalty > 0) expect(failures.get(source)).toBeGreaterThan(20);
          if (penalty > 0) failures.set(source, 0);
          expect(penalties.size).toBeLessThanOrEqual(4);
        }
      }),
      { numRuns: 50, seed: 20 },
    );
  });
});
