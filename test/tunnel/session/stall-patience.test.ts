import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StallPatience } from '../../../src/tunnel/session/stall-patience.ts';

const stallMs = (patience: StallPatience, now: number): number | undefined => patience.timesAt(now)?.stallMs;

describe('StallPatience', () => {
  it('StallPatience leaves a quiet link soon, later after a false alarm, and after two as late as without another relay', () => {
    const patience = new StallPatience();
    expect(patience.timesAt(0)).toEqual({ probeMs: 300, probeAnswerMs: 400, stallMs: 700 });
    patience.handleFalseAlarm(0);
    expect(stallMs(patience, 0)).toBe(1_400);
    patience.handleFalseAlarm(1_000);
    expect(stallMs(patience, 1_000)).toBeUndefined();
  });

  it('StallPatience forgets a false alarm after a minute, and after twice as long each time there was one', () => {
    const patience = new StallPatience();
    patience.handleFalseAlarm(0);
    expect([patience.changesAt, stallMs(patience, 59_999), stallMs(patience, 60_000)]).toEqual([60_000, 1_400, 700]);
    expect(patience.changesAt).toBe(Number.POSITIVE_INFINITY);
    patience.handleFalseAlarm(100_000);
    expect([stallMs(patience, 219_999), stallMs(patience, 220_000)]).toEqual([1_400, 700]);
  });

  it('StallPatience begins anew in another network', () => {
    const patience = new StallPatience();
    for (let i = 0; i < 5; i++) patience.handleFalseAlarm(0);
    patience.handleNetworkChanged();
    expect([stallMs(patience, 0), patience.changesAt]).toEqual([700, Number.POSITIVE_INFINITY]);
  });

  it('always: where each quick change is a false alarm, they become rarer, down to two an hour', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), (everyMs) => {
        const patience = new StallPatience();
        let quick = 0;
        for (let now = 0; now < 24 * 3_600_000; now += everyMs) {
          if (now > 20 * 3_600_000 && stallMs(patience, now) === 700) quick += 1;
          if (stallMs(patience, now) !== undefined) patience.handleFalseAlarm(now);
        }
        expect(quick).toBeLessThanOrEqual(8);
      }),
      { numRuns: 20 },
    );
  });
});
