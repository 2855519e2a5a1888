import { describe, expect, it } from 'vitest';
import { CredentialCheck, parseCredentials } from '../../src/proxy/credentials.ts';
import { FailedAttemptLimiter } from '../../src/proxy/failed-attempts.ts';
import { faultOf } from '../support/faults.ts';

describe('parseCredentials', () => {
  it('parseCredentials splits at the first colon', () => {
    expect(parseCredentials('ann:a:b')).toEqual({ user: 'ann', pass: 'a:b' });
  });

  it.each(['', 'ann', ':pass', 'ann:', `${'u'.repeat(256)}:p`, `u:${'ö'.repeat(128)}`])(
    'parseCredentials rejects %j',
    (text) => {
      expect(faultOf(() => parseCredentials(text))).toBe('bad-credentials');
    },
  );
});

describe('CredentialCheck', () => {
  const check = new CredentialCheck({ user: 'ann', pass: 'a:ö' });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  it.each([
    [basic('ann:a:ö'), true],
    [basic('ann:a:ö').replace('Basic', 'bAsIc'), true],
    [basic('ann:a'), false],
    [basic('anna:ö'), false],
    [basic('ann'), false],
    ['Basic', false],
    ['Basic !!!', false],
    ['Peer abc', false],
    [undefined, false],
  ])('acceptsBasic returns for %j: %s', (header, accepted) => {
    expect(check.acceptsBasic(header)).toBe(accepted);
  });
});

describe('wrong passwords', () => {
  const setUp = () => {
    const barred: string[] = [];
    const limit = new FailedAttemptLimiter((address, waitMs) => void barred.push(`${address} ${waitMs}`));
    const check = new CredentialCheck({ user: 'ann', pass: 'right' }, limit);
    const attempt = (address: string, pass: string, now: number) =>
      check.from(address).accepts(Buffer.from('ann'), Buffer.from(pass), now);
    let guesses = 0;
    const guess = (address: string, count: number, now: number) => {
      for (let i = 0; i < count; i++) attempt(address, `guess ${guesses++}`, now);
    };
    return { barred, attempt, guess };
  };

  it('ten wrong passwords are free, then each locks the address out, for twice as long up to a minute', () => {
    const { barred, attempt, guess } = setUp();
    guess('192.168.1.9', 10, 0);
    expect(barred).toEqual([]);
    let now = 0;
    for (const waitMs of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      guess('192.168.1.9', 1, now);
      expect(barred.at(-1)).toBe(`192.168.1.9 ${waitMs}`);
      expect(attempt('192.168.1.9', 'right', now + waitMs - 1)).toBe(false);
      now += waitMs;
    }
    expect(attempt('192.168.1.9', 'right', now)).toBe(true);
    guess('192.168.1.9', 10, now);
    expect(barred).toHaveLength(8);
  });

  it('wrong passwords count by address, and IPv6 addresses by /64', () => {
    const { attempt, guess } = setUp();
    guess('fd00:0:0:1::9', 11, 0);
    expect(attempt('fd00::1:0:0:0:77', 'right', 1)).toBe(false);
    expect(attempt('fd00:0:0:2::9', 'right', 1)).toBe(true);
    guess('::ffff:192.168.1.9', 11, 0);
    expect(attempt('192.168.1.9', 'right', 1)).toBe(false);
    expect(attempt('192.168.1.8', 'right', 1)).toBe(true);
  });

  it('the same wrong password, sent again and again, locks nobody out', () => {
    const { barred, attempt } = setUp();
    for (let i = 0; i < 1_000; i++) attempt('192.168.1.9', i % 2 ? 'old' : 'older', i);
    expect(barred).toEqual([]);
    expect(attempt('192.168.1.9', 'right', 1_000)).toBe(true);
  });

  it('an address that repeats a wrong password is remembered longer than 255 others that come after it', () => {
    const { attempt, guess } = setUp();
    guess('10.0.0.1', 10, 0);
    attempt('10.0.0.1', 'old', 0);
    for (let i = 0; i < 200; i++) guess(`10.1.0.${i}`, 1, 0);
    attempt('10.0.0.1', 'old', 1_000);
    for (let i = 0; i < 200; i++) guess(`10.2.0.${i}`, 1, 1_000);
    guess('10.0.0.1', 1, 1_000);
    expect(attempt('10.0.0.1', 'right', 1_001)).toBe(false);
  });

  it('wrong passwords are forgotten after ten minutes, and remembered for at most 256 addresses', () => {
    const { barred, attempt, guess } = setUp();
    guess('192.168.1.9', 11, 0);
    guess('192.168.1.9', 10, 1_000 + 600_000);
    expect(barred).toHaveLength(1);
    guess('10.0.0.1', 11, 0);
    for (let i = 0; i < 256; i++) guess(`10.1.0.${i}`, 1, 0);
    expect(attempt('10.0.0.1', 'right', 1)).toBe(true);
  });
});
