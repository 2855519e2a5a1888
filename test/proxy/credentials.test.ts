import { describe, expect, it } from 'vitest';
import { CredentialCheck, parseCredentials } from '../../src/proxy/credentials.ts';
import { faultOf } from '../support/faults.ts';

describe('parseCredentials', () => {
  it('cuts at the first colon', () => {
    expect(parseCredentials('ann:a:b')).toEqual({ user: 'ann', pass: 'a:b' });
  });

  it.each(['', 'ann', ':pass', 'ann:', `${'u'.repeat(256)}:p`, `u:${'ö'.repeat(128)}`])('refuses %j', (text) => {
    expect(faultOf(() => parseCredentials(text))).toBe('bad-credentials');
  });
});

describe('CredentialCheck', () => {
  const check = new CredentialCheck({ user: 'ann', pass: 'a:ö' });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  it.each([
    [basic('ann:a:ö'), true],
    [basic('ann:a:ö').replace('Basic', 'bAsIc'), true],
    [basic('ann:a'), false],
    [basic('anna:ö'), false],
    [basic('ann'), false],
    ['Basic', false],
    ['Basic !!!', false],
    ['Bearer abc', false],
    [undefined, false],
  ])('takes %j: %s', (header, accepted) => {
    expect(check.acceptsBasic(header)).toBe(accepted);
  });
});
