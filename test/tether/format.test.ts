import { describe, expect, it } from 'vitest';
import { formatBytes, formatSince, formatSpeed } from '../../src/tether/page/format.ts';

const said = ({ value, unit }: { readonly value: string; readonly unit: string }) => `${value} ${unit}`;

describe('numbers on the page', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [999.6, '1.0 KB'],
    [1_000, '1.0 KB'],
    [9_949, '9.9 KB'],
    [9_951, '10 KB'],
    [999_499, '999 KB'],
    [999_500, '1.0 MB'],
    [87_000_000, '87 MB'],
    [2e15, '2000 TB'],
  ])('the page shows %d bytes as %s', (bytes, text) => {
    expect(said(formatBytes(bytes))).toBe(text);
  });

  it.each([
    [0, '– '],
    [62, '– '],
    [63, '1 kbit/s'],
    [1_000, '8 kbit/s'],
    [124_000, '992 kbit/s'],
    [125_000, '1.0 Mbit/s'],
    [1_250_000, '10 Mbit/s'],
    [125_000_000, '1000 Mbit/s'],
  ])('the page shows %d bytes per second as %s', (bytes, text) => {
    expect(said(formatSpeed(bytes))).toBe(text);
  });

  const HOUR_MS = 3_600_000;
  const since = Date.UTC(2026, 10, 30, 14, 2);
  it.each([
    ['en-GB', 0, '14:02'],
    ['en-US', 0, '2:02 PM'],
    ['de-DE', 19 * HOUR_MS, '14:02'],
    ['en-GB', 20 * HOUR_MS, 'Mon 14:02'],
  ])('the page shows when it began as its user writes times: %s, %d ms later', (locale, laterMs, text) => {
    const shown = formatSince(since, since + laterMs, { locale, timeZone: 'UTC' });
    expect(shown.replace(/[\u202f\u00a0]/g, ' ').replace(',', '')).toBe(text);
  });

  it('the page shows a dash until it has carried something', () => {
    expect(formatSince(undefined, 0)).toBe('–');
  });
});
