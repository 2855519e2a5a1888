import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryShare, EntryShares, SharedMap } from '../../../src/exit/udp/entry-share.ts';

describe('maps that share a bound', () => {
  it('count what all of them hold, whatever is done with them', () => {
    const step = fc.tuple(fc.constantFrom('set', 'delete', 'clear'), fc.nat(3), fc.nat(60));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const share = new EntryShare(50);
        const maps = Array.from({ length: 4 }, () => new SharedMap<number, true>(share, 40));
        for (const [what, index, key] of steps) {
          const map = maps[index] ?? expect.unreachable();
          if (what === 'set') map.set(key, true);
          else if (what === 'delete') map.delete(key);
          else map.clear();
          expect(share.used).toBe(maps.reduce((sum, { size }) => sum + size, 0));
          expect(map.size).toBeLessThanOrEqual(40);
          if (what === 'set') expect(map.has(key)).toBe(true);
        }
        // Each keeps 16 in any case.
        expect(share.used).toBeLessThanOrEqual(50 + 4 * 16);
      }),
    );
  });

  it('forget their own oldest entry beyond the bound, and never that of another map', () => {
    const share = new EntryShare(100);
    const quiet = new SharedMap<number, true>(share, 1_000);
    for (let key = 0; key < 40; key++) quiet.set(key, true);
    const busy = new SharedMap<number, true>(share, 1_000);
    for (let key = 0; key < 10_000; key++) busy.set(key, true);
    expect(quiet.size).toBe(40);
    expect([...busy.keys()]).toEqual(Array.from({ length: 60 }, (_, at) => 9_940 + at));
  });

  it('of 512 associations that know all that they may are bounded for their access entry', () => {
    const shares = new EntryShares();
    const maps = Array.from({ length: 512 }, () => new SharedMap<number, true>(shares.hold('alice'), 1_024));
    for (const map of maps) for (let key = 0; key < 1_024; key++) map.set(key, true);
    const total = maps.reduce((sum, { size }) => sum + size, 0);
    expect(total).toBeLessThanOrEqual(32_768 + 512 * 16);
    for (const map of maps) {
      map.clear();
      shares.release('alice');
    }
    expect(shares.hold('alice').used).toBe(0);
  });
});
