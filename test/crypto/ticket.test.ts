import fc from 'fast-check';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createIdentity, type Identity } from '../../src/crypto/keys.ts';
import {
  type Bearer,
  openWithAny,
  TICKET_TEXT_LENGTH,
  type TicketFields,
  TicketOpener,
  TicketSealer,
} from '../../src/crypto/ticket.ts';

const NOW = 1_800_000_060_000; // in the middle of an epoch
const SECOND = 1000;
const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };

const relay = createIdentity();
const alice = createIdentity();
const bob = createIdentity();

function bearer(name: string, gateKey: Uint8Array, place: Partial<Bearer> = {}): Bearer {
  return { name, gateKey, role: 'client', destination: '', ...place };
}

function openerFor(...names: ('alice' | 'bob')[]): TicketOpener {
  const opener = new TicketOpener(relay);
  const keys = { alice: alice.public.gate, bob: bob.public.gate };
  opener.setBearers(names.map((name) => bearer(name, keys[name])));
  return opener;
}

function seal(bearer: Identity, now = NOW, fields = FIELDS): string {
  return new TicketSealer(bearer, relay.public.gate).seal(fields, now);
}

function reasonOf(opener: TicketOpener, text: string, now = NOW): string {
  const verdict = opener.open(text, now);
  return verdict.admitted ? 'admitted' : verdict.reason;
}

/** A ticket of an arbitrary payload, sealed and hinted as a real one. */
function sealPayload(bearer: Identity, payload: Uint8Array): string {
  const real = Buffer.from(seal(bearer), 'base64url');
  const nonce = nacl.randomBytes(24);
  const box = nacl.box.after(payload, nonce, bearer.exposeGateSharedKey(relay.public.gate));
  return Buffer.concat([real.subarray(0, 8), nonce, box]).toString('base64url');
}

function payloadOf(text: string, bearer: Identity): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  const key = bearer.exposeGateSharedKey(relay.public.gate);
  return Buffer.from(nacl.box.open.after(bytes.subarray(32), bytes.subarray(8, 32), key)!);
}

afterEach(() => vi.restoreAllMocks());

describe('a ticket', () => {
  it('tells the relay who comes, as what, and where to', () => {
    fc.assert(
      fc.property(
        fc.record({
          role: fc.constantFrom('client' as const, 'exit' as const),
          destination: fc.oneof(fc.constant(''), fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)),
          protocol: fc.nat(65535),
          features: fc.nat(65535),
        }),
        (fields) => {
          const opener = openerFor('bob');
          opener.add(bearer('alice', alice.public.gate, fields));
          expect(opener.open(seal(alice, NOW, fields), NOW)).toEqual({ admitted: true, bearer: 'alice', fields });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('is 168 characters fit for a path segment, whatever it says, and never the same twice', () => {
    const sealer = new TicketSealer(alice, relay.public.gate);
    const texts = ['', 'a', 'x'.repeat(63)].map((destination) => sealer.seal({ ...FIELDS, destination }, NOW));
    texts.push(sealer.seal(FIELDS, NOW));
    for (const text of texts) expect(text).toMatch(/^[A-Za-z0-9_-]{168}$/);
    expect(TICKET_TEXT_LENGTH).toBe(168);
    expect(new Set(texts.map((text) => text.slice(12))).size).toBe(4);
  });

  it('has the layout of docs/protocol.md', () => {
    const text = seal(alice, NOW, { role: 'exit', destination: 'home', protocol: 0x0102, features: 0x0304 });
    const expected = Buffer.alloc(78);
    expected.set([1, 2, 0, 0, 0, 0, 0x6b, 0x49, 0xd2, 0x3c, 1, 2, 3, 4, 4, ...Buffer.from('home')]);
    expect(payloadOf(text, alice).toString('hex')).toBe(expected.toString('hex'));
  });

  it('opens once', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    expect(reasonOf(opener, text)).toBe('admitted');
    expect(reasonOf(opener, text)).toBe('replayed');
    expect(reasonOf(opener, text, NOW + 100 * SECOND)).toBe('replayed');
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
  });

  it('opens after a failed try of somebody who changed it on the way', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    reasonOf(opener, text.slice(0, 100) + (text[100] === 'A' ? 'B' : 'A') + text.slice(101));
    expect(reasonOf(opener, text)).toBe('admitted');
  });

  it('with any byte changed does not open', () => {
    const opener = openerFor('alice');
    const bytes = Buffer.from(seal(alice), 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [1, 0x80, 0xff]) {
        const changed = Buffer.from(bytes);
        changed[at] = changed[at]! ^ mask;
        const reason = reasonOf(opener, changed.toString('base64url'));
        expect([at, reason]).toEqual([at, at < 8 ? 'unknown' : 'forged']);
      }
    }
    expect(opener.rememberedNonces).toBe(0);
  });

  it('of any other length, with foreign characters or padding does not open', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    const wrong = [
      '',
      text.slice(1),
      `${text}A`,
      `${text}=`,
      ` ${text.slice(1)}`,
      `${text.slice(0, -1)}+`,
      `${text}\0`,
    ];
    for (const each of wrong) expect(reasonOf(opener, each)).toBe('malformed');
    expect(reasonOf(opener, text)).toBe('admitted');
  });

  it('of somebody else, for another relay, or of a removed bearer does not open', () => {
    const opener = openerFor('alice');
    expect(reasonOf(opener, seal(bob))).toBe('unknown');
    const elsewhere = new TicketSealer(alice, createIdentity().public.gate).seal(FIELDS, NOW);
    expect(reasonOf(opener, elsewhere)).toBe('unknown');
    const before = seal(alice);
    opener.setBearers([bearer('bob', bob.public.gate)]);
    expect(reasonOf(opener, before)).toBe('unknown');
    expect(reasonOf(opener, seal(bob))).toBe('admitted');
  });

  it('opens within two minutes either way and not a second further, at every place of the epoch', () => {
    for (let offset = 0; offset < 120; offset += 7) {
      const now = NOW + offset * SECOND;
      for (const [skew, expected] of [
        [-120, 'admitted'],
        [120, 'admitted'],
        [0, 'admitted'],
        [-119, 'admitted'],
        [119, 'admitted'],
      ] as const) {
        expect([offset, skew, reasonOf(openerFor('alice'), seal(alice, now + skew * SECOND), now)]).toEqual([
          offset,
          skew,
          expected,
        ]);
      }
      expect(['late', 'unknown']).toContain(reasonOf(openerFor('alice'), seal(alice, now - 121 * SECOND), now));
      expect(['early', 'unknown']).toContain(reasonOf(openerFor('alice'), seal(alice, now + 121 * SECOND), now));
    }
  });

  it('says late and early by those names while its epoch is still known', () => {
    expect(reasonOf(openerFor('alice'), seal(alice, NOW - 130 * SECOND))).toBe('late');
    expect(reasonOf(openerFor('alice'), seal(alice, NOW + 130 * SECOND))).toBe('early');
    expect(reasonOf(openerFor('alice'), seal(alice, NOW - 3600 * SECOND))).toBe('unknown');
  });

  it('still opens when the relay has run over many epochs, and when its clock is set back', () => {
    const opener = openerFor('alice');
    for (const minutes of [0, 1, 2, 3, 4, 5, 6, 7, 60, 59, 0, -60, 1e6]) {
      const now = NOW + minutes * 60 * SECOND;
      for (const skew of [-115, 0, 115]) {
        expect([minutes, skew, reasonOf(opener, seal(alice, now + skew * SECOND), now)]).toEqual([
          minutes,
          skew,
          'admitted',
        ]);
      }
    }
  });

  it('once used stays used as long as it could be valid, and is then forgotten', () => {
    const opener = openerFor('alice', 'bob');
    const ahead = seal(alice, NOW + 120 * SECOND);
    expect(reasonOf(opener, ahead)).toBe('admitted');
    expect(reasonOf(opener, ahead, NOW + 240 * SECOND)).toBe('replayed');
    expect(['late', 'unknown']).toContain(reasonOf(opener, ahead, NOW + 241 * SECOND));
    expect(opener.rememberedNonces).toBe(1);
    reasonOf(opener, seal(bob, NOW + 500 * SECOND), NOW + 500 * SECOND);
    expect(opener.rememberedNonces).toBe(1);
  });

  it('once used stays used when its bearer is removed and added again', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    reasonOf(opener, text);
    opener.setBearers([]);
    opener.setBearers([bearer('alice-again', alice.public.gate)]);
    expect(reasonOf(opener, text)).toBe('replayed');
  });

  it('of another version, an unknown role, or with anything in its padding does not open', () => {
    const good = payloadOf(seal(alice, NOW, { ...FIELDS, destination: 'home' }), alice);
    expect(reasonOf(openerFor('alice'), sealPayload(alice, good))).toBe('misplaced');
    const wrong: [number, number][] = [[0, 0], [0, 2], [1, 0], [1, 3], [14, 3], [14, 5], [14, 64], [14, 255], [15, 0x2e], [16, 0], [77, 1]]; // biome-ignore format: a table
    for (const [at, value] of wrong) {
      const changed = Buffer.from(good);
      changed[at] = value;
      expect([at, value, reasonOf(openerFor('alice'), sealPayload(alice, changed))]).toEqual([
        at,
        value,
        'unsupported',
      ]);
    }
    const short = new TicketOpener(relay);
    short.setBearers([bearer('alice', alice.public.gate)]);
    expect(reasonOf(short, sealPayload(alice, good.subarray(1)))).toBe('malformed');
  });

  it('leads only where its bearer may go, and only in its bearer’s role; a refused one is not used up', () => {
    const opener = openerFor('alice');
    opener.add(bearer('home/0', bob.public.gate, { destination: 'home' }));
    const wrong: [Identity, Partial<TicketFields>][] = [
      [alice, { destination: 'home' }],
      [alice, { role: 'exit' }],
      [bob, {}],
      [bob, { destination: 'homes' }],
      [bob, { role: 'exit', destination: 'home' }],
    ];
    for (const [who, fields] of wrong)
      expect(reasonOf(opener, seal(who, NOW, { ...FIELDS, ...fields }))).toBe('misplaced');
    const early = seal(bob, NOW, { ...FIELDS, destination: 'shed' });
    expect(reasonOf(opener, early)).toBe('misplaced');
    opener.add(bearer('shed/0', bob.public.gate, { destination: 'shed' }));
    expect(opener.open(early, NOW)).toMatchObject({ admitted: true, bearer: 'shed/0' });
  });

  it('of an exit may answer any call, but be of no client', () => {
    const opener = new TicketOpener(relay);
    opener.setBearers([bearer('home', alice.public.gate, { role: 'exit' })]);
    for (const destination of ['', 'f'.repeat(32)])
      expect(reasonOf(opener, seal(alice, NOW, { ...FIELDS, role: 'exit', destination }))).toBe('admitted');
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
  });

  it('of a key with several grants opens by each until that one is taken back', () => {
    const opener = openerFor('alice');
    const elsewhere = bearer('home/0', alice.public.gate, { destination: 'home' });
    opener.add(elsewhere);
    opener.setBearers([bearer('alice', alice.public.gate), bearer('bob', bob.public.gate)]);
    const away = (): string => seal(alice, NOW, { ...FIELDS, destination: 'home' });
    expect(reasonOf(opener, away())).toBe('admitted');
    opener.remove(elsewhere);
    expect(reasonOf(opener, away())).toBe('misplaced');
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
    opener.add(elsewhere);
    opener.setBearers([]);
    expect(reasonOf(opener, away())).toBe('admitted');
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
    opener.remove(elsewhere);
    expect(reasonOf(opener, seal(alice))).toBe('unknown');
  });

  it('names the bearer of a refused one only where the box proved it', () => {
    const opener = openerFor('alice');
    expect(opener.open(seal(alice, NOW - 130 * SECOND), NOW)).toEqual({
      admitted: false,
      reason: 'late',
      bearer: 'alice',
    });
    const forged = Buffer.from(seal(alice), 'base64url');
    forged[60] = forged[60]! ^ 1;
    expect(opener.open(forged.toString('base64url'), NOW)).toEqual({ admitted: false, reason: 'forged' });
  });

  it('cannot be sealed with fields out of range', () => {
    for (const fields of [
      { destination: 'a b' },
      { destination: 'x'.repeat(64) },
      { protocol: 65536 },
      { features: -1 },
    ]) {
      expect(() => seal(alice, NOW, { ...FIELDS, ...fields })).toThrow(RangeError);
    }
  });
});

describe('retired keys', () => {
  const old = createIdentity();
  const openers = (): TicketOpener[] => {
    const retired = new TicketOpener(old, { retired: true });
    retired.setBearers([bearer('bob', bob.public.gate)]);
    return [openerFor('alice'), retired];
  };
  const oldSealer = new TicketSealer(bob, old.public.gate);

  it('open a ticket once, with a proof that only its bearer can check, of this one ticket', () => {
    const all = openers();
    const [first, second] = [oldSealer.seal(FIELDS, NOW), oldSealer.seal(FIELDS, NOW)];
    const verdict = openWithAny(all, first, NOW);
    expect(verdict).toMatchObject({ admitted: true, bearer: 'bob' });
    const proof = verdict.admitted ? verdict.rotationProof : undefined;
    expect(proof).toEqual(oldSealer.rotationProof(first));
    expect(proof).not.toEqual(oldSealer.rotationProof(second));
    expect(proof).not.toEqual(new TicketSealer(alice, old.public.gate).rotationProof(first));
    expect(openWithAny(all, first, NOW)).toMatchObject({ admitted: false, reason: 'replayed', bearer: 'bob' });
  });

  it('say nothing of tickets for the present ones, and know no stranger', () => {
    const verdict = openWithAny(openers(), seal(alice), NOW);
    expect(verdict).toEqual({ admitted: true, bearer: 'alice', fields: FIELDS });
    const stranger = new TicketSealer(alice, old.public.gate).seal(FIELDS, NOW);
    expect(openWithAny(openers(), stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
    expect(openWithAny([], stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
  });
});

describe('a hint', () => {
  it('is known of tickets that may open, whatever is in them, and uses none up', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    expect(opener.knowsHint(text, NOW)).toBe(true);
    expect(opener.knowsHint(text.slice(0, 100) + 'A'.repeat(68), NOW)).toBe(true);
    expect(reasonOf(opener, text)).toBe('admitted');
    for (const other of [seal(bob), seal(alice, NOW - 400 * SECOND), text.slice(1), '', 'x'.repeat(168)])
      expect(opener.knowsHint(other, NOW)).toBe(false);
    opener.setBearers([]);
    expect(opener.knowsHint(seal(alice), NOW)).toBe(false);
  });
});

describe('the cost of strangers', () => {
  it('is no public-key work and no opened box, whatever they send', () => {
    const opener = openerFor('alice', 'bob');
    const stranger = new TicketSealer(createIdentity(), relay.public.gate);
    const foreign = Array.from({ length: 20 }, () => stranger.seal(FIELDS, NOW));
    const before = vi.spyOn(nacl.box, 'before');
    const open = vi.spyOn(nacl.box.open, 'after');
    const scalarMult = vi.spyOn(nacl, 'scalarMult');
    for (const text of foreign) expect(reasonOf(opener, text)).toBe('unknown');
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 126, maxLength: 126 }), (bytes) => {
        expect(reasonOf(opener, Buffer.from(bytes).toString('base64url'))).toBe('unknown');
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        expect(reasonOf(opener, text)).toBe('malformed');
      }),
      { numRuns: 200 },
    );
    expect(before).not.toHaveBeenCalled();
    expect(open).not.toHaveBeenCalled();
    expect(scalarMult).not.toHaveBeenCalled();
  });

  it('is no public-key work for those who return, nor for those who stay when the list changes', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const before = vi.spyOn(nacl.box, 'before');
    for (let i = 0; i < 10; i++) expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
    opener.setBearers([bearer('renamed', alice.public.gate), bearer('bob', bob.public.gate)]);
    expect(before).toHaveBeenCalledTimes(1);
    expect(opener.open(sealer.seal(FIELDS, NOW), NOW)).toMatchObject({ admitted: true, bearer: 'renamed' });
  });
});

describe('the replay memory', () => {
  it('is bounded for one bearer, who is then refused without harm to others', () => {
    const opener = openerFor('alice', 'bob');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const first = sealer.seal(FIELDS, NOW);
    expect(reasonOf(opener, first)).toBe('admitted');
    for (let i = 1; i < 1024; i++) expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
    expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('flooded');
    expect(reasonOf(opener, first)).toBe('replayed');
    expect(opener.rememberedNonces).toBe(1024);
    expect(reasonOf(opener, seal(bob))).toBe('admitted');
    const later = NOW + 361 * SECOND;
    expect(reasonOf(opener, sealer.seal(FIELDS, later), later)).toBe('admitted');
  });
});
