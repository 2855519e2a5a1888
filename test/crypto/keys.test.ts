import { hkdfSync } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import {
  createIdentity,
  formatIdentitySecret,
  formatPublicIdentity,
  Identity,
  parseIdentitySecret,
  parsePublicIdentity,
} from '../../src/crypto/keys.ts';
import { badKeys, LOW_ORDER_POINTS } from '../support/crypto/low-order-points.ts';
import { faultOf } from '../support/faults.ts';

const secret32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('Identity', () => {
  it('an identity is derived only from its secret, by a fixed derivation', () => {
    const identity = new Identity(Buffer.alloc(32, 7));
    expect(Buffer.from(identity.public.gate).toString('hex')).toMatchInlineSnapshot(
      `"3625b3709dc3bc893ad525babac8d19f86ca9943a0659e6c843e009e11b49e15"`,
    );
    expect(Buffer.from(identity.public.session).toString('hex')).toMatchInlineSnapshot(
      `"d2278b027fe6816406731afe1d971e93264f9a8551c1dc0dd75e6baa39ca1e37"`,
    );
  });

  it('an identity has different keys for gate and session, and neither is the secret itself', () => {
    const identity = new Identity(Buffer.alloc(32, 7));
    const plain = nacl.box.keyPair.fromSecretKey(identity.exposeSecret()).publicKey;
    const keys = [identity.public.gate, identity.public.session, plain].map((key) => Buffer.from(key).toString('hex'));
    expect(new Set(keys).size).toBe(3);
  });

  it('two identities compute the same shared gate key', () => {
    const [a, b] = [createIdentity(), createIdentity()];
    expect(a.exposeGateSharedKey(b.public.gate)).toEqual(b.exposeGateSharedKey(a.public.gate));
  });

  it('an identity computes the shared key that NaCl computes, whatever the peer’s key', () => {
    const points = fc.oneof(
      secret32,
      fc.constantFrom(...LOW_ORDER_POINTS).map((hex) => Uint8Array.from(Buffer.from(hex, 'hex'))),
    );
    fc.assert(
      fc.property(secret32, points, (secret, peer) => {
        const identity = new Identity(secret);
        const gate = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), 'wstun gate x25519 v1', 32));
        expect(Buffer.from(identity.exposeGateSharedKey(peer))).toEqual(Buffer.from(nacl.box.before(peer, gate)));
      }),
      { numRuns: 200, seed: 12 },
    );
  });

  it('an identity has a session key that belongs to its public one', () => {
    const identity = createIdentity();
    const pair = nacl.box.keyPair.fromSecretKey(identity.exposeSessionKey());
    expect(pair.publicKey).toEqual(identity.public.session);
  });

  it('an identity shows no secret to inspectors, JSON, templates or spreads', () => {
    const identity = createIdentity();
    const shown = [
      inspect(identity, { depth: 9, showHidden: true }),
      inspect({ nested: [identity] }, { depth: 9 }),
      JSON.stringify({ identity }),
      `${identity}`,
      inspect({ ...identity }, { depth: 9 }),
    ].join('\n');
    for (const bytes of [identity.exposeSecret(), identity.exposeSessionKey()]) {
      const buffer = Buffer.from(bytes);
      expect(shown).not.toContain(buffer.toString('hex'));
      expect(shown).not.toContain(buffer.toString('base64url'));
      expect(shown).not.toContain([...bytes.subarray(0, 4)].join(', '));
    }
    expect(shown).toContain(formatPublicIdentity(identity.public));
  });

  it('an identity does not change with the bytes that were passed in or returned', () => {
    const secret = Buffer.alloc(32, 3);
    const identity = new Identity(secret);
    secret.fill(9);
    identity.exposeSecret().fill(9);
    expect(identity.exposeSecret()).toEqual(new Uint8Array(32).fill(3));
  });

  it('an identity needs exactly 32 bytes', () => {
    expect(() => new Identity(new Uint8Array(31))).toThrow(RangeError);
    expect(() => new Identity(new Uint8Array(33))).toThrow(RangeError);
  });
});

describe('the text of a public identity', () => {
  it('the text of a public identity is parsed to the same keys', () => {
    fc.assert(
      fc.property(secret32, (secret) => {
        const identity = new Identity(secret).public;
        expect(parsePublicIdentity(formatPublicIdentity(identity))).toEqual({
          gate: Buffer.from(identity.gate),
          session: Buffer.from(identity.session),
        });
      }),
      { numRuns: 30 },
    );
  });

  it('the text of a public identity is rejected after any change of one character, and after any cut', () => {
    const text = formatPublicIdentity(createIdentity().public);
    for (let at = 0; at < text.length; at++) {
      for (const other of ['A', 'b', '7', '-', '_', '=', '+', ' ']) {
        if (text[at] === other) continue;
        const changed = text.slice(0, at) + other + text.slice(at + 1);
        expect(faultOf(() => parsePublicIdentity(changed))).toBe('bad-key');
      }
      expect(faultOf(() => parsePublicIdentity(text.slice(0, at)))).toBe('bad-key');
    }
    expect(faultOf(() => parsePublicIdentity(`${text}AAAA`))).toBe('bad-key');
  });

  it('the text of a public identity with an invalid key, or another encoding, is rejected in either place', () => {
    const { gate, session } = createIdentity().public;
    for (const bad of badKeys(gate)) {
      expect(faultOf(() => parsePublicIdentity(formatPublicIdentity({ gate: bad, session })))).toBe('bad-key');
      expect(faultOf(() => parsePublicIdentity(formatPublicIdentity({ gate, session: bad })))).toBe('bad-key');
    }
  });

  it('a secret key or an invite in place of a public identity is named, and not repeated', () => {
    const secret = formatIdentitySecret(createIdentity());
    expect(() => parsePublicIdentity(secret)).toThrow(/secret key/);
    expect(() => parsePublicIdentity('wstun1_AbCdEfGh')).toThrow(/invite/);
    for (const text of [secret, 'wstun1_AbCdEfGh', `wstunpk1_${secret.slice(9)}`]) {
      expect(() => parsePublicIdentity(text)).not.toThrow(text.slice(9, 15));
    }
  });
});

describe('the text of a secret', () => {
  it('the text of a secret is parsed to the same identity', () => {
    const identity = createIdentity();
    expect(parseIdentitySecret(formatIdentitySecret(identity)).exposeSecret()).toEqual(identity.exposeSecret());
  });

  it('the text of a secret is rejected after any change of one character, and no error repeats it', () => {
    const text = formatIdentitySecret(createIdentity());
    for (let at = 0; at < text.length; at++) {
      const changed = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
      expect(faultOf(() => parseIdentitySecret(changed))).toBe('identity-damaged');
      expect(() => parseIdentitySecret(changed)).not.toThrow(changed.slice(20, 28));
    }
  });
});
