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

describe('the choice of a cipher', () => {
  it('is AESGCM where the machine does AES in hardware, even if that hardly shows yet', () => {
    expect(chooseSuite(machine({ ChaChaPoly: 0.013, AESGCM: 0.008 }).time)).toBe('AESGCM');
    expect(chooseSuite(machine({ ChaChaPoly: 0.028, AESGCM: 0.029 }).time)).toBe('AESGCM');
  });

  it('is ChaChaPoly where AES is software', () => {
    expect(chooseSuite(machine({ ChaChaPoly: 0.1, AESGCM: 0.4 }).time)).toBe('ChaChaPoly');
    expect(chooseSuite(machine({ ChaChaPoly: 0.1, AESGCM: 0.15 }).time)).toBe('ChaChaPoly');
  });

  it('is not moved by pauses of the machine, whichever cipher they hit', () => {
    const ms = { ChaChaPoly: 0.013, AESGCM: 0.008 };
    expect(chooseSuite(machine(ms, [0, 0.2, 0, 0, 0.1]).time)).toBe('AESGCM');
    expect(chooseSuite(machine(ms, [0.2, 0, 0.1]).time)).toBe('AESGCM');
    expect(chooseSuite(machine(ms, [9, 0, 5, 0.1, 7]).time)).toBe('AESGCM');
  });

  it('takes two rounds at least, 24 at most, and no more of them once 3 ms are spent', () => {
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

  it('is one of the two on this machine, and is measured once in the life of the process', () => {
    const first = preferredSuite(() => performance.now());
    expect(['ChaChaPoly', 'AESGCM']).toContain(first);
    const again = preferredSuite(() => {
      throw new Error('measured again');
    });
    expect(again).toBe(first);
  });
});
