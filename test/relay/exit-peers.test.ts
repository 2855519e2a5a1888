import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Peer } from '../../src/crypto/key-table.ts';
import { ExitPeers } from '../../src/relay/exit-peers.ts';
import { VirtualClock } from '../support/time/virtual-clock.ts';

const keyOf = (exit: string, number: number): string =>
  Buffer.from(`${exit} ${number}`.padEnd(32)).toString('base64url');
const keysOf = (exit: string, count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, i) => keyOf(exit, from + i));

function setUp(maxKeys?: number) {
  const clock = new VirtualClock();
  const known = new Set<string>();
  const placeOf = ({ destination, gateKey }: Peer): string =>
    `${destination} ${Buffer.from(gateKey).toString('base64url')}`;
  const peers = new ExitPeers(
    { add: (peer) => void known.add(placeOf(peer)), remove: (peer) => void known.delete(placeOf(peer)) },
    { clock, ...(maxKeys !== undefined && { maxKeys }) },
  );
  const told = new Map<string, string>();
  const announce = (exit: string, keys: readonly string[]): boolean => {
    told.delete(exit);
    return peers.replace(exit, keys, {
      handleDone: () => void told.set(exit, 'all'),
      handleShort: (taken, wanted) => void told.set(exit, `${taken} of ${wanted}`),
    });
  };
  const countOf = (exit: string): number => [...known].filter((place) => place.startsWith(`${exit} `)).length;
  return { clock, peers, known, told, announce, countOf };
}

/** The shares of a max-min fair division: each gets what it wants, up to a common level. */
function fairShares(wanted: readonly number[], room: number): { least: number; most: number } {
  let level = 0;
  while (level <= room && wanted.reduce((sum, want) => sum + Math.min(want, level), 0) < room) level += 1;
  const isEnough = wanted.reduce((sum, want) => sum + want, 0) <= room;
  return isEnough
    ? { least: Number.POSITIVE_INFINITY, most: Number.POSITIVE_INFINITY }
    : { least: level - 1, most: level };
}

it('ExitPeers shares the room for keys max-min fair, and tells each exit how many of its keys are known', async () => {
  const step = fc.record({
    exit: fc.constantFrom('a', 'b', 'c', 'd'),
    count: fc.integer({ min: 0, max: 12 }),
    from: fc.integer({ min: 0, max: 6 }),
    isDropped: fc.boolean(),
    wait: fc.constantFrom(0, 0, 30, 500),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { clock, peers, known, told, announce, countOf } = setUp(20);
      const wanted = new Map<string, string[]>();
      for (const { exit, count, from, isDropped, wait } of steps) {
        if (isDropped && count < 3) {
          peers.drop(exit);
          wanted.delete(exit);
          told.delete(exit);
        } else {
          wanted.set(exit, keysOf(exit, count, from));
          announce(exit, keysOf(exit, count, from));
        }
        await clock.advance(wait);
        expect(known.size).toBeLessThanOrEqual(20);
      }
      await clock.advance(1_000);
      const { least, most } = fairShares(
        [...wanted.values()].map(({ length }) => length),
        20,
      );
      for (const [exit, keys] of wanted) {
        const held = countOf(exit);
        expect(held).toBeGreaterThanOrEqual(Math.min(keys.length, least));
        expect(held).toBeLessThanOrEqual(Math.min(keys.length, most));
        expect(told.get(exit)).toBe(held === keys.length ? 'all' : `${held} of ${keys.length}`);
        expect(keys.filter((key) => known.has(`${exit} ${key}`))).toHaveLength(held);
      }
      expect(known.size).toBe([...wanted.keys()].reduce((sum, exit) => sum + countOf(exit), 0));
      peers.close();
    }),
    { numRuns: 100, seed: 12 },
  );
});

it('ExitPeers removes some hundred replaced keys at once, and ten thousand within a second', async () => {
  const { clock, known, announce } = setUp();
  announce('home', keysOf('home', 10_000));
  await clock.advance(10_000);
  expect(known.size).toBe(10_000);
  announce('home', keysOf('home', 10, 20_000));
  expect(known.size).toBeGreaterThan(9_000);
  await clock.advance(1_000);
  expect(known).toEqual(new Set(keysOf('home', 10, 20_000).map((key) => `home ${key}`)));
});

it('ExitPeers recognises a list that is announced again', async () => {
  const { clock, announce, told } = setUp();
  expect(announce('home', keysOf('home', 100))).toBe(true);
  await clock.advance(1_000);
  expect(announce('home', keysOf('home', 100))).toBe(false);
  expect(told.get('home')).toBe('all');
  expect(announce('home', keysOf('home', 99))).toBe(true);
});

it('ExitPeers restores keys without pauses, and resolves when all are known', async () => {
  const { peers, known } = setUp();
  for (const exit of ['a', 'b']) peers.restore(exit, keysOf(exit, 10_000));
  let isDone = false;
  void peers.restored().then(() => {
    isDone = true;
  });
  expect(known.size).toBe(0);
  for (let turn = 0; turn < 400; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect([known.size, isDone]).toEqual([20_000, true]);
});
