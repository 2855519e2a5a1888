import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  combineAnswers,
  DnsCache,
  FAILURE_TTL_MS,
  type FamilyAnswer,
  MAX_ANSWER_ADDRESSES,
  MAX_TTL_MS,
  MIN_TTL_MS,
  NEGATIVE_TTL_MS,
  PARTIAL_TTL_MS,
} from '../../src/exit/dns-cache.ts';
import { formatIp } from '../../src/net/ip.ts';

const found = (ttl: number, ...addresses: string[]): FamilyAnswer => ({
  kind: 'found',
  records: addresses.map((address) => ({ address, ttl })),
});
const UNKNOWN: FamilyAnswer = { kind: 'unknown' };
const EMPTY: FamilyAnswer = { kind: 'empty' };
const FAILED: FamilyAnswer = { kind: 'failed', code: 'ESERVFAIL' };

function short(v6: FamilyAnswer, v4: FamilyAnswer): [string, number] {
  const { answer, ttlMs } = combineAnswers(v6, v4);
  return [answer.kind === 'fault' ? answer.fault : answer.addresses.map(formatIp).join(' '), ttlMs];
}

describe('combineAnswers', () => {
  it('combineAnswers has both families, AAAA first, with the shortest TTL', () =>
    expect(short(found(60, 'fd00::1'), found(30, '10.0.0.1', '10.0.0.2'))).toEqual([
      'fd00::1 10.0.0.1 10.0.0.2',
      30_000,
    ]));

  it('combineAnswers works with one family', () => {
    expect(short(EMPTY, found(60, '1.1.1.1'))).toEqual(['1.1.1.1', 60_000]);
    expect(short(found(60, '2606::1'), UNKNOWN)).toEqual(['2606::1', 60_000]);
  });

  it('combineAnswers has a short TTL when the other family failed', () =>
    expect(short(FAILED, found(3600, '1.1.1.1'))).toEqual(['1.1.1.1', PARTIAL_TTL_MS]));

  it('combineAnswers limits the TTL on both sides', () => {
    expect(short(EMPTY, found(0, '1.1.1.1'))[1]).toBe(MIN_TTL_MS);
    expect(short(EMPTY, found(86_400, '1.1.1.1'))[1]).toBe(MAX_TTL_MS);
  });

  it('combineAnswers distinguishes a name that does not exist from one that could not be resolved', () => {
    expect(short(UNKNOWN, UNKNOWN)).toEqual(['dial-name-unknown', NEGATIVE_TTL_MS]);
    expect(short(FAILED, UNKNOWN)).toEqual(['dial-name-unknown', NEGATIVE_TTL_MS]);
    expect(short(EMPTY, EMPTY)).toEqual(['dial-name-failed', NEGATIVE_TTL_MS]);
    expect(short(EMPTY, FAILED)).toEqual(['dial-name-failed', FAILURE_TTL_MS]);
    expect(short(FAILED, FAILED)).toEqual(['dial-name-failed', FAILURE_TTL_MS]);
  });

  it('combineAnswers keeps a bounded number of addresses', () => {
    const many = Array.from({ length: 4000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
    const { answer } = combineAnswers(EMPTY, found(60, ...many));
    expect(answer.kind === 'addresses' && answer.addresses).toHaveLength(MAX_ANSWER_ADDRESSES);
  });
});

describe('DnsCache', () => {
  const answerOf = (detail: string) => ({
    kind: 'fault' as const,
    fault: 'dial-name-failed' as const,
    detail,
    next: true,
  });

  it('DnsCache does what a plain list with the same rules does, in any order of operations', () => {
    const operation = fc.record({
      set: fc.boolean(),
      name: fc.constantFrom(...'abcdef'),
      wait: fc.nat(3),
      ttl: fc.nat(8),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const cache = new DnsCache(3);
        let list: { name: string; detail: string; until: number }[] = [];
        let now = 0;
        for (const [i, { set, name, wait, ttl }] of operations.entries()) {
          now += wait;
          const known = list.find((entry) => entry.name === name);
          list = list.filter((entry) => entry.name !== name);
          if (set) {
            cache.set(name, { answer: answerOf(String(i)), ttlMs: ttl }, now);
            list = [...list, { name, detail: String(i), until: now + ttl }].slice(-3);
          } else {
            const live = known && now < known.until ? known : undefined;
            expect(cache.get(name, now)).toEqual(live && answerOf(live.detail));
            if (live) list.push(live);
          }
          expect(cache.size).toBe(list.length);
        }
      }),
      { seed: 2308, numRuns: 500 },
    );
  });
});
