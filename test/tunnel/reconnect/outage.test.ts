import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FAULTS, type FaultName, WstunError } from '../../../src/errors.ts';
import { Backoff } from '../../../src/tunnel/reconnect/backoff.ts';
import { Outage } from '../../../src/tunnel/reconnect/outage.ts';

const MINUTE = 60_000;

function begin(options: { readonly once?: boolean } = {}) {
  const outage = new Outage({ backoff: new Backoff(), ...options });
  /** The wait, or the fault that is final. */
  const fail = (fault: FaultName, now: number, random = 1): number | string => {
    const verdict = outage.handleFailure(new WstunError(fault), now, random);
    return 'final' in verdict ? verdict.final.fault : verdict.waitMs;
  };
  return { outage, fail };
}

describe('Outage', () => {
  it('Outage finds only proved failures final: new keys, or another version', () => {
    for (const fault of Object.keys(FAULTS) as FaultName[]) {
      const { fail } = begin();
      let now = 0;
      for (let i = 0; i < 200; i++) {
        const outcome = fail(fault, now);
        if (fault === 'keys-rotated' || fault === 'bad-version') expect(outcome).toBe(fault);
        // The one that is judged by how long it stands.
        else if (fault === 'access-removed' && now >= MINUTE) expect(outcome).toBe(fault);
        else expect(outcome).toBeLessThanOrEqual(MINUTE);
        now += typeof outcome === 'number' ? outcome : 0;
      }
    }
  });

  it('Outage waits up to a minute after refusals, and half of that where nothing answers', () => {
    const { fail } = begin();
    const waits = Array.from({ length: 8 }, () => fail('relay-refused', 0));
    expect(waits).toEqual([0, 1000, 3000, 7000, 15_000, 31_000, 60_000, 60_000]);
    expect(Array.from({ length: 8 }, () => begin().fail('relay-unreachable', 0))).toEqual(new Array(8).fill(0));
  });
});

describe('the proof that an access was removed', () => {
  const proof = new WstunError('access-removed');

  it('the proof that an access was removed is final after a minute of nothing but refusals, to the millisecond', () => {
    const { outage, fail } = begin();
    outage.handleEstablished();
    outage.noteRemoval(proof, 0);
    let now = 0;
    const times: number[] = [];
    for (;;) {
      const outcome = fail('relay-refused', now);
      if (typeof outcome === 'string') break;
      now += outcome;
      times.push(now);
    }
    expect(fail('relay-refused', now)).toBe('access-removed');
    expect(times).toEqual([0, 1000, 4000, 11_000, 26_000, 57_000, 60_000]);
  });

  it('the proof that an access was removed no longer counts when a session is established again', () => {
    const { outage, fail } = begin();
    outage.noteRemoval(proof, 0);
    expect(fail('relay-refused', 30_000)).toBe(0);
    outage.handleEstablished();
    expect(fail('relay-refused', 3 * MINUTE)).toBe(1000);
  });

  it('the minute after the proof begins anew after a failure that is no refusal: a relay that restarts, a lost network', () => {
    for (const other of ['relay-unreachable', 'relay-odd-answer', 'exit-absent', 'handshake-failed'] as const) {
      const { outage, fail } = begin();
      outage.noteRemoval(proof, 0);
      fail('relay-refused', 59_000);
      fail(other, 59_500);
      expect(fail('relay-refused', MINUTE)).toBeTypeOf('number');
      expect(fail('access-removed', 2 * MINUTE - 1)).toBe(1);
      expect(fail('relay-refused', 2 * MINUTE)).toBe('access-removed');
    }
  });

  it('refusals without the proof are never final, in whatever order failures come', () => {
    const faults = fc.constantFrom(
      ...([
        'relay-refused',
        'relay-odd-answer',
        'relay-unreachable',
        'exit-absent',
        'link-lost',
        'session-unknown',
      ] as const),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(faults, fc.nat({ max: 600_000 })), { maxLength: 60 }), (failures) => {
        const { fail } = begin();
        let now = 0;
        for (const [fault, later] of failures) {
          now += later;
          expect(fail(fault, now)).toBeTypeOf('number');
        }
      }),
      { seed: 12 },
    );
  });
});

describe('Outage with `once`', () => {
  it('with `once` any failure of the first attempt is final', () => {
    for (const fault of ['relay-refused', 'relay-unreachable', 'relay-untrusted', 'exit-absent'] as const)
      expect(begin({ once: true }).fail(fault, 0)).toBe(fault);
  });

  it('with `once` failures after something was established are final when they have lasted for 10 s', () => {
    const { outage, fail } = begin({ once: true });
    outage.handleEstablished();
    expect(fail('link-lost', 0)).toBe(0);
    expect(fail('relay-refused', 9_999)).toBe(1000);
    outage.handleEstablished();
    expect(fail('relay-refused', 20_000)).toBe(3000);
    expect(fail('relay-unreachable', 30_000)).toBe('relay-unreachable');
  });
});
