import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { destinationOfName } from '../../src/exit/destinations.ts';
import { DialQueue, type Entry } from '../../src/exit/dial-queue.ts';
import { type Attempt, address, DialSimulator } from '../support/proxy/dial-simulator.ts';

const worst = (attempts: readonly Attempt[]) => Math.max(...attempts.map(({ waitedMs }) => waitedMs));
const outcomes = (lists: readonly (readonly Attempt[])[]) => [
  ...new Set(lists.flatMap((attempts) => attempts.map(({ outcome }) => outcome))),
];

/** A live target that is dialled for the first time at each of these times, ms, and then each 700 ms for ten times. */
function liveTargets(simulator: DialSimulator, peer: string, hostOf: (i: number) => string, port = 80) {
  return [20, 130, 700, 1_500, 3_000, 5_000, 9_990, 12_000, 20_000].flatMap((at, i) =>
    Array.from({ length: 10 }, (_, n) => simulator.once(peer, address(hostOf(i), port + i), 1, at + 700 * n)),
  );
}

const FLOODS: readonly (readonly [name: string, destination: (i: number) => ReturnType<typeof address>])[] = [
  ['hosts of networks apart', (i) => address(`10.${i >> 8}.${i & 255}.9`)],
  ['hosts of four networks', (i) => address(`10.77.${i & 3}.${i >> 2}`)],
  ['hosts and ports of one network', (i) => address(`10.77.9.${i % 250}`, 1_000 + i)],
  ['ports of one host', (i) => address('10.77.9.9', 1_000 + i)],
  ['port of one host', () => address('10.77.9.9', 9)],
  ['names of one domain', (i) => [destinationOfName(`host${i}.dead.example`)]],
  ['addresses of one name', (i) => Array.from({ length: 8 }, (_, n) => address(`10.${n}.${i >> 8}.${i & 255}`)).flat()],
];

describe.each(FLOODS)('while one peer dials 1,000 dead %s in a loop', (_, destination) => {
  const flood = (simulator: DialSimulator, peer = 'mallory') =>
    Array.from({ length: 1_000 }, (_unused, i) => simulator.loopDead(peer, destination(i)));

  it('DialQueue starts each dial of a flooding peer to a live target within 0.2 s', () => {
    const simulator = new DialSimulator();
    flood(simulator);
    const live = liveTargets(simulator, 'mallory', (i) => `192.0.2.${i}`);
    simulator.run(30_000);
    expect(outcomes(live)).toEqual(['answered']);
    expect(worst(live.flat())).toBeLessThan(200);
  });

  it('DialQueue starts dials of a flooding peer to live ports of the same network and host', () => {
    const simulator = new DialSimulator();
    flood(simulator);
    const live = [
      ...liveTargets(simulator, 'mallory', (i) => `10.77.9.${200 + i}`, 20_000),
      ...liveTargets(simulator, 'mallory', () => '10.77.9.9', 30_000),
    ];
    simulator.run(30_000);
    expect(outcomes(live)).toEqual(['answered']);
    expect(worst(live.flat())).toBeLessThan(200);
  });

  it('DialQueue starts dials of other peers at once during a flood, and keeps its limits', () => {
    const simulator = new DialSimulator();
    for (const peer of ['mallory', 'mallet', 'marvin', 'trudy', 'eve']) flood(simulator, peer);
    const live = liveTargets(simulator, 'alice', (i) => `192.0.2.${i}`);
    simulator.run(12_000);
    expect(outcomes(live)).toEqual(['answered']);
    expect(worst(live.flat())).toBe(0);
    for (const [peer, peak] of simulator.peaks) expect(peak).toBeLessThanOrEqual(peer === '' ? 1_024 : 256);
  });
});

describe('DialQueue with honest bursts', () => {
  const slow = (simulator: DialSimulator, count: number, at: number, host: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => simulator.once('alice', address(host(i), 443), 1_000 + (i % 21) * 100, at));

  it('DialQueue starts 30 dials at once to hosts that take 1 to 3 s to answer', () => {
    const simulator = new DialSimulator();
    const all = [
      ...slow(simulator, 30, 0, (i) => `192.0.2.${i}`),
      ...slow(simulator, 30, 20_000, (i) => `198.51.100.${i}`),
      ...slow(simulator, 30, 40_000, () => '203.0.113.1'),
    ];
    simulator.run(60_000);
    expect(outcomes(all)).toEqual(['answered']);
    expect(worst(all.flat())).toBe(0);
  });

  it('DialQueue serves all of 200 dials at once to slow hosts', () => {
    const simulator = new DialSimulator();
    const all = slow(simulator, 200, 0, (i) => `192.0.2.${i}`);
    simulator.run(20_000);
    expect(outcomes(all)).toEqual(['answered']);
  });

  it('DialQueue serves all of 30 dials to slow hosts beside 1,000 dead ones of the same peer', () => {
    const simulator = new DialSimulator();
    for (let i = 0; i < 1_000; i++) simulator.loopDead('alice', address(`10.77.${i & 3}.${i >> 2}`));
    const all = slow(simulator, 30, 15_000, (i) => `192.0.2.${i}`);
    simulator.run(30_000);
    expect(outcomes(all)).toEqual(['answered']);
  });

  it('DialQueue serves all of 1,000 dials to one host, or to 1,000 hosts, that answer within 100 ms', () => {
    for (const host of [() => '192.0.2.1', (i: number) => `192.0.${i >> 8}.${i & 255}`]) {
      const simulator = new DialSimulator();
      const all = Array.from({ length: 1_000 }, (_, i) => simulator.once('alice', address(host(i)), 100, 0));
      simulator.run(10_000);
      expect(outcomes(all)).toEqual(['answered']);
    }
  });

  it('DialQueue serves a burst of dials to a host that was silent and answers again', () => {
    const simulator = new DialSimulator();
    simulator.once('alice', address('192.0.2.1'), undefined, 0);
    const later = Array.from({ length: 8 }, () => simulator.once('alice', address('192.0.2.1'), 20, 20_000));
    simulator.run(30_000);
    expect(outcomes(later)).toEqual(['answered']);
  });
});

describe('an evicted dial', () => {
  const FEW = { pendingPerPeer: 8, pendingTotal: 32 };

  it('DialQueue evicts a dial after 3 s, or after 1 s if its destination was silent before, and only if a slot is needed', () => {
    const simulator = new DialSimulator(FEW);
    const first = Array.from({ length: 6 }, (_, i) => simulator.once('alice', address(`192.0.2.${i}`), undefined, 0));
    simulator.run(2_000);
    const fresh = simulator.once('alice', address('198.51.100.1'), 10, 2_000);
    simulator.run(2_900);
    expect(first.flat()).toEqual([]);
    simulator.run(3_200);
    expect(outcomes(first)).toEqual(['evicted']);
    expect(first.flat()).toHaveLength(1);
    expect(fresh).toMatchObject([{ outcome: 'answered' }]);
    simulator.run(20_000);
    expect(first.flat()).toHaveLength(6);
    const again = simulator.once('alice', address('192.0.2.0'), undefined, 20_000);
    const others = Array.from({ length: 5 }, (_, i) =>
      simulator.once('alice', address(`203.0.${i}.1`), undefined, 20_000),
    );
    const next = simulator.once('alice', address('198.51.100.2'), 10, 20_500);
    simulator.run(21_200);
    expect(outcomes([again, ...others])).toEqual(['evicted']);
    expect(again).toHaveLength(1);
    expect(next).toMatchObject([{ outcome: 'answered' }]);
  });

  it('DialQueue never evicts a dial for others of its peer that were silent before', () => {
    const simulator = new DialSimulator(FEW);
    const loops = Array.from({ length: 50 }, (_, i) => simulator.loopDead('alice', address(`192.0.2.${i}`)));
    simulator.run(60_000);
    const late = loops.flat().filter(({ at }) => at > 20_000);
    expect(outcomes([late])).toEqual(expect.arrayContaining(['busy', 'silent']));
    expect(outcomes([late])).not.toContain('evicted');
  });
});

it('DialQueue keeps its counts and limits through any sequence of asks, ends and withdrawals', () => {
  const limits = { pendingPerPeer: 6, pendingTotal: 12 };
  const operation = fc.record({
    kind: fc.constantFrom('ask', 'ask', 'ask', 'answer', 'silence', 'leave', 'refuse', 'pass'),
    peer: fc.constantFrom('a', 'b', 'c'),
    host: fc.nat(5),
    pick: fc.nat(1_000),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const queue = new DialQueue(limits);
      const live: Entry[] = [];
      let now = 0;
      for (const { kind, peer, host, pick } of operations) {
        now += pick;
        const entry = live[pick % Math.max(1, live.length)];
        if (kind === 'ask') live.push(queue.ask(peer, address(`192.0.2.${host}`), now).entry);
        else if (kind === 'pass') queue.advance(now);
        else if (entry?.state === 'waiting') queue.leave(entry, kind === 'refuse', now);
        else if (entry !== undefined) queue.end(entry, kind === 'answer', now);
        const started = live.filter(({ state }) => state === 'started' || state === 'evicted');
        expect(queue.taken).toBe(started.length);
        expect(queue.waiting).toBe(live.filter(({ state }) => state === 'waiting').length);
        expect(started.length).toBeLessThanOrEqual(limits.pendingTotal);
        for (const name of ['a', 'b', 'c']) {
          expect(started.filter((each) => each.peer === name).length).toBeLessThanOrEqual(limits.pendingPerPeer);
        }
      }
      for (const entry of live) {
        if (entry.state === 'waiting') queue.leave(entry, false, now);
        queue.end(entry, true, now);
      }
      for (const entry of live) queue.end(entry, true, now);
      expect([queue.taken, queue.waiting]).toEqual([0, 0]);
    }),
    { seed: 1129, numRuns: 500 },
  );
});

it('DialQueue starts a waiting dial when all others have answered', () => {
  const queue = new DialQueue({ pendingPerPeer: 8, pendingTotal: 16 });
  const entries = Array.from({ length: 200 }, (_, i) => queue.ask(`peer ${i % 3}`, address(`192.0.2.${i}`), 0).entry);
  for (let now = 0; queue.taken > 0; now += 10) {
    const entry = entries.find(({ state }) => state === 'started');
    if (entry) queue.end(entry, true, now);
    queue.advance(now);
  }
  expect(entries.every(({ state }) => state === 'over')).toBe(true);
});
