import fc from 'fast-check';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AUDIENCE_FEATURE } from '../../src/crypto/audience.ts';
import { HTTP_FEATURE, HttpLinkKey } from '../../src/crypto/http-link.ts';
import { createIdentity, type Identity } from '../../src/crypto/keys.ts';
import {
  openWithAny,
  TICKET_TEXT_LENGTH,
  type TicketFields,
  TicketOpener,
  TicketSealer,
} from '../../src/crypto/ticket.ts';
import { LOW_ORDER_POINTS, twinOf } from '../support/crypto/low-order-points.ts';
import {
  alice,
  bob,
  etagOf,
  FIELDS,
  NAME,
  NOW,
  openerFor,
  payloadOf,
  peer,
  reasonOf,
  relay,
  SECOND,
  seal,
  sealPayload,
  TOKEN,
} from '../support/crypto/tickets.ts';

afterEach(() => vi.restoreAllMocks());

describe('tickets', () => {
  it('a ticket tells the relay its peer, role and destination', () => {
    fc.assert(
      fc.property(
        fc.record({
          place: fc.oneof(
            fc.record({ role: fc.constant('client' as const), destination: fc.oneof(fc.constant(''), NAME) }),
            fc.record({ role: fc.constant('exit' as const), destination: fc.oneof(fc.constant(''), TOKEN) }),
          ),
          protocol: fc.nat(65535),
          features: fc.nat(65535),
        }),
        ({ place, ...rest }) => {
          const fields = { ...place, ...rest };
          const opener = openerFor('bob');
          opener.add(peer('alice', alice.public.gate, fields));
          // The key of an HTTP link comes with the bit for one, and only then.
          const httpLink = (fields.features & HTTP_FEATURE) === 0 ? {} : { httpLink: expect.any(HttpLinkKey) };
          // Without a sealed audience the bit means any.
          const audience = (fields.features & AUDIENCE_FEATURE) === 0 ? {} : { audience: expect.any(BigInt) };
          const expected = { admitted: true, peer: 'alice', fields, ...audience, ...httpLink };
          expect(opener.open(seal(alice, NOW, fields), NOW)).toEqual(expected);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('a ticket is 168 characters that fit a path segment, whatever it says, and never the same twice', () => {
    const sealer = new TicketSealer(alice, relay.public.gate);
    const texts = ['', 'a', 'x'.repeat(63)].map((destination) => sealer.seal({ ...FIELDS, destination }, NOW));
    texts.push(sealer.seal(FIELDS, NOW));
    for (const text of texts) expect(text).toMatch(/^[A-Za-z0-9_-]{168}$/);
    expect(TICKET_TEXT_LENGTH).toBe(168);
    expect(new Set(texts.map((text) => text.slice(12))).size).toBe(4);
  });

  it('a ticket has the layout of docs/protocol.md', () => {
    const text = seal(alice, NOW, { role: 'exit', destination: 'home', protocol: 0x0102, features: 0x0304 });
    const expected = Buffer.alloc(78);
    expected.set([1, 2, 0, 0, 0, 0, 0x6b, 0x49, 0xd2, 0x3c, 1, 2, 3, 4, 4, ...Buffer.from('home')]);
    expect(payloadOf(text, alice).toString('hex')).toBe(expected.toString('hex'));
  });

  it('a ticket opens once', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    expect(reasonOf(opener, text)).toBe('admitted');
    expect(reasonOf(opener, text)).toBe('replayed');
    expect(reasonOf(opener, text, NOW + 100 * SECOND)).toBe('replayed');
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
  });

  it('a ticket opens after someone has failed with a changed copy', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    reasonOf(opener, text.slice(0, 100) + (text[100] === 'A' ? 'B' : 'A') + text.slice(101));
    expect(reasonOf(opener, text)).toBe('admitted');
  });

  it('a ticket with any byte changed does not open', () => {
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

  it('a ticket of another length, with other characters or padding does not open', () => {
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

  it('a ticket of a stranger, for another relay, or of a removed peer does not open', () => {
    const opener = openerFor('alice');
    expect(reasonOf(opener, seal(bob))).toBe('unknown');
    const elsewhere = new TicketSealer(alice, createIdentity().public.gate).seal(FIELDS, NOW);
    expect(reasonOf(opener, elsewhere)).toBe('unknown');
    const before = seal(alice);
    opener.setPeers([peer('bob', bob.public.gate)]);
    expect(reasonOf(opener, before)).toBe('unknown');
    expect(reasonOf(opener, seal(bob))).toBe('admitted');
  });

  it('a ticket opens within two minutes either way and not a second more, anywhere in its epoch', () => {
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

  it('a ticket is rejected as late or early while its epoch is still known', () => {
    expect(reasonOf(openerFor('alice'), seal(alice, NOW - 130 * SECOND))).toBe('late');
    expect(reasonOf(openerFor('alice'), seal(alice, NOW + 130 * SECOND))).toBe('early');
    expect(reasonOf(openerFor('alice'), seal(alice, NOW - 3600 * SECOND))).toBe('unknown');
  });

  it('a ticket opens after the relay has run for many epochs, and when its clock is set back', () => {
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

  it('a used ticket stays used as long as it could be valid, and is then forgotten', () => {
    const opener = openerFor('alice', 'bob');
    const ahead = seal(alice, NOW + 120 * SECOND);
    expect(reasonOf(opener, ahead)).toBe('admitted');
    expect(reasonOf(opener, ahead, NOW + 240 * SECOND)).toBe('replayed');
    expect(['late', 'unknown']).toContain(reasonOf(opener, ahead, NOW + 241 * SECOND));
    expect(opener.rememberedNonces).toBe(1);
    reasonOf(opener, seal(bob, NOW + 500 * SECOND), NOW + 500 * SECOND);
    expect(opener.rememberedNonces).toBe(1);
  });

  it('a used ticket stays used when its peer is removed and added again', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    reasonOf(opener, text);
    opener.setPeers([]);
    opener.setPeers([peer('alice-again', alice.public.gate)]);
    expect(reasonOf(opener, text)).toBe('replayed');
  });

  it('a ticket of another version, with an unknown role, or with anything in its padding does not open', () => {
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
    short.setPeers([peer('alice', alice.public.gate)]);
    expect(reasonOf(short, sealPayload(alice, good.subarray(1)))).toBe('malformed');
  });

  it('a ticket opens only for the destination and role of its peer; a rejected one is not used up', () => {
    const opener = openerFor('alice');
    opener.add(peer('home/0', bob.public.gate, { destination: 'home' }));
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
    opener.add(peer('shed/0', bob.public.gate, { destination: 'shed' }));
    expect(opener.open(early, NOW)).toMatchObject({ admitted: true, peer: 'shed/0' });
  });

  it("a ticket of an exit may answer any request, and cannot be a client's", () => {
    const opener = new TicketOpener(relay);
    opener.setPeers([peer('home', alice.public.gate, { role: 'exit' })]);
    for (const destination of ['', 'f'.repeat(32), '0123456789abcdef'.repeat(2)])
      expect(reasonOf(opener, seal(alice, NOW, { ...FIELDS, role: 'exit', destination }))).toBe('admitted');
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
  });

  it('a ticket of an exit with a destination other than a token does not open, and is not used up', () => {
    const opener = new TicketOpener(relay);
    opener.setPeers([peer('home', alice.public.gate, { role: 'exit' })]);
    for (const destination of [
      'foo',
      'home',
      'A'.repeat(32),
      'F'.repeat(32),
      '0'.repeat(31),
      '0'.repeat(33),
      'g'.repeat(32),
    ]) {
      const decision = opener.open(seal(alice, NOW, { ...FIELDS, role: 'exit', destination }), NOW);
      expect([destination, decision]).toEqual([destination, { admitted: false, reason: 'misplaced', peer: 'home' }]);
    }
    expect(opener.rememberedNonces).toBe(0);
  });

  it('a ticket of a key with several grants opens for each until that grant is removed', () => {
    const opener = openerFor('alice');
    const elsewhere = peer('home/0', alice.public.gate, { destination: 'home' });
    opener.add(elsewhere);
    opener.setPeers([peer('alice', alice.public.gate), peer('bob', bob.public.gate)]);
    const away = (): string => seal(alice, NOW, { ...FIELDS, destination: 'home' });
    expect(reasonOf(opener, away())).toBe('admitted');
    opener.remove(elsewhere);
    expect(reasonOf(opener, away())).toBe('misplaced');
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
    opener.add(elsewhere);
    opener.setPeers([]);
    expect(reasonOf(opener, away())).toBe('admitted');
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
    opener.remove(elsewhere);
    expect(reasonOf(opener, seal(alice))).toBe('unknown');
  });

  it('a rejected ticket names its peer only if the box proved it', () => {
    const opener = openerFor('alice');
    expect(opener.open(seal(alice, NOW - 130 * SECOND), NOW)).toMatchObject({
      admitted: false,
      reason: 'late',
      peer: 'alice',
      offset: -130,
    });
    const forged = Buffer.from(seal(alice), 'base64url');
    forged[60] = forged[60]! ^ 1;
    expect(opener.open(forged.toString('base64url'), NOW)).toEqual({ admitted: false, reason: 'forged' });
  });

  it('a ticket cannot be sealed with fields out of range', () => {
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

describe('openers with retired keys', () => {
  const old = createIdentity();
  const openers = (): TicketOpener[] => {
    const retired = new TicketOpener(old, { retired: true });
    retired.setPeers([peer('bob', bob.public.gate)]);
    return [openerFor('alice'), retired];
  };
  const oldSealer = new TicketSealer(bob, old.public.gate);

  it('retired keys open a ticket once, with a proof for this ticket that only its peer can check', () => {
    const all = openers();
    const [first, second] = [oldSealer.seal(FIELDS, NOW), oldSealer.seal(FIELDS, NOW)];
    const decision = openWithAny(all, first, NOW);
    expect(decision).toMatchObject({ admitted: true, peer: 'bob' });
    const proof = decision.admitted ? decision.rotationProof : undefined;
    expect(proof).toEqual(oldSealer.rotationProof(first));
    expect(proof).not.toEqual(oldSealer.rotationProof(second));
    expect(proof).not.toEqual(new TicketSealer(alice, old.public.gate).rotationProof(first));
    expect(openWithAny(all, first, NOW)).toMatchObject({ admitted: false, reason: 'replayed', peer: 'bob' });
  });

  it('retired keys give no proof for tickets of the current keys, and know no stranger', () => {
    const decision = openWithAny(openers(), seal(alice), NOW);
    expect(decision).toEqual({ admitted: true, peer: 'alice', fields: FIELDS });
    const stranger = new TicketSealer(alice, old.public.gate).seal(FIELDS, NOW);
    expect(openWithAny(openers(), stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
    expect(openWithAny([], stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
  });
});

describe('the cost of tickets', () => {
  it('a stranger causes no public-key work and no opened box, whatever it sends', () => {
    const opener = openerFor('alice', 'bob');
    const stranger = new TicketSealer(createIdentity(), relay.public.gate);
    const foreign = Array.from({ length: 20 }, () => stranger.seal(FIELDS, NOW));
    const before = vi.spyOn(relay, 'exposeGateSharedKey');
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

  it('a known peer causes no public-key work when it returns, nor when the list changes', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const before = vi.spyOn(relay, 'exposeGateSharedKey');
    for (let i = 0; i < 10; i++) expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
    opener.setPeers([peer('renamed', alice.public.gate), peer('bob', bob.public.gate)]);
    expect(before).toHaveBeenCalledTimes(1);
    expect(opener.open(sealer.seal(FIELDS, NOW), NOW)).toMatchObject({ admitted: true, peer: 'renamed' });
  });
});

describe('the rate of tickets of one peer', () => {
  /** So many tickets a second for so many seconds; how many did not open, and why. */
  function sendTickets(opener: TicketOpener, sealer: TicketSealer, perSecond: number, seconds: number, from = NOW) {
    const refused: Record<string, number> = {};
    for (let i = 0; i < perSecond * seconds; i++) {
      const now = from + (i * 1_000) / perSecond;
      const reason = reasonOf(opener, sealer.seal(FIELDS, now), now);
      if (reason !== 'admitted') refused[reason] = (refused[reason] ?? 0) + 1;
    }
    return refused;
  }

  it('a peer whose links are lost every second for ten minutes is not limited, with any number of keys', () => {
    const opener = openerFor('alice');
    for (let i = 0; i < 5_000; i++) {
      // As good as a key that somebody generated, and made sooner.
      const key = nacl.randomBytes(32).with(31, 0x55);
      opener.add(peer(`evil/${i}`, key, { destination: 'evil' }));
    }
    expect(sendTickets(opener, new TicketSealer(alice, relay.public.gate), 1, 600)).toEqual({});
  });

  it('a peer with a thousand sessions that return at once, and again, is not limited', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    expect(sendTickets(opener, sealer, 1_000, 1)).toEqual({});
    expect(sendTickets(opener, sealer, 50, 5, NOW + 20 * SECOND)).toEqual({});
    expect(sendTickets(opener, sealer, 1_000, 1, NOW + 45 * SECOND)).toEqual({});
  });

  it('a peer that floods is limited and told so; others are not affected, and the limit passes with time', () => {
    const opener = openerFor('alice', 'bob');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const refused = sendTickets(opener, sealer, 5_000, 1);
    expect(Object.keys(refused)).toEqual(['too-often']);
    expect(refused['too-often']).toBeGreaterThan(3_900);
    for (let i = 0; i < 20; i++) expect(reasonOf(opener, seal(bob, NOW + SECOND), NOW + SECOND)).toBe('admitted');
    expect(sendTickets(opener, sealer, 40, 10, NOW + 2 * SECOND)).toEqual({});
    const text = sealer.seal(FIELDS, NOW + 60 * SECOND);
    expect(reasonOf(opener, text, NOW + 60 * SECOND)).toBe('admitted');
    expect(reasonOf(opener, text, NOW + 60 * SECOND)).toBe('replayed');
  });

  it('a limited peer gets a proof of the limit, and its ticket is not used up', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    sendTickets(opener, sealer, 1_024, 1, NOW - 60 * SECOND);
    for (let i = 0; i < 1_024; i++) opener.open(sealer.seal(FIELDS, NOW), NOW);
    const text = sealer.seal(FIELDS, NOW);
    const decision = opener.open(text, NOW);
    expect(decision).toMatchObject({ admitted: false, reason: 'too-often', peer: 'alice' });
    expect(sealer.refusalIn(etagOf(decision) ?? '', text)).toEqual({ reason: 'too-often', time: NOW });
    expect(reasonOf(opener, text, NOW + SECOND)).toBe('admitted');
  });

  it('answers of an exit to pending requests are not counted, so that its clients cannot lock it out', () => {
    const waiting = new Set<string>();
    const isRequested = (exit: string, token: string): boolean => exit === 'home' && waiting.has(token);
    const opener = new TicketOpener(relay, { isRequested });
    opener.setPeers([peer('home', alice.public.gate, { role: 'exit' })]);
    const sealer = new TicketSealer(alice, relay.public.gate);
    const answer = (token: string): string => sealer.seal({ ...FIELDS, role: 'exit', destination: token }, NOW);
    for (let i = 0; i < 5_000; i++) {
      const token = i.toString(16).padStart(32, '0');
      waiting.add(token);
      const text = answer(token);
      expect(reasonOf(opener, text)).toBe('admitted');
      // Whoever saw it pass gets nothing by it, whether the call waits still or not.
      if (i % 1_000 === 0) expect(reasonOf(opener, text)).toBe('replayed');
      waiting.delete(token);
      if (i % 1_000 === 0) expect(reasonOf(opener, text)).toBe('replayed');
    }
    // Not asked for: as anybody's.
    let late = 0;
    while (reasonOf(opener, answer('f'.repeat(32))) === 'admitted') late += 1;
    expect(late).toBe(1_024);
    // And its control link has a measure of its own.
    expect(reasonOf(opener, sealer.seal({ ...FIELDS, role: 'exit' }, NOW))).toBe('admitted');
  });

  it('control links of an exit are counted apart, and one may be lost every second', () => {
    const opener = new TicketOpener(relay);
    opener.setPeers([peer('home', alice.public.gate, { role: 'exit' })]);
    const sealer = new TicketSealer(alice, relay.public.gate);
    const control = (now: number): string => reasonOf(opener, sealer.seal({ ...FIELDS, role: 'exit' }, now), now);
    for (let second = 0; second < 600; second++) expect(control(NOW + second * SECOND)).toBe('admitted');
    let taken = 0;
    while (control(NOW + 600 * SECOND) === 'admitted') taken += 1;
    expect(taken).toBeLessThan(70);
  });
});

describe('public keys with several encodings', () => {
  const elsewhere = { destination: 'evil' };

  it('a public key in another encoding, or with a secret that everyone knows, is not accepted', () => {
    const opener = openerFor('alice');
    const withHighestBit = Buffer.from(alice.public.gate);
    withHighestBit[31] = withHighestBit[31]! | 0x80;
    opener.add(peer('evil/1', withHighestBit, elsewhere));
    for (const hex of LOW_ORDER_POINTS) opener.add(peer('evil/2', Buffer.from(hex, 'hex'), elsewhere));
    opener.add(peer('evil/3', new Uint8Array(31), elsewhere));
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
    // K of the zero key: HSalsa20 of zeros.
    const known = nacl.box.before(new Uint8Array(32), new Uint8Array(32).fill(9));
    const zeroPeer = { exposeGateSharedKey: () => known } as unknown as Identity;
    const zero = new TicketSealer(zeroPeer, relay.public.gate).seal({ ...FIELDS, destination: 'evil' }, NOW);
    expect(reasonOf(opener, zero)).toBe('unknown');
    opener.remove(peer('evil/1', withHighestBit, elsewhere));
    expect(reasonOf(opener, seal(alice))).toBe('admitted');
  });

  it('public keys that share a secret, because they differ by a point of small order, do not affect each other', () => {
    const twin = twinOf(alice.public.gate);
    expect(Buffer.from(twin)).not.toEqual(Buffer.from(alice.public.gate));
    expect(relay.exposeGateSharedKey(twin)).toEqual(relay.exposeGateSharedKey(alice.public.gate));
    const opener = openerFor('alice');
    const announced = [peer('evil/1', twin, elsewhere), peer('evil/2', alice.public.gate, elsewhere)];
    for (const each of announced) {
      opener.add(each);
      expect(opener.open(seal(alice), NOW)).toMatchObject({ admitted: true, peer: 'alice' });
      opener.remove(each);
      expect(opener.open(seal(alice), NOW)).toMatchObject({ admitted: true, peer: 'alice' });
    }
    for (const each of announced) opener.add(each);
    opener.remove(peer('evil/1', twin, elsewhere));
    expect(reasonOf(opener, seal(alice, NOW, { ...FIELDS, destination: 'evil' }))).toBe('admitted');
    opener.setPeers([]);
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
    opener.remove(peer('evil/2', alice.public.gate, elsewhere));
    expect(reasonOf(opener, seal(alice))).toBe('unknown');
  });
});
