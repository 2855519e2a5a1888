/**
 * Sessions over several links in random schedules, in virtual time: links of every kind join, leave, freeze, stall and
 * are lost, and each end learns of it at another time. What must hold is checked after every turn of either end.
 *
 * WSTUN_SCHEDULES=from,to runs those seeds instead.
 */
import { describe, expect, it } from 'vitest';
import { type Conditions, type Outcome, runSchedule } from '../../support/mux/links/link-schedule.ts';

const KIB = 1024;
/** The same each time, and as many others from a base that the name of the test has. */
const SEEDS = 250;
/** Late copies have a burst, and what is late before anything is known of the path is sent again once. */
const COPY_SHARE = 0.05;
const COPY_BYTES = 160 * KIB;

function outcomes(from: number, to: number): Outcome[] {
  return Array.from({ length: to - from }, (_, index) => {
    const seed = from + index;
    try {
      return runSchedule(seed);
    } catch (error) {
      throw new Error(`schedule ${seed}: ${String(error)}`, { cause: error });
    }
  });
}

function ranges(): [from: number, to: number][] {
  const given = process.env.WSTUN_SCHEDULES?.split(',').map(Number);
  if (given?.[0] !== undefined && given[1] !== undefined) return [[given[0], given[1]]];
  const base = 1_000_000 + Math.floor(Math.random() * 1_000_000_000);
  return [
    [0, SEEDS],
    [base, base + SEEDS],
  ];
}

describe('A session over several links', () => {
  // Records that went first followed one that was missing: a peer without memory dropped each link.
  it.each([809_652_546, 809_658_074])('goes on in schedule %i, in which memory is short', (seed) => {
    expect(outcomes(seed, seed + 1)[0]?.counts.get('no room')).toBeGreaterThan(0);
  });

  it.each(ranges())(
    'neither loses nor repeats a byte in random schedules %i to %i',
    { timeout: 3_600_000 },
    (from, to) => {
      const all = outcomes(from, to);
      const having = (conditions: Conditions) => all.filter(({ plan }) => plan.conditions === conditions);
      for (const { plan, placedRecords, seed } of all)
        if (plan.withoutLinks !== undefined) expect({ seed, placedRecords }).toEqual({ seed, placedRecords: 0 });
      const total = (what: string) => all.reduce((sum, { counts }) => sum + (counts.get(what) ?? 0), 0);
      // None came twice or altered, and by one link none overtakes another: the ends look at each (linked-end.ts).
      expect(total('datagrams')).toBeGreaterThan(10 * all.length);
      expect(total('datagrams out of order')).toBeLessThan(0.03 * total('datagrams'));
      // For want of memory, links are dropped that have no fault.
      const clean = having('clean').filter(({ counts }) => !counts.has('no room'));
      for (const { sentBytes, newBytes, seed } of clean)
        expect({ seed, isMuch: sentBytes - newBytes > COPY_SHARE * newBytes + COPY_BYTES }).toEqual({
          seed,
          isMuch: false,
        });
    },
  );
});
