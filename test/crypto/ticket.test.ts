import fc from 'fast-check';
import nacl from 'tweetnacl';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createIdentity, type Identity } from '../../src/crypto/keys.ts';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';
import {
  openWithAny,
  type Peer,
  TICKET_TEXT_LENGTH,
  type TicketDecision,
  type TicketFields,
  TicketOpener,
  TicketSealer,
} from '../../src/crypto/ticket.ts';
import { LOW_ORDER_POINTS, twinOf } from '../support/low-order-points.ts';

const NOW = 1_800_000_060_000; // in the middle of an epoch
const SECOND = 1000;
const FIELDS: TicketFields = { role: 'client', destination: '', protocol: 1, features: 0 };

const NAME = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
const TOKEN = fc.stringMatching(/^[0-9a-f]{32}$/);

const relay = createIdentity();
const alice = createIdentity();
const bob = createIdentity();

function peer(name: string, gateKey: Uint8Array, place: Partial<Peer> = {}): Peer {
  return { name, gateKey, role: 'client', destination: '', ...place };
}

function openerFor(...names: ('alice' | 'bob')[]): TicketOpener {
  const opener = new TicketOpener(relay);
  const keys = { alice: alice.public.gate, bob: bob.public.gate };
  opener.setPeers(names.map((name) => peer(name, keys[name])));
  return opener;
}

function seal(peer: Identity, now = NOW, fields = FIELDS): string {
  return new TicketSealer(peer, relay.public.gate).seal(fields, now);
}

function reasonOf(opener: TicketOpener, text: string, now = NOW): string {
  const verdict = opener.open(text, now);
  return verdict.admitted ? 'admitted' : verdict.reason;
}

/** A ticket of an arbitrary payload, sealed and hinted as a real one. */
function sealPayload(peer: Identity, payload: Uint8Array): string {
  const real = Buffer.from(seal(peer), 'base64url');
  const nonce = nacl.randomBytes(24);
  const box = nacl.box.after(payload, nonce, peer.exposeGateSharedKey(relay.public.gate));
  return Buffer.concat([real.subarray(0, 8), nonce, box]).toString('base64url');
}

function payloadOf(text: string, peer: Identity): Buffer {
  const bytes = Buffer.from(text, 'base64url');
  const key = peer.exposeGateSharedKey(relay.public.gate);
  return Buffer.from(nacl.box.open.after(bytes.subarray(32), bytes.subarray(8, 32), key)!);
}

afterEach(() => vi.restoreAllMocks());

describe('a ticket', () => {
  it('tells the relay who comes, as what, and where to', () => {
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
          expect(opener.open(seal(alice, NOW, fields), NOW)).toEqual({ admitted: true, peer: 'alice', fields });
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

  it('of somebody else, for another relay, or of a removed peer does not open', () => {
    const opener = openerFor('alice');
    expect(reasonOf(opener, seal(bob))).toBe('unknown');
    const elsewhere = new TicketSealer(alice, createIdentity().public.gate).seal(FIELDS, NOW);
    expect(reasonOf(opener, elsewhere)).toBe('unknown');
    const before = seal(alice);
    opener.setPeers([peer('bob', bob.public.gate)]);
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

  it('once used stays used when its peer is removed and added again', () => {
    const opener = openerFor('alice');
    const text = seal(alice);
    reasonOf(opener, text);
    opener.setPeers([]);
    opener.setPeers([peer('alice-again', alice.public.gate)]);
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
    short.setPeers([peer('alice', alice.public.gate)]);
    expect(reasonOf(short, sealPayload(alice, good.subarray(1)))).toBe('malformed');
  });

  it('leads only where its peer may go, and only in its peer’s role; a refused one is not used up', () => {
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

  it('of an exit may answer any call, but be of no client', () => {
    const opener = new TicketOpener(relay);
    opener.setPeers([peer('home', alice.public.gate, { role: 'exit' })]);
    for (const destination of ['', 'f'.repeat(32), '0123456789abcdef'.repeat(2)])
      expect(reasonOf(opener, seal(alice, NOW, { ...FIELDS, role: 'exit', destination }))).toBe('admitted');
    expect(reasonOf(opener, seal(alice))).toBe('misplaced');
  });

  it('of an exit to anything but nothing or a token does not open, and is not used up', () => {
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
      const verdict = opener.open(seal(alice, NOW, { ...FIELDS, role: 'exit', destination }), NOW);
      expect([destination, verdict]).toEqual([destination, { admitted: false, reason: 'misplaced', peer: 'home' }]);
    }
    expect(opener.rememberedNonces).toBe(0);
  });

  it('of a key with several grants opens by each until that one is taken back', () => {
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

  it('names the peer of a refused one only where the box proved it', () => {
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
    retired.setPeers([peer('bob', bob.public.gate)]);
    return [openerFor('alice'), retired];
  };
  const oldSealer = new TicketSealer(bob, old.public.gate);

  it('open a ticket once, with a proof that only its peer can check, of this one ticket', () => {
    const all = openers();
    const [first, second] = [oldSealer.seal(FIELDS, NOW), oldSealer.seal(FIELDS, NOW)];
    const verdict = openWithAny(all, first, NOW);
    expect(verdict).toMatchObject({ admitted: true, peer: 'bob' });
    const proof = verdict.admitted ? verdict.rotationProof : undefined;
    expect(proof).toEqual(oldSealer.rotationProof(first));
    expect(proof).not.toEqual(oldSealer.rotationProof(second));
    expect(proof).not.toEqual(new TicketSealer(alice, old.public.gate).rotationProof(first));
    expect(openWithAny(all, first, NOW)).toMatchObject({ admitted: false, reason: 'replayed', peer: 'bob' });
  });

  it('say nothing of tickets for the present ones, and know no stranger', () => {
    const verdict = openWithAny(openers(), seal(alice), NOW);
    expect(verdict).toEqual({ admitted: true, peer: 'alice', fields: FIELDS });
    const stranger = new TicketSealer(alice, old.public.gate).seal(FIELDS, NOW);
    expect(openWithAny(openers(), stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
    expect(openWithAny([], stranger, NOW)).toEqual({ admitted: false, reason: 'unknown' });
  });
});

describe('the cost of strangers', () => {
  it('is no public-key work and no opened box, whatever they send', () => {
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

  it('is no public-key work for those who return, nor for those who stay when the list changes', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const before = vi.spyOn(relay, 'exposeGateSharedKey');
    for (let i = 0; i < 10; i++) expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
    opener.setPeers([peer('renamed', alice.public.gate), peer('bob', bob.public.gate)]);
    expect(before).toHaveBeenCalledTimes(1);
    expect(opener.open(sealer.seal(FIELDS, NOW), NOW)).toMatchObject({ admitted: true, peer: 'renamed' });
  });
});

describe('how often one peer may come', () => {
  /** So many tickets a second for so many seconds; how many did not open, and why. */
  function come(opener: TicketOpener, sealer: TicketSealer, perSecond: number, seconds: number, from = NOW) {
    const refused: Record<string, number> = {};
    for (let i = 0; i < perSecond * seconds; i++) {
      const now = from + (i * 1_000) / perSecond;
      const reason = reasonOf(opener, sealer.seal(FIELDS, now), now);
      if (reason !== 'admitted') refused[reason] = (refused[reason] ?? 0) + 1;
    }
    return refused;
  }

  it('is no matter for one whose links are lost every second for ten minutes, however many keys the relay knows', () => {
    const opener = openerFor('alice');
    for (let i = 0; i < 5_000; i++) {
      // As good as a key that somebody generated, and made sooner.
      const key = nacl.randomBytes(32).with(31, 0x55);
      opener.add(peer(`evil/${i}`, key, { destination: 'evil' }));
    }
    expect(come(opener, new TicketSealer(alice, relay.public.gate), 1, 600)).toEqual({});
  });

  it('leaves room for an invite with a thousand sessions that return at once, and again', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    expect(come(opener, sealer, 1_000, 1)).toEqual({});
    expect(come(opener, sealer, 50, 5, NOW + 20 * SECOND)).toEqual({});
    expect(come(opener, sealer, 1_000, 1, NOW + 45 * SECOND)).toEqual({});
  });

  it('is bounded for one who floods, takes nothing from others, is told to that one alone, and passes by itself', () => {
    const opener = openerFor('alice', 'bob');
    const sealer = new TicketSealer(alice, relay.public.gate);
    const refused = come(opener, sealer, 5_000, 1);
    expect(Object.keys(refused)).toEqual(['too-often']);
    expect(refused['too-often']).toBeGreaterThan(3_900);
    for (let i = 0; i < 20; i++) expect(reasonOf(opener, seal(bob, NOW + SECOND), NOW + SECOND)).toBe('admitted');
    expect(come(opener, sealer, 40, 10, NOW + 2 * SECOND)).toEqual({});
    const text = sealer.seal(FIELDS, NOW + 60 * SECOND);
    expect(reasonOf(opener, text, NOW + 60 * SECOND)).toBe('admitted');
    expect(reasonOf(opener, text, NOW + 60 * SECOND)).toBe('replayed');
  });

  it('says so in a proof, and uses no ticket up', () => {
    const opener = openerFor('alice');
    const sealer = new TicketSealer(alice, relay.public.gate);
    come(opener, sealer, 1_024, 1, NOW - 60 * SECOND);
    for (let i = 0; i < 1_024; i++) opener.open(sealer.seal(FIELDS, NOW), NOW);
    const text = sealer.seal(FIELDS, NOW);
    const verdict = opener.open(text, NOW);
    expect(verdict).toMatchObject({ admitted: false, reason: 'too-often', peer: 'alice' });
    expect(sealer.refusalIn(etagOf(verdict) ?? '', text)).toEqual({ reason: 'too-often', time: NOW });
    expect(reasonOf(opener, text, NOW + SECOND)).toBe('admitted');
  });

  it('does not count what an exit answers to calls that wait, so its clients cannot shut it out', () => {
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

  it('counts control links of an exit apart, and lets one be lost every second', () => {
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

function etagOf(verdict: TicketDecision): string | undefined {
  return verdict.admitted ? undefined : verdict.etag;
}

describe('a proven refusal', () => {
  const sealer = new TicketSealer(alice, relay.public.gate);
  const obstacles = ['upgrade-dropped', 'wrong-path', 'relay-full'] as const;

  it('tells its peer why there is no link, with the time of the relay, and uses no ticket up', () => {
    const opener = openerFor('alice');
    for (const obstacle of obstacles) {
      const text = sealer.seal(FIELDS, NOW);
      const verdict = opener.open(text, NOW + 1_234, { obstacle });
      expect(verdict).toMatchObject({ admitted: false, reason: obstacle, peer: 'alice' });
      expect(sealer.refusalIn(etagOf(verdict) ?? '', text)).toEqual({ reason: obstacle, time: NOW + 1_000 });
      expect(reasonOf(opener, text)).toBe('admitted');
    }
  });

  it('looks like an ETag of random bytes, and opens to nobody else and for no other ticket', () => {
    const opener = openerFor('alice', 'bob');
    const [one, other] = [sealer.seal(FIELDS, NOW), sealer.seal(FIELDS, NOW)];
    const etag = etagOf(opener.open(one, NOW, { obstacle: 'relay-full' })) ?? '';
    expect(etag).toMatch(/^"[A-Za-z0-9_-]{66}"$/);
    expect(sealer.refusalIn(etag, other)).toBeUndefined();
    expect(new TicketSealer(bob, relay.public.gate).refusalIn(etag, one)).toBeUndefined();
    expect(new TicketSealer(alice, createIdentity().public.gate).refusalIn(etag, one)).toBeUndefined();
    const again = etagOf(opener.open(other, NOW, { obstacle: 'relay-full' })) ?? '';
    for (let at = 1; at < 67; at += 1) {
      const changed = etag.slice(0, at) + (etag[at] === 'A' ? 'B' : 'A') + etag.slice(at + 1);
      expect(sealer.refusalIn(changed, one)).toBeUndefined();
    }
    const same = [...etag].filter((character, at) => character === again[at]).length;
    expect(same).toBeLessThan(20);
  });

  it('is read in what front ends make of an ETag, and from no other text', () => {
    const text = sealer.seal(FIELDS, NOW);
    const etag = etagOf(openerFor('alice').open(text, NOW, { obstacle: 'relay-full' })) ?? '';
    for (const form of [
      etag,
      `W/${etag}`,
      etag.replace(/"$/, '-gzip"'),
      `W/${etag.replace(/"$/, ';br"')}`,
      ` ${etag} `,
    ])
      expect([form, sealer.refusalIn(form, text)?.reason]).toEqual([form, 'relay-full']);
    fc.assert(fc.property(fc.string(), (other) => sealer.refusalIn(other, text) === undefined));
    for (const other of ['', '"', 'W/"', etag.slice(2), `"${'A'.repeat(66)}"`, etag.slice(1)])
      expect([other, sealer.refusalIn(other, text)]).toEqual([other, undefined]);
  });

  it('is given once for a ticket: whoever saw it pass learns nothing by it', () => {
    const opener = openerFor('alice');
    const text = sealer.seal(FIELDS, NOW);
    for (const obstacle of obstacles)
      expect(etagOf(opener.open(text, NOW, { obstacle })) !== undefined).toBe(obstacle === 'upgrade-dropped');
  });

  it('is given to no stranger, no forger, no replayer, and to none at a place that is not its own', () => {
    const opener = openerFor('alice');
    const used = sealer.seal(FIELDS, NOW);
    expect(reasonOf(opener, used)).toBe('admitted');
    const forged = Buffer.from(sealer.seal(FIELDS, NOW), 'base64url');
    forged[90] = forged[90]! ^ 1;
    const others = [
      used,
      seal(bob),
      forged.toString('base64url'),
      sealer.seal({ ...FIELDS, destination: 'home' }, NOW),
      'x'.repeat(168),
    ];
    for (const obstacle of [...obstacles, undefined])
      for (const text of others) expect(etagOf(opener.open(text, NOW, { obstacle }))).toBeUndefined();
    expect(etagOf(opener.open(sealer.seal(FIELDS, NOW), NOW, { fromPage: true }))).toBeUndefined();
  });

  it('costs a peer who asks for thousands only its own proofs', () => {
    const opener = openerFor('alice', 'bob');
    let proofs = 0;
    for (let i = 0; i < 3_000; i++)
      if (etagOf(opener.open(sealer.seal(FIELDS, NOW), NOW, { obstacle: 'relay-full' }))) proofs += 1;
    expect(proofs).toBe(1_024);
    expect(etagOf(opener.open(seal(bob), NOW, { obstacle: 'relay-full' }))).toBeDefined();
    expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
  });
});

describe('a wrong clock', () => {
  const sealer = new TicketSealer(alice, relay.public.gate);

  /** All that waits is looked for. */
  function search(opener: TicketOpener, now = NOW): unknown[] {
    const found: unknown[] = [];
    while (opener.hasClocksToFind) found.push(...opener.findClocks(1_000, now));
    return found;
  }

  it('within the neighbouring epochs is proved at once', () => {
    for (const seconds of [-130, 130]) {
      const text = sealer.seal(FIELDS, NOW + seconds * SECOND);
      const verdict = openWithAny([openerFor('alice')], text, NOW);
      expect(verdict).toMatchObject({ admitted: false, reason: seconds < 0 ? 'late' : 'early', offset: seconds });
      expect(sealer.refusalIn(etagOf(verdict) ?? '', text)).toEqual({ reason: 'clock-off', time: NOW });
    }
  });

  it.each([-86_000, -36_000, -3_600, -600, -400, 400, 600, 3_600, 7_200, 86_000])(
    'of %i s is found in the background, told to the log, and proved to the next ticket',
    (seconds) => {
      const opener = openerFor('alice', 'bob');
      const by = (later: number): string => sealer.seal(FIELDS, NOW + (seconds + later) * SECOND);
      expect(openWithAny([opener], by(0), NOW)).toEqual({ admitted: false, reason: 'unknown' });
      expect(search(opener)).toEqual([{ peer: 'alice', offset: seconds }]);
      for (const later of [1, 300, 800]) {
        const text = by(later);
        const now = NOW + later * SECOND;
        const verdict = openWithAny([opener], text, now);
        expect(verdict).toMatchObject({ admitted: false, peer: 'alice', offset: seconds });
        expect(sealer.refusalIn(etagOf(verdict) ?? '', text)).toEqual({ reason: 'clock-off', time: now });
      }
      // She goes by the time that was proved.
      expect(reasonOf(opener, sealer.seal(FIELDS, NOW + 2 * SECOND), NOW + 2 * SECOND)).toBe('admitted');
      expect(reasonOf(opener, by(3_000), NOW + 3_000 * SECOND)).toBe('unknown');
    },
  );

  it('is found for many peers in one way through the epochs, and the search comes to an end for strangers', () => {
    const opener = openerFor('alice', 'bob');
    for (let i = 0; i < 50; i++)
      openWithAny([opener], new TicketSealer(createIdentity(), relay.public.gate).seal(FIELDS, NOW), NOW);
    openWithAny([opener], seal(alice, NOW - 600 * SECOND), NOW);
    openWithAny([opener], seal(bob, NOW + 5_000 * SECOND), NOW);
    let hints = 0;
    const found: unknown[] = [];
    while (opener.hasClocksToFind) {
      found.push(...opener.findClocks(100, NOW));
      hints += 100;
    }
    expect(found).toEqual([
      { peer: 'alice', offset: -600 },
      { peer: 'bob', offset: 5_000 },
    ]);
    expect(hints).toBeLessThan(3_500);
  });

  it('is not looked for where an old invite explains the ticket', () => {
    const old = createIdentity();
    const retired = new TicketOpener(old, { retired: true });
    retired.setPeers([peer('bob', bob.public.gate)]);
    const opener = openerFor('alice');
    expect(openWithAny([opener, retired], new TicketSealer(bob, old.public.gate).seal(FIELDS, NOW), NOW).admitted).toBe(
      true,
    );
    expect(opener.hasClocksToFind).toBe(false);
    openWithAny([opener, retired], 'x'.repeat(168), NOW);
    expect(opener.hasClocksToFind).toBe(true);
  });

  it('is not seen in an old ticket that opened a link when it was fresh, however often it comes', () => {
    const opener = openerFor('alice');
    const old = [0, 1, 2, 3].map((second) => sealer.seal(FIELDS, NOW + second * SECOND));
    for (const text of old) expect(reasonOf(opener, text)).toBe('admitted');
    const later = NOW + 7_200 * SECOND;
    for (let round = 0; round < 3; round++) {
      for (const [second, text] of old.entries()) {
        const now = later + (round * 60 + second) * SECOND;
        expect(openWithAny([opener], text, now)).toEqual({ admitted: false, reason: 'unknown' });
        expect(search(opener, now)).toEqual([]);
      }
    }
  });

  it('is not proved to a ticket that was kept back, whatever is known of its peer’s clock', () => {
    const opener = openerFor('alice');
    const kept = sealer.seal(FIELDS, NOW - 7_200 * SECOND);
    // Found once, it says nothing; and it never says anything.
    for (let i = 0; i < 5; i++) {
      expect(etagOf(openWithAny([opener], kept, NOW + i * SECOND))).toBeUndefined();
      search(opener, NOW);
    }
    // Nor does one that is not as far off as the last.
    const other = sealer.seal(FIELDS, NOW - 7_150 * SECOND);
    expect(etagOf(openWithAny([opener], other, NOW + 5 * SECOND))).toBeUndefined();
  });

  it('is not proved where the relay may have forgotten that the ticket was used', () => {
    const replays = new ReplayGuard();
    replays.forgetBefore(NOW - 1_000 * SECOND);
    const opener = new TicketOpener(relay, { replays });
    opener.setPeers([peer('alice', alice.public.gate)]);
    for (let second = 0; second < 3; second++) {
      const text = seal(alice, NOW + (second - 2_000) * SECOND);
      expect(etagOf(openWithAny([opener], text, NOW + second * SECOND))).toBeUndefined();
      search(opener, NOW + second * SECOND);
    }
  });
});

describe('public keys that are several spellings of one', () => {
  const elsewhere = { destination: 'evil' };

  it('are refused where they are not the one spelling, or make a secret that everybody knows', () => {
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

  it('that share a secret, because they differ by a point of small order, take nothing from each other', () => {
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
