import { expect, it } from 'vitest';
import { reportOf } from '../../src/cli/doctor-report.ts';

const FINDINGS = { checks: [], fault: undefined, remark: undefined, through: undefined, isDetour: false, ms: 1 };

function optionsIn(given: Readonly<Record<string, unknown>>): unknown {
  const { about } = reportOf(FINDINGS, { hasHeaders: false, ...given }, {});
  return (about as { readonly options: unknown }).options;
}

it.each([
  ['http://me:horse battery@proxy:8080', 'http://…@proxy:8080'],
  ['me:horse/battery@proxy', '…@proxy'],
  ['socks5://me:horse@battery@proxy', 'socks5://…@proxy'],
  ['proxy:8080', 'proxy:8080'],
])('the report of wstun doctor has no password of a proxy, whatever characters it has: %s', (proxy, shown) => {
  expect(optionsIn({ proxy })).toEqual({ hasHeaders: false, proxy: shown });
});

it('the report of wstun doctor says of secrets only that they were given', () => {
  const given = { user: { user: 'me', pass: 'horse' }, header: ['Cookie: horse'], invite: 'wstun1_horse' };
  const options = optionsIn({ ...given, hasHeaders: true, proxyAuthCommand: 'echo horse' });
  expect(options).toEqual({
    ...{ user: 'given', header: 'given', invite: 'given', proxyAuthCommand: 'given' },
    hasHeaders: true,
  });
});
