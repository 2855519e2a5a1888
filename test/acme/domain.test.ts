import { expect, it } from 'vitest';
import { parseDomains } from '../../src/acme/domain.ts';
import { faultOf } from '../support/faults.ts';

it.each([
  [['relay.example.org'], ['relay.example.org']],
  [
    ['Relay.Example.ORG.', 'relay.example.org', 'www.example.org'],
    ['relay.example.org', 'www.example.org'],
  ],
  [['bücher.example'], ['xn--bcher-kva.example']],
])('the domains %j become the names %j of a certificate', (texts, names) => {
  expect(parseDomains(texts)).toEqual(names);
});

it.each([
  ['192.0.2.1', 'IP address'],
  ['[2001:db8::1]', 'IP address'],
  ['2001:db8::1', 'IP address'],
  ['*.example.org', 'wildcard'],
  ['localhost', 'no dot'],
  ['https://relay.example.org', 'not a plain name'],
  ['relay.example.org:443', 'not a plain name'],
  ['relay example.org', 'not a plain name'],
  ['relay..example.org', 'not a plain name'],
  ['-relay.example.org', 'not a plain name'],
  ['0x7f.1', 'not a plain name'],
  [`${'a'.repeat(64)}.example.org`, 'not a plain name'],
  ['', 'not a plain name'],
])('no certificate is requested for %s, because it is: %s', (text, reason) => {
  expect(() => parseDomains([text])).toThrow(reason);
  expect(faultOf(() => parseDomains([text]))).toBe('bad-domain');
});

it('a certificate has at most a hundred names', () => {
  const names = Array.from({ length: 101 }, (_, n) => `r${n}.example.org`);
  expect(parseDomains(names.slice(0, 100))).toHaveLength(100);
  expect(faultOf(() => parseDomains(names))).toBe('bad-domain');
  expect(faultOf(() => parseDomains([]))).toBe('bad-domain');
});
