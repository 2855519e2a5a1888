import { describe, expect, it } from 'vitest';
import { LockOut } from '../../../src/limits/lock-out.ts';
import { CODE_LIFETIME_MS, PairingSecrets } from '../../../src/tether/laptop/pairing-secrets.ts';
import { PAIRING_ATTEMPTS } from '../../../src/tether/laptop/tether-limits.ts';
import { createSecret, secretId } from '../../../src/tether/shared/pairing.ts';

describe('pairing secrets', () => {
  it('a code pairs once, and its page may pair again any number of times', () => {
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

  it('a code expires, also between the hello and the proof', () => {
    const secrets = new PairingSecrets();
    const code = secrets.newCode(0);
    expect(secrets.find(secretId(code), CODE_LIFETIME_MS - 1)).toEqual(code);
    expect(secrets.claim(code, createSecret(), CODE_LIFETIME_MS)).toBeUndefined();
    expect(secrets.find(secretId(code), CODE_LIFETIME_MS)).toBeUndefined();
  });

  it('only the newest code is valid', () => {
    const secrets = new PairingSecrets();
    const old = secrets.newCode(0);
    const code = secrets.newCode(1);
    expect(secrets.find(secretId(old), 2)).toBeUndefined();
    expect(secrets.claim(old, createSecret(), 2)).toBeUndefined();
    expect(secrets.claim(code, createSecret(), 2)?.kind).toBe('code');
  });

  it('only one of two pages that use a code at once gets it', () => {
    const secrets = new PairingSecrets();
    const code = secrets.newCode(0);
    expect(
      [secrets.claim(code, createSecret(), 1), secrets.claim(code, createSecret(), 1)].filter(Boolean),
    ).toHaveLength(1);
  });

  it('the secrets of sixteen pages are remembered', () => {
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

describe('failed attempts to pair', () => {
  it('after three failed attempts an address waits a second, doubling to a minute, and other addresses do not', () => {
    const attempts = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    let now = 0;
    const waits = Array.from({ length: 12 }, () => {
      const { waitMs } = attempts.fail('a', now);
      expect(attempts.isLocked('a', now)).toBe(waitMs > 0);
      expect(attempts.isLocked('a', now + waitMs)).toBe(false);
      now += waitMs;
      return waitMs / 1_000;
    });
    expect(waits).toEqual([0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(attempts.isLocked('b', now)).toBe(false);
    expect(attempts.fail('a', now).failures).toBe(13);
  });

  it('failed attempts are forgotten after a success, or after ten minutes', () => {
    const attempts = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    for (let i = 0; i < 5; i++) attempts.fail('a', 0);
    attempts.clear('a');
    expect(attempts.isLocked('a', 1)).toBe(false);
    for (let i = 0; i < 5; i++) attempts.fail('b', 0);
    expect(attempts.fail('b', 2_000 + 10 * 60_000)).toEqual({ failures: 1, waitMs: 0 });
  });

  it('failed attempts of many addresses take little memory', () => {
    const attempts = new LockOut(PAIRING_ATTEMPTS, () => undefined);
    for (let i = 0; i < 5; i++) attempts.fail('first', 0);
    for (let i = 0; i < 256; i++) attempts.fail(`fe80::${i}`, 0);
    expect(attempts.isLocked('first', 1)).toBe(false);
  });
});
