/** Answers to the challenges of proxies, by the vectors of their standards. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from '../../../src/transport/proxy/challenges.ts';
import { answerDigest, strongestDigest } from '../../../src/transport/proxy/digest.ts';
import { md4 } from '../../../src/transport/proxy/md4.ts';
import { ntlmNegotiate, ntlmResponses, readNtlmChallenge } from '../../../src/transport/proxy/ntlm.ts';
import { ProxyAuthentication } from '../../../src/transport/proxy/proxy-authentication.ts';
import { ProxyCredentials } from '../../../src/transport/proxy/proxy-credentials.ts';
import { WrongPasswords } from '../../../src/transport/proxy/wrong-passwords.ts';

describe('Proxy-Authenticate', () => {
  it('is read as a list of challenges, with commas inside and between them', () => {
    const found = parseChallenges([
      'Negotiate, NTLM, Digest realm="a, \\"b\\"", nonce=xyz , qop="auth,auth-int", Basic realm="c"',
      'NTLM TlRMTVNTUAAC==, Bearer',
    ]);
    expect(found.map(({ scheme, token, parameters }) => [scheme, token, Object.fromEntries(parameters)])).toEqual([
      ['Negotiate', '', {}],
      ['NTLM', '', {}],
      ['Digest', '', { realm: 'a, "b"', nonce: 'xyz', qop: 'auth,auth-int' }],
      ['Basic', '', { realm: 'c' }],
      ['NTLM', 'TlRMTVNTUAAC==', {}],
      ['Bearer', '', {}],
    ]);
  });

  it('may be any text', () => {
    fc.assert(fc.property(fc.array(fc.string()), (values) => parseChallenges(values).length <= 16));
  });
});

describe('Digest', () => {
  const credentials = new ProxyCredentials('Mufasa', 'Circle of Life');
  const request = {
    method: 'GET',
    uri: '/dir/index.html',
    cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
  };
  const challenges = (algorithm: string): string =>
    `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=${algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
  const answer = (value: string): string => {
    const challenge = strongestDigest(parseChallenges([value]));
    return challenge === undefined ? '' : answerDigest(challenge, credentials, request);
  };

  it.each([
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
  ])('answers as RFC 7616 §3.9.1 with %s', (algorithm, response) => {
    const header = answer(challenges(algorithm));
    expect(header).toContain(`response="${response}"`);
    expect(header).toContain('opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"');
  });

  it('prefers SHA-256, and leaves out what it does not know', () => {
    const all = ['MD5', 'SHA-9000', 'SHA-256'].map(challenges).join(', ');
    expect(strongestDigest(parseChallenges([all]))?.parameters.get('algorithm')).toBe('SHA-256');
    expect(answer('Digest realm="a", nonce="b", qop="auth-int"')).toBe('');
  });

  it('sends the name of the account as a quoted string', () => {
    const [challenge] = parseChallenges(['Digest realm="a", nonce="b"']);
    const account = new ProxyCredentials('CORP\\an"n', 'x');
    if (challenge === undefined) throw new Error('no challenge');
    expect(answerDigest(challenge, account, request)).toContain('username="CORP\\\\an\\"n"');
  });
});

describe('NTLM', () => {
  it.each([
    ['', '31d6cfe0d16ae931b73c59d7e0c089c0'],
    ['abc', 'a448017aaf21d8525fc10ae87aa6729d'],
    ['message digest', 'd9130a8164549fe818874806e1c7014b'],
    ['1234567890'.repeat(8), 'e33b4ddc9c38f2199c3e7b164fcc0536'],
  ])('has the MD4 of RFC 1320 §A.5 for %j', (text, digest) => {
    expect(md4(Buffer.from(text)).toString('hex')).toBe(digest);
  });

  it('responds as MS-NLMP §4.2.4', () => {
    const pair = (id: number, text: string): Buffer => {
      const value = Buffer.from(text, 'utf16le');
      const head = Buffer.alloc(4);
      head.writeUInt16LE(id, 0);
      head.writeUInt16LE(value.length, 2);
      return Buffer.concat([head, value]);
    };
    const { lm, nt } = ntlmResponses(
      {
        serverChallenge: Buffer.from('0123456789abcdef', 'hex'),
        flags: 0,
        targetInfo: Buffer.concat([pair(2, 'Domain'), pair(1, 'Server'), pair(0, '')]),
      },
      { domain: 'Domain', user: 'User', password: 'Password' },
      { time: -11_644_473_600_000, clientChallenge: Buffer.alloc(8, 0xaa) },
    );
    expect(nt.subarray(0, 16).toString('hex')).toBe('68cd0ab851e51c96aabc927bebef6a1c');
    expect(lm.toString('hex')).toBe('86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa');
  });

  it('reads any message of type 2, or none', () => {
    expect(readNtlmChallenge(ntlmNegotiate())).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const message = Buffer.concat([Buffer.from('NTLMSSP\0\x02\0\0\0', 'latin1'), bytes]);
        const read = readNtlmChallenge(message.toString('base64'));
        expect(read === undefined || read.serverChallenge.length === 8).toBe(true);
      }),
    );
  });
});

describe('the answer to a 407', () => {
  const credentials = new ProxyCredentials('ann', 'secret');
  const begin = (options: { hasCommand?: boolean; credentials?: ProxyCredentials | undefined } = {}) =>
    new ProxyAuthentication({
      ...{ credentials, hasCommand: false, uri: 'relay:443', random: (n) => Buffer.alloc(n, 7), time: () => 0 },
      ...options,
    });
  const digest = 'Digest realm="r", nonce="n", qop="auth"';

  it.each([
    [['Basic realm="r"'], /^Basic YW5uOnNlY3JldA==$/],
    [['Basic realm="r"', 'NTLM'], /^NTLM TlRMTVNTUAAB/],
    [['Negotiate', 'NTLM', digest, 'Basic realm="r"'], /^Digest username="ann"/],
  ])('is by the strongest scheme of %j', (offered, header) => {
    const step = begin().handleChallenges(offered);
    expect(step.kind === 'answer' && step.header).toMatch(header);
  });

  it('names what the proxy offers where there are no credentials, or none for it', () => {
    expect(begin({ credentials: undefined }).handleChallenges([digest, 'NTLM'])).toEqual({
      kind: 'cannot',
      schemes: ['Digest', 'NTLM'],
    });
    expect(begin().handleChallenges(['Negotiate'])).toEqual({ kind: 'cannot', schemes: ['Negotiate'] });
  });

  it('is that of the command for a scheme that wstun does not speak, and for all without credentials', () => {
    const asked = (options: Parameters<typeof begin>[0], offered: string[]) => {
      const step = begin(options).handleChallenges(offered);
      return step.kind === 'ask-command' ? step.challenge.text : step.kind;
    };
    expect(asked({ hasCommand: true }, ['NTLM', 'Negotiate abc='])).toBe('Negotiate abc=');
    expect(asked({ hasCommand: true }, ['NTLM'])).toBe('answer');
    expect(asked({ hasCommand: true, credentials: undefined }, ['NTLM', 'Basic realm="r"'])).toBe('NTLM');
  });

  it('is rejected the second time, but a stale nonce is only replaced', () => {
    const basic = begin();
    basic.handleChallenges(['Basic realm="r"']);
    expect(basic.handleChallenges(['Basic realm="r"'])).toEqual({ kind: 'rejected', scheme: 'basic' });
    const one = begin();
    one.handleChallenges([digest]);
    expect(one.handleChallenges(['Digest realm="r", nonce="m", qop="auth", stale=TRUE'])).toMatchObject({
      kind: 'answer',
      header: expect.stringContaining('nonce="m"'),
    });
    expect(one.handleChallenges([digest])).toEqual({ kind: 'rejected', scheme: 'digest' });
  });

  it('asks a command three times at most', () => {
    const one = begin({ hasCommand: true });
    const kinds = [1, 2, 3, 4].map(() => one.handleChallenges(['Negotiate']).kind);
    expect(kinds).toEqual(['ask-command', 'ask-command', 'ask-command', 'rejected']);
  });

  it('ends after a bounded number of steps, whatever the proxy sends', () => {
    const offer = fc.constantFrom(digest, `${digest}, stale=true`, 'NTLM', 'Basic realm="r"', 'Negotiate', 'x y z');
    fc.assert(
      fc.property(fc.array(fc.array(offer), { minLength: 8, maxLength: 8 }), fc.boolean(), (offers, hasCommand) => {
        const one = begin({ hasCommand });
        const end = offers.findIndex((offered) => ['cannot', 'rejected'].includes(one.handleChallenges(offered).kind));
        expect(end).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('credentials that a proxy has rejected', () => {
  it('are sent again after 1, 10 and 30 minutes, and others at once', () => {
    const wrong = new WrongPasswords();
    const waits = [0, 1, 2, 3].map(() => {
      wrong.handleRejected('a', 0);
      return wrong.waitMs('a', 0) / 60_000;
    });
    expect(waits).toEqual([1, 10, 30, 30]);
    expect(wrong.isLocked).toBe(true);
    expect(wrong.waitMs('b', 0)).toBe(0);
    expect(wrong.waitMs('a', 30 * 60_000)).toBe(0);
  });

  it('are forgotten when they are accepted', () => {
    const wrong = new WrongPasswords();
    wrong.handleRejected('a', 0);
    wrong.handleAccepted('a');
    expect([wrong.waitMs('a', 0), wrong.isLocked, wrong.isProven('a')]).toEqual([0, false, true]);
  });
});
