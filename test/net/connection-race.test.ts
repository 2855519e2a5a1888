import { describe, expect, it } from 'vitest';
import { ATTEMPT_DELAY_MS, alternate, ConnectionRace, MAX_ATTEMPTS } from '../../src/net/connection-race.ts';

describe('ConnectionRace', () => {
  it('ConnectionRace starts the next attempt after 250 ms, and not before', () => {
    const race = new ConnectionRace(['a', 'b', 'c']);
    expect(race.poll(1_000)).toBe('a');
    expect([race.poll(1_000), race.poll(1_249.9), race.nextTimeout()]).toEqual([undefined, undefined, 1_250]);
    expect(race.poll(1_250)).toBe('b');
    expect(race.nextTimeout()).toBe(1_250 + ATTEMPT_DELAY_MS);
    expect(race.poll(2_000)).toBe('c');
    expect(race.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  it('ConnectionRace starts the next attempt at once after a failure, and is lost when all have failed', () => {
    const race = new ConnectionRace(['a', 'b']);
    race.poll(0);
    race.handleFailed();
    expect([race.isLost, race.poll(1)]).toEqual([false, 'b']);
    race.handleFailed();
    expect([race.isLost, race.poll(2)]).toEqual([true, undefined]);
  });

  it('ConnectionRace makes at most eight attempts, however many there are and whenever they become known', () => {
    const race = new ConnectionRace(Array.from({ length: 5 }, (_, i) => i));
    race.poll(0);
    race.add(Array.from({ length: 20 }, (_, i) => 100 + i));
    let given = 1;
    for (let now = 1_000; race.poll(now) !== undefined; now += ATTEMPT_DELAY_MS) given += 1;
    expect(given).toBe(MAX_ATTEMPTS);
  });

  it('ConnectionRace takes another delay and another number of attempts', () => {
    const race = new ConnectionRace([1, 2, 3], { attemptDelayMs: 1_000, maxAttempts: 2 });
    expect([race.poll(0), race.poll(999), race.nextTimeout(), race.poll(1_000)]).toEqual([1, undefined, 1_000, 2]);
    expect(race.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  it('alternate takes two families in turn, whichever is longer', () => {
    expect(alternate([1, 3], [2, 4, 5, 6])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(alternate([1, 3, 4], [2])).toEqual([1, 2, 3, 4]);
    expect(alternate([], [1])).toEqual([1]);
  });
});
