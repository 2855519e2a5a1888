import { expect, it } from 'vitest';
import { parseCount, parseTether, parseTransparent } from '../../src/cli/options.ts';

it.each(['0', '1', '64', '999999', '1000000'])('--max-pending-per-address accepts %s', (text) => {
  expect(parseCount(text)).toBe(Number(text));
});

it.each(['', '-1', '1.5', '1e3', ' 1', '0x10', '1000001', '9999999', 'many'])(
  '--max-pending-per-address rejects %j',
  (text) => {
    expect(() => parseCount(text)).toThrow('WSTUN-E101');
  },
);

const TETHER = { host: '192.168.1.5', port: 8808 };

it.each([
  ['wstun1_x', undefined, { invite: 'wstun1_x', tether: undefined }],
  ['wstun1_x', true, { invite: 'wstun1_x', tether: true }],
  ['wstun1_x', '192.168.1.5:8808', { invite: 'wstun1_x', tether: TETHER }],
  [undefined, '192.168.1.5:8808', { invite: undefined, tether: TETHER }],
  [undefined, 'wstun1_x', { invite: 'wstun1_x', tether: true }],
  ['yyyy', 'wstun1_x', { invite: 'wstun1_x yyyy', tether: true }],
  [undefined, 'wstun client wstun1_x', { invite: 'wstun client wstun1_x', tether: true }],
  ['client wstun1_x', 'wstun', { invite: 'client wstun1_x', tether: true }],
] as const)('the invite %j and --tether %j mean what was meant', (invite, tether, expected) => {
  expect(parseTether(invite, tether)).toEqual(expected);
});

it('--tether rejects a value that is not an address', () => {
  expect(() => parseTether('wstun1_x', '8808')).toThrow('WSTUN-E102');
  expect(() => parseTether('wstun1_x', 'wstun1_y')).toThrow('WSTUN-E102');
});

it('the place of a transparent proxy is a port, or an address with one; what is neither is told both forms', () => {
  expect(parseTransparent('7893')).toEqual({ port: 7893 });
  expect(parseTransparent('[::1]:7893')).toEqual({ host: '::1', port: 7893 });
  for (const text of ['', '0', '65536', 'x', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536'])
    expect(() => parseTransparent(text)).toThrow('Write PORT, from 1 to 65535, or ADDRESS:PORT: 7893.');
});
