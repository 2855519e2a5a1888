import { describe, expect, it } from 'vitest';
import { formatBytes, formatDuration, formatSpeed } from '../../src/tether/page/format.ts';

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
    [0, '0 kbit/s'],
    [1_000, '8 kbit/s'],
    [124_000, '992 kbit/s'],
    [125_000, '1.0 Mbit/s'],
    [1_250_000, '10 Mbit/s'],
    [125_000_000, '1000 Mbit/s'],
  ])('the page shows %d bytes per second as %s', (bytes, text) => {
    expect(said(formatSpeed(bytes))).toBe(text);
  });

  it.each([
    [0, '0 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h 0 min'],
    [90_000_000, '25 h 0 min'],
  ])('the page shows %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
