import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import {
  answerPairing,
  beginPairing,
  createSecret,
  HELLO_BYTES,
  MESSAGE,
  readHello,
  Seal,
  secretFromText,
  secretId,
  secretToText,
} from '../../../src/tether/shared/pairing.ts';

const HOST = '192.168.1.5:8808';

interface Setting {
  readonly secret?: Uint8Array;
  readonly laptopSecret?: Uint8Array;
  readonly laptopHost?: string;
}

/** Both ends up to the page's proof; each may have another secret, or another address. */
function run({ secret = createSecret(), laptopSecret = secret, laptopHost = HOST }: Setting = {}) {
  const page = beginPairing(secret, HOST);
  const laptop = answerPairing(page.hello, laptopSecret, laptopHost);
  const proof = page.prove(laptop.answer) ?? new Uint8Array(0);
  return { page, laptop, proof, checked: laptop.check(proof) };
}

describe('the pairing of page and laptop', () => {
  it('a pairing gives both ends the same keys, and each direction its own', () => {
    const { page, checked } = run();
    const keys = page.finish(checked?.proof ?? new Uint8Array(0));
    expect(keys).toEqual(checked?.keys);
    const all = [keys?.pageSeal, keys?.laptopSeal].map((key) => Buffer.from(key ?? []).toString('hex'));
    expect(new Set(all).size).toBe(2);
    expect(keys?.rejoin).toHaveLength(16);
  });

  it('each pairing with the same secret gives new keys', () => {
    const secret = createSecret();
    const seals = [1, 2, 3].map(() => Buffer.from(run({ secret }).checked?.keys.pageSeal ?? []).toString('hex'));
    expect(new Set(seals).size).toBe(3);
  });

  it('a pairing computes the keys of docs/tether-protocol.md, by an independent HMAC', () => {
    const secret = Buffer.alloc(16, 7);
    const F = (key: Uint8Array, ...parts: (Uint8Array | string)[]) => {
      const mac = createHmac('sha512', key);
      for (const part of parts) mac.update(part);
      return mac.digest();
    };
    expect(Buffer.from(secretId(secret))).toEqual(F(secret, 'wstun tether id v1').subarray(0, 8));
    const keys = nacl.box.keyPair();
    const page = beginPairing(secret, HOST, keys);
    const laptop = answerPairing(page.hello, secret, HOST);
    const shared = nacl.scalarMult(keys.secretKey, laptop.answer.subarray(1));
    const P = F(secret, 'wstun tether v1', page.hello, laptop.answer, HOST, shared);
    const proof = page.prove(laptop.answer) ?? new Uint8Array(0);
    expect(Buffer.from(proof)).toEqual(Buffer.concat([Buffer.of(3), F(P, 'page proof').subarray(0, 32)]));
    const checked = laptop.check(proof);
    expect(Buffer.from(checked?.proof ?? [])).toEqual(
      Buffer.concat([Buffer.of(4), F(P, 'laptop proof').subarray(0, 32)]),
    );
    expect(Buffer.from(checked?.keys.pageSeal ?? [])).toEqual(F(P, 'page seal').subarray(0, 32));
    expect(Buffer.from(checked?.keys.laptopSeal ?? [])).toEqual(F(P, 'laptop seal').subarray(0, 32));
    expect(Buffer.from(checked?.keys.rejoin ?? [])).toEqual(F(P, 'rejoin').subarray(0, 16));
  });

  it('a laptop rejects a page that has another secret, no secret, or another address', () => {
    expect(run().checked).toBeDefined();
    expect(run({ laptopSecret: createSecret() }).checked).toBeUndefined();
    expect(run({ laptopHost: '192.168.1.6:8808' }).checked).toBeUndefined();
  });

  it('a laptop answers a page with an unknown secret in the same form, and accepts no proof of it', () => {
    const page = beginPairing(createSecret(), HOST);
    const [known, unknown] = [createSecret(), undefined].map(
      (secret) => answerPairing(page.hello, secret, HOST).answer,
    );
    expect(known?.length).toBe(unknown?.length);
    expect(known?.[0]).toBe(unknown?.[0]);
    const stranger = answerPairing(page.hello, undefined, HOST);
    expect(stranger.check(page.prove(stranger.answer) ?? new Uint8Array(0))).toBeUndefined();
  });

  it('a page rejects a laptop that does not have the secret, or sends the page’s own proof back', () => {
    const { page, proof } = run();
    const stranger = answerPairing(page.hello, createSecret(), HOST);
    expect(page.finish(stranger.answer)).toBeUndefined();
    expect(page.finish(proof)).toBeUndefined();
    expect(page.finish(Uint8Array.from([MESSAGE.laptopProof, ...proof.subarray(1)]))).toBeUndefined();
    expect(page.finish(new Uint8Array(0))).toBeUndefined();
  });

  it('a proof is not valid for another pairing', () => {
    const secret = createSecret();
    const first = run({ secret });
    const second = answerPairing(first.page.hello, secret, HOST);
    expect(second.check(first.proof)).toBeUndefined();
  });

  it('a pairing fails with any change of any message', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('hello', 'answer', 'proof', 'final'),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (which, at, flip) => {
          const secret = createSecret();
          const changed = (name: string, message: Uint8Array): Uint8Array => {
            const copy = Uint8Array.from(message);
            if (name === which) copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ flip;
            // X25519 ignores the highest bit of a public key, but the transcript does not.
            return copy;
          };
          const page = beginPairing(secret, HOST);
          const hello = changed('hello', page.hello);
          if (readHello(hello) === undefined) return;
          const laptop = answerPairing(hello, secret, HOST);
          const proof = page.prove(changed('answer', laptop.answer));
          if (proof === undefined) return;
          const checked = laptop.check(changed('proof', proof));
          const keys = checked && page.finish(changed('final', checked.proof));
          expect(keys).toBeUndefined();
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it('a hello of another length, type or version is rejected', () => {
    const { hello } = beginPairing(createSecret(), HOST);
    expect(hello).toHaveLength(HELLO_BYTES);
    expect(readHello(hello)?.id).toHaveLength(8);
    expect(readHello(hello.subarray(1))).toBeUndefined();
    expect(readHello(Uint8Array.from([...hello, 0]))).toBeUndefined();
    for (const at of [0, 1, 2]) {
      const other = Uint8Array.from(hello);
      other[at] = 9;
      expect(readHello(other)).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void readHello(bytes)));
  });
});

describe('the seal of a control link', () => {
  const key = randomBytes(32);

  it('a seal carries messages of every size in order', () => {
    const [near, far] = [new Seal(key), new Seal(key)];
    for (const size of [0, 1, 100, 4_000]) {
      const message = randomBytes(size);
      expect(Buffer.from(far.open(near.seal(message)) ?? [])).toEqual(message);
    }
  });

  it('a seal opens nothing twice, out of order, altered, cut, or sealed with another key', () => {
    const sender = new Seal(key);
    const [first, second] = [sender.seal(Buffer.from('one')), sender.seal(Buffer.from('two'))];
    const opened = (...messages: Uint8Array[]) => {
      const receiver = new Seal(key);
      return messages.map((message) => receiver.open(message) !== undefined);
    };
    expect(opened(first, second)).toEqual([true, true]);
    expect(opened(first, first)).toEqual([true, false]);
    expect(opened(second)).toEqual([false]);
    expect(opened(first.subarray(0, -1))).toEqual([false]);
    expect(opened(Uint8Array.from(first, (byte, i) => (i === 9 ? byte ^ 1 : byte)))).toEqual([false]);
    expect(opened(new Uint8Array(0))).toEqual([false]);
    expect(new Seal(randomBytes(32)).open(first)).toBeUndefined();
  });
});

describe('the text of a secret', () => {
  it('the text of a secret can be read back, and no other text can', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (secret) => {
        const text = secretToText(secret);
        expect(text).toMatch(/^[A-Za-z0-9_-]{22}$/);
        expect(secretFromText(text)).toEqual(secret);
      }),
    );
    for (const text of ['', 'A'.repeat(21), 'A'.repeat(23), `${'A'.repeat(21)}B`, `${'A'.repeat(21)}=`, 'ä'.repeat(22)])
      expect(secretFromText(text)).toBeUndefined();
  });
});
