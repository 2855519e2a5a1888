import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pauseAfter, renewalTime } from '../../src/acme/schedule.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const chances = fc.double({ min: 0, max: 1, noNaN: true });

it.each([
  [90 * DAY, 57 * DAY, 60 * DAY],
  [6 * DAY, 3.8 * DAY, 4 * DAY],
  [24 * HOUR, 15.2 * HOUR, 16 * HOUR],
])('a certificate of %d ms is renewed between %d and %d ms after it begins', (life, earliest, latest) => {
  expect(renewalTime({ from: 1e12, until: 1e12 + life }, 0)).toBeCloseTo(1e12 + latest, 0);
  expect(renewalTime({ from: 1e12, until: 1e12 + life }, 1)).toBeCloseTo(1e12 + earliest, 0);
});

it('a renewal is always before the end of a certificate and after its half, whatever its life', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1000, max: 1e12 }), chances, (life, chance) => {
      const time = renewalTime({ from: 0, until: life }, chance);
      expect(time).toBeGreaterThan(life / 2);
      expect(time).toBeLessThan(life);
    }),
  );
});

it('the pauses between failed attempts double from a minute to six hours', () => {
  const pauses = Array.from({ length: 12 }, (_, failures) => pauseAfter(failures + 1, 0) / MINUTE);
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
  expect(pauseAfter(5_000, 1) / MINUTE).toBe(450);
});

it('a pause is never shorter than what the authority asks for, up to a week', () => {
  expect(pauseAfter(1, 0, 3 * HOUR)).toBe(3 * HOUR);
  expect(pauseAfter(1, 0, 1000 * DAY)).toBe(7 * DAY);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), chances, fc.integer({ min: 0, max: 7 * DAY }), (n, chance, asked) => {
      const pause = pauseAfter(n, chance, asked);
      expect(pause).toBeGreaterThanOrEqual(Math.max(MINUTE, asked));
      expect(pause).toBeLessThanOrEqual(1.25 * Math.max(6 * HOUR, asked));
    }),
  );
});
