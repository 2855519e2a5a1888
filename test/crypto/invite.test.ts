import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeInvite, encodeInvite, type Invite, withRelays } from '../../src/crypto/invite.ts';
import { createIdentity, Identity } from '../../src/crypto/keys.ts';
import { isPublicKey } from '../../src/crypto/public-key.ts';
import { parseRelayUrl } from '../../src/crypto/relay-url.ts';
import { badKeys } from '../support/crypto/low-order-points.ts';
import { faultOf } from '../support/faults.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

function sample(overrides: Partial<Invite> = {}): Invite {
  return {
    relayUrls: ['wss://relay.example.com/path'],
    relayGateKey: createIdentity().public.gate,
    exitSessionKey: createIdentity().public.session,
    exitName: undefined,
    peer: createIdentity(),
    ...overrides,
  };
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const publicKey = bytes32.filter(isPublicKey);
const anyInvite: fc.Arbitrary<Invite> = fc.record({
  relayUrls: fc.array(
    fc.webAuthority().map((host) => `wss://${host.toLowerCase()}`),
    { minLength: 1, maxLength: 8 },
  ),
  relayGateKey: publicKey,
  exitSessionKey: publicKey,
  exitName: fc.option(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/), { nil: undefined }),
  role: fc.constantFrom('client', 'exit', undefined),
  tlsPins: fc.array(bytes32, { maxLength: 8 }),
  peer: bytes32.map((secret) => new Identity(secret)),
});

/** With a right checksum and length: what another version could write. */
async function forge(version: number, fields: readonly [type: number, value: Uint8Array][]): Promise<string> {
  const { createHash } = await import('node:crypto');
  const parts = fields.map(([type, value]) =>
    Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]),
  );
  const body = Buffer.concat([Buffer.alloc(3), ...parts]);
  body.writeUInt8(version, 0);
  body.writeUInt16BE(body.length + 4, 1);
  const sum = createHash('sha256').update('wstun1_').update(body).digest().subarray(0, 4);
  return `wstun1_${Buffer.concat([body, sum]).toString('base64url')}`;
}

function goodFields(): [number, Uint8Array][] {
  return [
    [1, Buffer.from('wss://relay.example.com')],
    [2, Buffer.alloc(32, 1)],
    [3, Buffer.alloc(32, 2)],
    [5, Buffer.alloc(32, 3)],
  ];
}

describe('invites', () => {
  it('an invite is decoded to the same values, and needs no quotes in a shell', () => {
    fc.assert(
      fc.property(anyInvite, (invite) => {
        if (invite.relayUrls.some((url) => faultOf(() => parseRelayUrl(url)) !== undefined)) return;
        const text = encodeInvite(invite);
        expect(text).toMatch(/^wstun1_[A-Za-z0-9_-]+$/);
        const decoded = decodeInvite(text);
        expect(decoded.relayUrls).toEqual(invite.relayUrls.map(parseRelayUrl));
        expect(decoded.exitName).toBe(invite.exitName);
        expect(decoded.role).toBe(invite.role);
        expect(decoded.relayGateKey).toEqual(Uint8Array.from(invite.relayGateKey));
        expect(decoded.exitSessionKey).toEqual(Uint8Array.from(invite.exitSessionKey));
        expect(decoded.peer.exposeSecret()).toEqual(invite.peer.exposeSecret());
      }),
      { numRuns: 40 },
    );
  });

  it('an invite with other relays and pins stays what it is else, fields of later versions included', async () => {
    const pin = new Uint8Array(32).fill(7);
    const fields = goodFields();
    const text = await forge(1, [...fields, [200, Buffer.from('of a later version')], [7, new Uint8Array(32)]]);
    const next = withRelays(`  ${text}\n`, ['wss://a.test', 'wss://b.test'], [pin]);
    const [, ...rest] = fields;
    const expected = await forge(1, [
      [1, Buffer.from('wss://a.test')],
      [1, Buffer.from('wss://b.test')],
      ...rest,
      [200, Buffer.from('of a later version')],
      [7, pin],
    ]);
    expect(next).toBe(expected);
    const own = encodeInvite(sample({ tlsPins: [pin] }));
    expect(withRelays(own, decodeInvite(own).relayUrls, [pin])).toBe(own);
    expect(() => withRelays(own, [], [])).toThrow(RangeError);
    expect(faultOf(() => withRelays(own, ['https://a.test?x'], []))).toBe('bad-url');
  });

  it('decodeInvite reports an invite that is cut off anywhere', () => {
    for (const exitName of [undefined, 'a', 'ab']) {
      const text = encodeInvite(sample({ exitName }));
      expect(faultOf(() => decodeInvite(''))).toBe('invite-malformed');
      for (let length = 1; length < text.length; length++) {
        expect([length, faultOf(() => decodeInvite(text.slice(0, length)))]).toEqual([length, 'invite-incomplete']);
      }
    }
  });

  it('decodeInvite says how many characters of a cut invite are there', () => {
    const text = encodeInvite(sample());
    expect(() => decodeInvite(text.slice(0, 100))).toThrow(`100 of ${text.length} characters`);
  });

  it('decodeInvite never accepts an invite with one character changed', () => {
    const text = encodeInvite(sample());
    const EARLY = ['invite-mistyped', 'invite-malformed', 'invite-incomplete'];
    const wrong: string[] = [];
    for (let at = 0; at < text.length; at++) {
      for (const other of ALPHABET) {
        if (text[at] === other) continue;
        const fault = faultOf(() => decodeInvite(text.slice(0, at) + other + text.slice(at + 1)));
        const isRight = at >= 12 ? fault === 'invite-mistyped' : fault !== undefined && EARLY.includes(fault);
        if (!isRight) wrong.push(`${at} ${other} ${fault}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('decodeInvite reports text after an invite, and two swapped characters, as a typing error', () => {
    const text = encodeInvite(sample());
    expect(faultOf(() => decodeInvite(`${text}AAAA`))).toBe('invite-mistyped');
    expect(faultOf(() => decodeInvite(`${text}=`))).toBe('invite-mistyped');
    const at = [...text].findIndex((char, i) => i > 20 && char !== text[i + 1]);
    const swapped = text.slice(0, at) + text[at + 1] + text[at] + text.slice(at + 2);
    expect(faultOf(() => decodeInvite(swapped))).toBe('invite-mistyped');
  });

  it('decodeInvite reads an invite that is wrapped, indented, quoted or has invisible marks', () => {
    const invite = sample();
    const text = encodeInvite(invite);
    const wrapped = text.match(/.{1,40}/g) ?? [];
    for (const pasted of [
      wrapped.join('\n'),
      wrapped.join('\r\n  '),
      `  ${text}\t\n`,
      `"${text}"`,
      `'${text}'\n`,
      `“${text}”`,
      `\u200b${text}\ufeff`,
    ]) {
      expect(decodeInvite(pasted).peer.exposeSecret()).toEqual(invite.peer.exposeSecret());
    }
  });

  it('decodeInvite finds an invite in text that was pasted with it', () => {
    const invite = sample({ role: 'client' });
    const text = encodeInvite(invite);
    const [head, tail] = [text.slice(0, 76), text.slice(76)];
    for (const pasted of [
      `wstun client ${text}`,
      `wstun client wstun client ${text}`,
      `wstun client ${text}wstun client ${text}`,
      text + text,
      `  $ wstun client ${text} --tether`,
      `export WSTUN_INVITE="${text}"; wstun client`,
      `Here it is: ${text}. It is a secret, and is shown only now.`,
      `(${text})`,
      `<code>${text}</code><br>`,
      `[${text}](https://example.org/)`,
      `On the laptop, paste this line. An invite begins with "wstun1_":\n\n  wstun client ${text}\n\nKind regards, Ann`,
      `> On Monday Bob wrote:\n> > wstun client ${head}\n> > ${tail}\n> thanks`,
      `> wstun client wst\r\n> ${text.slice(3)}`,
      `"${head}"\n"${tail}"`,
      `${head}\\\n  ${tail}`,
      `${head}=\r\n${tail}=\r\n`,
      text.replace('_', '\\_'),
      [...text].join('\u00ad'),
      [...text].join('\u200b'),
      `\u202a${head}\u2060\u200d${tail}\ufeff`,
      text.replaceAll('--', '\u2014').replaceAll('-', '\u2011'),
      `${text.slice(0, 60)}  ${text}`,
      `${text}\n${'wstun1_AQDc…\n'.repeat(1000)}`,
    ])
      expect([pasted, decodeInvite(pasted).peer.exposeSecret()]).toEqual([pasted, invite.peer.exposeSecret()]);
  });

  it('decodeInvite finds an invite in any text that was wrapped around and into it', () => {
    const around = fc
      .string({ unit: 'grapheme', maxLength: 60 })
      .filter((text) => !/[\w=+/%-]$|^[\w=+/%-]|wstun/.test(text));
    const breaks = fc.array(fc.tuple(fc.nat(400), fc.constantFrom('\n', '\r\n> ', ' ', '\u00ad', '\t|', '"\n"')), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(anyInvite, around, around, breaks, (invite, before, behind, at) => {
        if (invite.relayUrls.some((url) => faultOf(() => parseRelayUrl(url)) !== undefined)) return;
        let text = encodeInvite(invite);
        for (const [place, mark] of at) text = `${text.slice(0, 8 + place)}${mark}${text.slice(8 + place)}`;
        const pasted = `${before} ${text} ${behind}`;
        expect(decodeInvite(pasted).peer.exposeSecret()).toEqual(invite.peer.exposeSecret());
      }),
      // Most of a run is the making of keys; twelve breaks in each try every place of an invite.
      { numRuns: 100 },
    );
  });

  it('decodeInvite rejects an invalid public key, and another encoding of a valid one', () => {
    const invite = sample();
    for (const bad of badKeys(invite.relayGateKey)) {
      expect(faultOf(() => decodeInvite(encodeInvite({ ...invite, relayGateKey: bad })))).toBe('invite-malformed');
      expect(faultOf(() => decodeInvite(encodeInvite({ ...invite, exitSessionKey: bad })))).toBe('invite-malformed');
    }
  });

  it('decodeInvite reports two different invites, whether the second is whole or not', () => {
    const [one, two] = [encodeInvite(sample()), encodeInvite(sample())];
    for (const pasted of [
      `${one} ${two}`,
      one + two,
      `${one}\n${two.slice(0, 120)}`,
      `wstun client ${two.slice(0, 90)}\n${one}`,
    ])
      expect(faultOf(() => decodeInvite(pasted))).toBe('two-invites');
    expect(() => decodeInvite(`${one} ${two}`)).not.toThrow(one.slice(20, 30));
  });

  it('decodeInvite says at most how many characters of a cut invite within a text are there', () => {
    const text = encodeInvite(sample());
    expect(() => decodeInvite(`wstun client ${text.slice(0, 100)}`)).toThrow(
      `: it has 100 of ${text.length} characters`,
    );
    expect(() => decodeInvite(`${text.slice(0, 100)}\nKind regards, Ann`)).toThrow(
      `at most 111 of ${text.length} characters`,
    );
    expect(() => decodeInvite('wstun client wstun1_AQDc…')).toThrow('11 of 301 characters');
    expect(() => decodeInvite('wstun client wstun1')).toThrow('only 6 characters');
  });

  it('decodeInvite searches 200 KB of any text in linear time', () => {
    for (const unit of ['w', 'wstun1_', 'w ', 'wstun1_AQDc', '\u200b', '> ', '"', 'wstun1_\n'])
      expect(faultOf(() => decodeInvite(unit.repeat(200_000 / unit.length)))).toMatch(/^invite-/);
    expect(faultOf(() => decodeInvite('x'.repeat(400_000)))).toBe('invite-malformed');
  });

  it('decodeInvite reports an unknown role as another version', async () => {
    for (const value of [[], [0], [3], [1, 1]]) {
      const text = await forge(1, [...goodFields(), [6, Uint8Array.from(value)]]);
      expect(() => decodeInvite(text)).toThrow(/another version/);
    }
    expect(decodeInvite(await forge(1, [...goodFields(), [6, Uint8Array.of(2)]])).role).toBe('exit');
    expect(decodeInvite(await forge(1, goodFields())).role).toBeUndefined();
  });

  it('decodeInvite rejects other texts as no invite', () => {
    for (const text of ['hello', 'wss://relay.example.com', 'WSTUN1_AAAA', 'wstunpk1_AAAA', 'x'.repeat(40_000)]) {
      expect(faultOf(() => decodeInvite(text))).toBe('invite-malformed');
    }
    expect(() => decodeInvite('wstun2_AAAA')).toThrow(/another version/);
  });

  it('decodeInvite ignores fields that this version does not know', async () => {
    const text = await forge(1, [[99, Buffer.alloc(300)], ...goodFields(), [250, Buffer.alloc(0)]]);
    expect(decodeInvite(text).relayUrls).toEqual(['wss://relay.example.com']);
  });

  it('decodeInvite accepts eight pins of a TLS key, and rejects a ninth and one of another length', async () => {
    const pins = (count: number, bytes = 32) => Array<[number, Uint8Array]>(count).fill([7, Buffer.alloc(bytes, 9)]);
    expect(decodeInvite(await forge(1, [...goodFields(), ...pins(8)])).tlsPins).toHaveLength(8);
    expect(decodeInvite(await forge(1, goodFields())).tlsPins).toEqual([]);
    for (const bad of [pins(9), pins(1, 31), pins(1, 33), pins(1, 0)]) {
      const text = await forge(1, [...goodFields(), ...bad]);
      expect(faultOf(() => decodeInvite(text))).toBe('invite-malformed');
    }
  });

  it('decodeInvite rejects a missing, doubled, short or cut field', async () => {
    for (const type of [1, 2, 3, 5]) {
      const text = await forge(
        1,
        goodFields().filter(([t]) => t !== type),
      );
      expect(faultOf(() => decodeInvite(text))).toBe('invite-malformed');
    }
    for (const extra of goodFields().slice(1)) {
      const text = await forge(1, [...goodFields(), extra]);
      expect(faultOf(() => decodeInvite(text))).toBe('invite-malformed');
    }
    const short = await forge(1, [...goodFields().slice(0, 3), [5, Buffer.alloc(31)]]);
    expect(faultOf(() => decodeInvite(short))).toBe('invite-malformed');
    const nineUrls = await forge(1, [...Array<[number, Uint8Array]>(9).fill([1, Buffer.from('ws://a')])]);
    expect(faultOf(() => decodeInvite(nineUrls))).toBe('invite-malformed');
    const badName = await forge(1, [...goodFields(), [4, Buffer.from('a b')]]);
    expect(faultOf(() => decodeInvite(badName))).toBe('invite-malformed');
    const badUrl = await forge(1, [...goodFields().slice(1), [1, Buffer.from('ftp://a')]]);
    expect(faultOf(() => decodeInvite(badUrl))).toBe('bad-url');
    const version = await forge(2, goodFields());
    expect(() => decodeInvite(version)).toThrow(/another version/);
  });

  it('decodeInvite reports any bytes after the prefix as a fault, never as another error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const fault = faultOf(() => decodeInvite(`wstun1_${Buffer.from(bytes).toString('base64url')}`));
        expect(['invite-mistyped', 'invite-malformed', 'invite-incomplete']).toContain(fault);
      }),
      { numRuns: 300 },
    );
  });

  it('an invite never shows its content, neither in an error nor in a log', () => {
    const invite = sample();
    const text = encodeInvite(invite);
    for (const wrong of [text.slice(0, 150), `${text}A`, `${text.slice(0, 60)}!${text.slice(61)}`, text.slice(7)]) {
      const error = (() => {
        try {
          return decodeInvite(wrong);
        } catch (thrown) {
          return thrown;
        }
      })();
      const shown = inspect(error, { depth: 9, showHidden: true });
      for (let at = 7; at + 12 < text.length; at += 12) expect(shown).not.toContain(text.slice(at, at + 12));
    }
    const secret = Buffer.from(invite.peer.exposeSecret());
    const shown = inspect(decodeInvite(text), { depth: 9, showHidden: true }) + JSON.stringify(decodeInvite(text));
    expect(shown).not.toContain(secret.toString('hex'));
    expect(shown).not.toContain(secret.toString('base64url'));
  });
});

describe('parseRelayUrl', () => {
  it.each([
    ['wss://relay.example.com', 'wss://relay.example.com'],
    ['wss://relay.example.com/', 'wss://relay.example.com'],
    ['wss://relay.example.com:443/a/b//', 'wss://relay.example.com/a/b'],
    ['ws://127.0.0.1:8080', 'ws://127.0.0.1:8080'],
    ['ws://[::1]:8080/x', 'ws://[::1]:8080/x'],
    ['https://Relay.Example.com/x', 'wss://relay.example.com/x'],
    ['http://relay:80', 'ws://relay'],
  ])('parseRelayUrl turns %s into %s, which stays the same', (text, url) => {
    expect(parseRelayUrl(text)).toBe(url);
    expect(parseRelayUrl(url)).toBe(url);
  });

  it.each([
    'relay.example.com',
    'relay.example.com:443',
    'ftp://relay',
    'wss://',
    'wss:relay',
    'wss:///relay',
    'wss://user@relay',
    'wss://user:hunter2@relay',
    'wss://:hunter2@relay',
    'wss://relay?x',
    'wss://relay/?',
    'wss://relay#',
    'wss://relay/#x',
    'wss://relay:0',
    'wss://relay:65536',
    'wss://re lay',
    'wss://re\nlay',
    'wss:\\\\relay',
    'wss://a\\b',
    'wss://[::1',
    `wss://${'a'.repeat(1100)}`,
    // Written with escapes it is three times as long, and no invite with it could be read.
    `wss://relay/${'é'.repeat(400)}`,
    '',
  ])('parseRelayUrl rejects %j without repeating it', (text) => {
    expect(faultOf(() => parseRelayUrl(text))).toBe('bad-url');
    expect(() => parseRelayUrl(text)).not.toThrow(/hunter2/);
  });
});
