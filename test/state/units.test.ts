import { expect, it } from 'vitest';
import { BYTE_UNITS, RATE_UNITS, readUnits, writeUnits } from '../../src/state/units.ts';

it.each([
  ['20mbit', 20_000_000],
  ['20Mbit', 20_000_000],
  ['20Mbit/s', 20_000_000],
  ['20 Mbits/s', 20_000_000],
  ['20Mb/s', 20_000_000],
  ['20mbps', 20_000_000],
  ['20M', 20_000_000],
  ['1gbit', 1_000_000_000],
  ['8kbps', 8_000],
  ['20MB/s', undefined],
  ['20MB', undefined],
  ['20mb', undefined],
  ['20', undefined],
  ['1.5mbit', undefined],
  ['-1mbit', undefined],
  ['20mbit/h', undefined],
  ['20  mbit', undefined],
])('readUnits reads the rate %s as %s bits a second', (text, bits) => {
  expect(readUnits(text, RATE_UNITS)).toBe(bits);
});

it.each([
  ['10GB', 10_000_000_000],
  ['10gb', 10_000_000_000],
  ['10G', 10_000_000_000],
  ['10 GB', 10_000_000_000],
  ['3gib', 3 * 2 ** 30],
  ['3Gi', 3 * 2 ** 30],
  ['500kb', 500_000],
  ['10', undefined],
  ['10gbit', undefined],
  ['10GB/s', undefined],
])('readUnits reads the quota %s as %s bytes', (text, bytes) => {
  expect(readUnits(text, BYTE_UNITS)).toBe(bytes);
});

it('writeUnits writes a value in its largest unit', () => {
  expect(writeUnits(readUnits('20Mbit/s', RATE_UNITS) ?? 0, RATE_UNITS)).toBe('20mbit');
  expect(writeUnits(readUnits('10g', BYTE_UNITS) ?? 0, BYTE_UNITS)).toBe('10GB');
});
