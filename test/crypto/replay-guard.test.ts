import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FingerprintSet } from '../../src/crypto/fingerprint-set.ts';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';

const RETENTION = 1_200;
const HOUR = 3_600_000;

/** A nonce of 24 bytes that no other test number has. */
function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(24, 7);
  nonce.writeUInt32BE(number, 4);
  nonce.writeUInt32BE(number, 12);
  return nonce;
}

/** As the opener does it: what was used is not remembered again. */
function use(memory: ReplayGuard, nonce: Buffer, peer: string | undefined, now: number): 'fresh' | 'seen' | 'full' {
  if (memory.wasUsed(nonce, 'opened')) return 'seen';
  return memory.remember(nonce, 'opened', peer, now) ? 'fresh' : 'full';
}

describe('ReplayGuard', () => {
  it('ReplayGuard never accepts a nonce twice within its retention, in any order of events', () => {
    const event = fc.record({
      peer: fc.constantFrom('a', 'b'),
      nonce: fc.nat(40),
      pass: fc.nat(500),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const memory = new ReplayGuard({ retentionMs: RETENTION });
        const taken = new Map<number, number>();
        let now = 0;
        for (const { peer, nonce, pass } of events) {
          now += pass;
          const last = taken.get(nonce);
          const isSeen = use(memory, nonceOf(nonce), peer, now) === 'seen';
          if (last !== undefined && now < last + RETENTION) expect(isSeen).toBe(true);
          if (last === undefined) expect(isSeen).toBe(false);
          if (!isSeen) taken.set(nonce, now);
        }
      }),
    );
  });

  it('ReplayGuard keeps opened and answered tickets apart', () => {
    const memory = new ReplayGuard();
    const nonce = randomBytes(24);
    memory.remember(nonce, 'answered', 'a', 0);
    expect([memory.wasUsed(nonce, 'answered'), memory.wasUsed(nonce, 'opened')]).toEqual([true, false]);
  });

  it('ReplayGuard drops old nonces, and keeps them longer, never shorter, when the clock is set back', () => {
    const memory = new ReplayGuard({ retentionMs: RETENTION });
    for (let i = 0; i < 100; i++) use(memory, nonceOf(i), 'a', 10_000);
    use(memory, nonceOf(100), 'a', 5_000);
    for (const now of [5_000, 10_000, 10_000 + RETENTION - 1]) expect(use(memory, nonceOf(7), 'a', now)).toBe('seen');
    for (let step = 1; step <= 8; step++) use(memory, nonceOf(1_000 + step), 'a', 10_000 + (step * RETENTION) / 3);
    expect(use(memory, nonceOf(7), 'a', 10_000 + 3 * RETENTION)).toBe('fresh');
    expect(memory.size).toBeLessThan(8);
  });

  it('ReplayGuard rejects only peers with more than a fair share, and only when it is full', () => {
    const memory = new ReplayGuard({ nonces: 1_000, retentionMs: RETENTION });
    let next = 0;
    const fresh = (peer: string | undefined, count: number, now = 0): number => {
      let taken = 0;
      for (let i = 0; i < count; i++) if (use(memory, nonceOf(next++), peer, now) === 'fresh') taken += 1;
      return taken;
    };
    expect(fresh('greedy', 2_000)).toBe(1_000);
    for (const quiet of ['b', 'c', 'd']) expect(fresh(quiet, 150)).toBe(150);
    expect(fresh('greedy', 100)).toBe(0);
    expect(fresh(undefined, 10)).toBe(10);
    expect(memory.size).toBeLessThan(2_000);
    expect(fresh('greedy', 100, 2 * RETENTION)).toBe(100);
  });

  it('ReplayGuard never holds more than twice its size', () => {
    const memory = new ReplayGuard({ nonces: 100 });
    for (let i = 0; i < 1_000; i++) use(memory, nonceOf(i), i % 2 === 0 ? undefined : `peer${i}`, 0);
    expect(memory.size).toBe(200);
  });

  it('ReplayGuard is not filled by ten thousand peers that lose a link every two seconds', () => {
    const memory = new ReplayGuard({ nonces: 20_000, retentionMs: 3_600 });
    let next = 0;
    for (let now = 0; now < 10_000; now += 2_000) {
      for (let peer = 0; peer < 10_000; peer++)
        expect(use(memory, nonceOf(next++), `peer${peer}`, now)).not.toBe('seen');
    }
    expect(use(memory, nonceOf(next), 'newcomer', 8_001)).toBe('fresh');
  });

  it('ReplayGuard knows for 26 hours which tickets were used, and says from when on it knows all', () => {
    const memory = new ReplayGuard();
    const nonce = randomBytes(24);
    memory.remember(nonce, 'opened', 'a', 0);
    for (let hour = 1; hour < 25; hour++) memory.remember(randomBytes(24), 'opened', 'a', hour * HOUR);
    expect(memory.wasUsed(nonce, 'opened')).toBe(false);
    expect(memory.wasUsedBefore(nonce, 'opened')).toBe(true);
    expect(memory.pastSince).toBeLessThan(0);
    for (let hour = 25; hour < 60; hour++) memory.remember(randomBytes(24), 'opened', 'a', hour * HOUR);
    expect(memory.wasUsedBefore(nonce, 'opened')).toBe(false);
    expect(memory.pastSince).toBeGreaterThan(30 * HOUR);
    const small = new ReplayGuard({ pastNonces: 140 });
    for (let i = 0; i < 1_000; i++) small.remember(nonceOf(i), 'opened', 'a', i * 1_000);
    expect(small.pastSince).toBeGreaterThan(800_000);
    expect(small.wasUsedBefore(nonceOf(999), 'opened')).toBe(true);
  });

  it('ReplayGuard restores what an earlier process reported of each nonce', () => {
    const [before, after] = [new ReplayGuard(), new ReplayGuard()];
    before.onRemembered = (fingerprint, now) => after.restore(fingerprint, now);
    const nonces = Array.from({ length: 2_000 }, () => randomBytes(24));
    for (const [index, nonce] of nonces.entries()) before.remember(nonce, 'opened', 'a', index);
    for (const nonce of nonces) expect(after.wasUsed(nonce, 'opened')).toBe(true);
    expect(after.wasUsed(randomBytes(24), 'opened')).toBe(false);
  });
});

describe('FingerprintSet', () => {
  it('FingerprintSet has what was added, and nothing else', () => {
    const number = fc.constantFrom(0, 1, 2, 0xffffffff, 0x80000000, 77);
    const fingerprint = fc.record({ high: number, low: number });
    fc.assert(
      fc.property(fc.array(fingerprint), fc.array(fingerprint), (added, others) => {
        const set = new FingerprintSet();
        for (const each of added) set.add(each);
        const key = ({ high, low }: { high: number; low: number }): string =>
          `${high} ${high === 0 && low === 0 ? 1 : low}`;
        const model = new Set(added.map(key));
        expect(set.size).toBe(model.size);
        for (const each of [...added, ...others]) expect(set.has(each)).toBe(model.has(key(each)));
      }),
    );
  });

  it('FingerprintSet grows to a hundred thousand', () => {
    const set = new FingerprintSet();
    for (let i = 1; i <= 100_000; i++) set.add({ high: i, low: i * 7 });
    expect(set.size).toBe(100_000);
    for (let i = 1; i <= 100_000; i += 97) expect(set.has({ high: i, low: i * 7 })).toBe(true);
    expect(set.has({ high: 5, low: 5 })).toBe(false);
  });
});
