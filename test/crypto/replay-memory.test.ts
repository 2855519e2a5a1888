import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayMemory } from '../../src/crypto/replay-memory.ts';

const RETENTION = 1000;

describe('the replay memory', () => {
  it('never takes a nonce twice within its retention, in any order of events', () => {
    const event = fc.record({
      bearer: fc.constantFrom('a', 'b'),
      nonce: fc.nat(20).map(String),
      pass: fc.nat(400),
      sweep: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const memory = new ReplayMemory(RETENTION);
        const taken = new Map<string, number>();
        let now = 0;
        for (const { bearer, nonce, pass, sweep } of events) {
          now += pass;
          if (sweep) memory.sweep(now);
          const key = bearer + nonce;
          const last = taken.get(key);
          const fresh = last === undefined || now >= last + RETENTION;
          expect(memory.remember(bearer, nonce, now)).toBe(fresh ? 'fresh' : 'seen');
          if (fresh) taken.set(key, now);
        }
      }),
    );
  });

  it.each([
    [1, 1024],
    [64, 1024],
    [128, 512],
    [1000, 65],
    [10_000, 32],
  ])('gives each of %i bearers a share of %i', (bearers, share) => {
    const memory = new ReplayMemory(RETENTION);
    memory.setBearerCount(bearers);
    for (let i = 0; i < share; i++) expect(memory.remember('a', String(i), 0)).toBe('fresh');
    expect(memory.remember('a', 'x', 0)).toBe('full');
    expect(memory.remember('b', 'x', 0)).toBe('fresh');
    expect(memory.size).toBe(share + 1);
    expect(memory.remember('a', 'x', RETENTION)).toBe('fresh');
  });

  it('keeps what it has when shares shrink', () => {
    const memory = new ReplayMemory(RETENTION);
    for (let i = 0; i < 100; i++) memory.remember('a', String(i), 0);
    memory.setBearerCount(10_000);
    expect(memory.remember('a', '5', 1)).toBe('seen');
    expect(memory.remember('a', 'new', 1)).toBe('full');
  });

  it('is empty after everything has expired', () => {
    const memory = new ReplayMemory(RETENTION);
    for (let i = 0; i < 100; i++) memory.remember(`bearer${i}`, 'x', i);
    memory.sweep(RETENTION + 99);
    expect(memory.size).toBe(0);
  });

  it('remembers longer, never shorter, when the clock is set back', () => {
    const memory = new ReplayMemory(RETENTION);
    memory.remember('a', 'x', 5000);
    memory.remember('a', 'y', 1000);
    memory.sweep(2500);
    expect(memory.remember('a', 'x', 2500)).toBe('seen');
    expect(memory.remember('a', 'y', 2500)).toBe('seen');
  });
});
