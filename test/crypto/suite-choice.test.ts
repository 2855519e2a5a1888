import { describe, expect, it } from 'vitest';
import type { CipherSuite } from '../../src/crypto/aead.ts';
import { chooseSuite, preferredSuite } from '../../src/crypto/suite-choice.ts';

/** A machine that takes so long for a sample, ms; its pauses come on top, in turn. */
function machine(ms: Readonly<Record<CipherSuite, number>>, pauses: readonly number[] = [0]) {
  let calls = 0;
  return {
    time: (suite: CipherSuite) => ms[suite] + (pauses[calls++ % pauses.length] ?? 0),
    calls: () => calls,
  };
}

describe('chooseSuite', () => {
  it('chooseSuite takes AESGCM if the machine has AES in hardware, even if it is hardly faster yet', () => {
    expect(chooseSuite(machine({ ChaChaPoly: 0.013, AESGCM: 0.008 }).time)).toBe('AESGCM');
    expect(chooseSuite(machine({ ChaChaPoly: 0.028, AESGCM: 0.029 }).time)).toBe('AESGCM');
  });

  it('chooseSuite takes ChaChaPoly if AES is in software', () => {
    expect(chooseSuite(machine({ ChaChaPoly: 0.1, AESGCM: 0.4 }).time)).toBe('ChaChaPoly');
    expect(chooseSuite(machine({ ChaChaPoly: 0.1, AESGCM: 0.15 }).time)).toBe('ChaChaPoly');
  });

  it('chooseSuite is not affected by pauses of the machine, whichever cipher they hit', () => {
    const ms = { ChaChaPoly: 0.013, AESGCM: 0.008 };
    expect(chooseSuite(machine(ms, [0, 0.2, 0, 0, 0.1]).time)).toBe('AESGCM');
    expect(chooseSuite(machine(ms, [0.2, 0, 0.1]).time)).toBe('AESGCM');
    expect(chooseSuite(machine(ms, [9, 0, 5, 0.1, 7]).time)).toBe('AESGCM');
  });

  it('chooseSuite takes 2 to 24 rounds, and no more after 3 ms', () => {
    const slow = machine({ ChaChaPoly: 40, AESGCM: 90 });
    expect(chooseSuite(slow.time)).toBe('ChaChaPoly');
    expect(slow.calls()).toBe(2 * 2);
    const fast = machine({ ChaChaPoly: 0.013, AESGCM: 0.008 });
    chooseSuite(fast.time);
    expect(fast.calls()).toBe(2 * 24);
    const board = machine({ ChaChaPoly: 0.2, AESGCM: 0.4 });
    chooseSuite(board.time);
    expect(board.calls()).toBe(2 * 5);
  });

  it('preferredSuite measures once per process, and returns one of the two', () => {
    const first = preferredSuite(() => performance.now());
    expect(['ChaChaPoly', 'AESGCM']).toContain(first);
    const again = preferredSuite(() => {
      throw new Error('measured again');
    });
    expect(again).toBe(first);
  });
});
