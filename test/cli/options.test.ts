import { expect, it } from 'vitest';
import { parseCount } from '../../src/cli/options.ts';

it.each(['0', '1', '64', '999999', '1000000'])('%s is a count', (text) => {
  expect(parseCount(text)).toBe(Number(text));
});

it.each(['', '-1', '1.5', '1e3', ' 1', '0x10', '1000001', '9999999', 'many'])('%j is no count', (text) => {
  expect(() => parseCount(text)).toThrow('WSTUN-E101');
});
