import { expect, it } from 'vitest';
import { faultOfAnswer, faultOfChallenge, isBadNonce } from '../../src/acme/acme-fault.ts';
import { retryAfter } from '../../src/acme/library.ts';

const problem = (type: string, detail = 'the reason', more: object = {}) => ({
  type: `urn:ietf:params:acme:error:${type}`,
  detail,
  ...more,
});

it.each([
  [429, problem('rateLimited'), 'acme-rate-limited'],
  [403, problem('caa'), 'acme-caa-forbids'],
  [400, problem('rejectedIdentifier'), 'acme-rejected'],
  [403, problem('unauthorized'), 'acme-rejected'],
  [429, problem('compound', 'several', { subproblems: [problem('rejectedIdentifier')] }), 'acme-rate-limited'],
  [403, problem('compound', 'several', { subproblems: [problem('caa')] }), 'acme-caa-forbids'],
  [503, '<html>', 'acme-rejected'],
  [500, undefined, 'acme-rejected'],
])('an answer with HTTP %d and %j is the fault %s', (status, body, fault) => {
  expect(faultOfAnswer(status, body, 5_000)).toMatchObject({ fault, retryAfterMs: 5_000 });
});

it.each([
  ['connection', 'acme-port-closed'],
  ['dns', 'acme-name-elsewhere'],
  ['unauthorized', 'acme-name-elsewhere'],
  ['incorrectResponse', 'acme-name-elsewhere'],
  ['tls', 'acme-name-elsewhere'],
  ['caa', 'acme-caa-forbids'],
  ['malformed', 'acme-rejected'],
])('a challenge that fails with "%s" is the fault %s, with name and kind', (type, fault) => {
  const found = faultOfChallenge('relay.example.org', 'http-01', problem(type));
  expect(found).toMatchObject({ fault, detail: 'relay.example.org (http-01): the reason' });
  expect(faultOfChallenge('a.example', 'http-01', undefined)).toMatchObject({ fault: 'acme-rejected' });
});

it('what an authority says becomes one line of bounded length without tokens', () => {
  const token = 'LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0';
  const { detail } = faultOfAnswer(
    400,
    problem('malformed', `expected\n"${token}.${token}"\u001b[31m ${'x '.repeat(999)}`),
    0,
  );
  expect(detail).not.toContain(token);
  expect(detail).toMatch(/^expected "…\.…" \[31m [x ]+…$/);
  expect(detail.length).toBeLessThanOrEqual(301);
});

it('only a bad nonce is left to the library, which takes a new one', () => {
  expect(isBadNonce(400, problem('badNonce'))).toBe(true);
  expect(isBadNonce(400, problem('malformed'))).toBe(false);
  expect(isBadNonce(403, problem('badNonce'))).toBe(false);
});

it.each<[unknown, number]>([
  ['120', 120_000],
  [undefined, 0],
  ['soon', 0],
  ['Tue, 14 Nov 2023 22:14:20 GMT', 60_000],
  ['Tue, 14 Nov 2023 22:12:20 GMT', 0],
])('Retry-After: %s means %d ms', (header, ms) => {
  expect(retryAfter(header, 1_700_000_000_000)).toBe(ms);
});
