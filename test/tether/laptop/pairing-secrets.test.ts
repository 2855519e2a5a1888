import { describe, expect, it } from 'vitest';
import { LockOut } from '../../../src/limits/lock-out.ts';
import { CODE_LIFETIME_MS, PairingSecrets } from '../../../src/tether/laptop/pairing-secrets.ts';
import { PAIRING_ATTEMPTS } from '../../../src/tether/laptop/tether-limits.ts';
import { createSecret, secretId } from '../../../src/tether/shared/pairing.ts';

describe('secrets', () => {
  it('let a code pair once, and its page again and again', () => {
    const secrets = new PairingSecrets();
    const code = secrets.newCode(0);
    const rejoin = createSecret();
    expect(secrets.find(secretId(code), 1)).toEqual(code);
    expect(secrets.claim(code, rejoin, 1)).toEqual({ kind: 'code', page: 'page 1' });
    expect(secrets.find(secretId(code), 2)).toBeUndefined();
    expect(secrets.claim(code, createSecret(), 2)).toBeUndefined();
    for (const now of [3, CODE_LIFETIME_MS * 1_000]) {
      expect(secrets.find(secretId(rejoin), now)).toEqual(rejoin);
      expect(secrets.claim(rejoin, createSecret(), now)).toEqual({ kind: 'page', page: 'page 1' });
    }
  });

  it('let a code expire, also between the hello and the proof', () => {
    const secrets = new PairingSecrets();
    const code = secrets.newCode(0);
    expect(secrets.find(secretId(code), CODE_LIFETIME_MS - 1)).toEqual(code);
    expect(secrets.claim(code, createSecret(), CODE_LIFETIME_MS)).toBeUndefined();
    expect(secrets.find(secretId(code), CODE_LIFETIME_MS)).toBeUndefined();
  });

  it('know only the newest code', () => {
    const secrets = new PairingSecrets();
    const old = secrets.newCode(0);
    const code = secrets.newCode(1);
    expect(secrets.find(secretId(old), 2)).toBeUndefined();
    expect(secrets.claim(old, createSecret(), 2)).toBeUndefined();
    expect(secrets.claim(code, createSecret(), 2)?.kind).toBe('code');
  });

  it('give a code to one of two who race for it', () => {
    const secrets = new PairingSecrets();
    const code = secrets.newCode(0);
    expect(
      [secrets.claim(code, createSecret(), 1), secrets.claim(code, createSecret(), 1)].filter(Boolean),
    ).toHaveLength(1);
  });

  it('remember sixteen pages', () => {
    const secrets = new PairingSecrets();
    const rejoins = Array.from({ length: 17 }, () => {
      const rejoin = createSecret();
      secrets.claim(secrets.newCode(0), rejoin, 0);
      return rejoin;
    });
    const known = rejoins.map((rejoin) => secrets.find(secretId(rejoin), 0) !== undefined);
    expect(known).toEqual([false, ...Array<boolean>(16).fill(true)]);
  });
});

describe('guesses', () => {
  it('are free three times, then cost a second, doubling to a minute, for that address alone', () => {
    const guesses = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    let now = 0;
    const waits = Array.from({ length: 12 }, () => {
      const { waitMs } = guesses.fail('a', now);
      expect(guesses.isLocked('a', now)).toBe(waitMs > 0);
      expect(guesses.isLocked('a', now + waitMs)).toBe(false);
      now += waitMs;
      return waitMs / 1_000;
    });
    expect(waits).toEqual([0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(guesses.isLocked('b', now)).toBe(false);
    expect(guesses.fail('a', now).failures).toBe(13);
  });

  it('are forgotten with a right secret, or after ten minutes', () => {
    const guesses = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    for (let i = 0; i < 5; i++) guesses.fail('a', 0);
    guesses.clear('a');
    expect(guesses.isLocked('a', 1)).toBe(false);
    for (let i = 0; i < 5; i++) guesses.fail('b', 0);
    expect(guesses.fail('b', 2_000 + 10 * 60_000)).toEqual({ failures: 1, waitMs: 0 });
  });

  it('of invented addresses take little memory', () => {
    const guesses = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    for (let i = 0; i < 5; i++) guesses.fail('first', 0);
    for (let i = 0; i < 256; i++) guesses.fail(`fe80::${i}`, 0);
    expect(guesses.isLocked('first', 1)).toBe(false);
  });
});
