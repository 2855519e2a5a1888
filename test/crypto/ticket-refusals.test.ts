/** What a relay proves to the peer of a ticket that makes no link, and how it finds wrong clocks. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../src/crypto/keys.ts';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';
import { openWithAny, TicketOpener, TicketSealer } from '../../src/crypto/ticket.ts';
import {
  alice,
  bob,
  etagOf,
  FIELDS,
  NOW,
  openerFor,
  peer,
  reasonOf,
  relay,
  SECOND,
  seal,
} from '../support/crypto/tickets.ts';

describe('proven refusals', () => {
  const sealer = new TicketSealer(alice, relay.public.gate);
  const obstacles = ['upgrade-dropped', 'wrong-path', 'relay-full'] as const;

  it("a refusal tells its peer why there is no link, with the relay's time, and uses no ticket up", () => {
    const opener = openerFor('alice');
    for (const obstacle of obstacles) {
      const text = sealer.seal(FIELDS, NOW);
      const decision = opener.open(text, NOW + 1_234, { obstacle });
      expect(decision).toMatchObject({ admitted: false, reason: obstacle, peer: 'alice' });
      expect(sealer.refusalIn(etagOf(decision) ?? '', text)).toEqual({ reason: obstacle, time: NOW + 1_000 });
      expect(reasonOf(opener, text)).toBe('admitted');
    }
  });

  it('a refusal looks like an ETag of random bytes, and opens only for its peer and its ticket', () => {
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

  it('a refusal is read from an ETag as front ends change it, and from no other text', () => {
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

  it('a refusal is given once for a ticket, so that someone who recorded the ticket learns nothing', () => {
    const opener = openerFor('alice');
    const text = sealer.seal(FIELDS, NOW);
    for (const obstacle of obstacles)
      expect(etagOf(opener.open(text, NOW, { obstacle })) !== undefined).toBe(obstacle === 'upgrade-dropped');
  });

  it('a refusal is given neither for unknown, forged or replayed tickets, nor for those with a wrong scope', () => {
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

  it('a peer that causes thousands of refusals uses up only its own proofs', () => {
    const opener = openerFor('alice', 'bob');
    let proofs = 0;
    for (let i = 0; i < 3_000; i++)
      if (etagOf(opener.open(sealer.seal(FIELDS, NOW), NOW, { obstacle: 'relay-full' }))) proofs += 1;
    expect(proofs).toBe(1_024);
    expect(etagOf(opener.open(seal(bob), NOW, { obstacle: 'relay-full' }))).toBeDefined();
    expect(reasonOf(opener, sealer.seal(FIELDS, NOW))).toBe('admitted');
  });
});

describe('wrong clocks', () => {
  const sealer = new TicketSealer(alice, relay.public.gate);

  function search(opener: TicketOpener, now = NOW): unknown[] {
    const found: unknown[] = [];
    while (opener.hasClocksToFind) found.push(...opener.findClocks(1_000, now));
    return found;
  }

  it('a clock that is wrong by less than two epochs is proved at once', () => {
    for (const seconds of [-130, 130]) {
      const text = sealer.seal(FIELDS, NOW + seconds * SECOND);
      const decision = openWithAny([openerFor('alice')], text, NOW);
      expect(decision).toMatchObject({ admitted: false, reason: seconds < 0 ? 'late' : 'early', offset: seconds });
      expect(sealer.refusalIn(etagOf(decision) ?? '', text)).toEqual({ reason: 'clock-off', time: NOW });
    }
  });

  it.each([-86_000, -36_000, -3_600, -600, -400, 400, 600, 3_600, 7_200, 86_000])(
    'a clock that is wrong by %i s is found in the background, reported, and proved to the next ticket',
    (seconds) => {
      const opener = openerFor('alice', 'bob');
      const by = (later: number): string => sealer.seal(FIELDS, NOW + (seconds + later) * SECOND);
      expect(openWithAny([opener], by(0), NOW)).toEqual({ admitted: false, reason: 'unknown' });
      expect(search(opener)).toEqual([{ peer: 'alice', offset: seconds }]);
      for (const later of [1, 300, 800]) {
        const text = by(later);
        const now = NOW + later * SECOND;
        const decision = openWithAny([opener], text, now);
        expect(decision).toMatchObject({ admitted: false, peer: 'alice', offset: seconds });
        expect(sealer.refusalIn(etagOf(decision) ?? '', text)).toEqual({ reason: 'clock-off', time: now });
      }
      // She goes by the time that was proved.
      expect(reasonOf(opener, sealer.seal(FIELDS, NOW + 2 * SECOND), NOW + 2 * SECOND)).toBe('admitted');
      expect(reasonOf(opener, by(3_000), NOW + 3_000 * SECOND)).toBe('unknown');
    },
  );

  it('wrong clocks of many peers are found in one pass, and the search for strangers ends', () => {
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

  it('a wrong clock is not searched if an old invite explains the ticket', () => {
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

  it('an old ticket that once opened a link does not show a wrong clock, however often it comes', () => {
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

  it("a wrong clock is not proved to a ticket that was kept back, whatever is known of its peer's clock", () => {
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

  it('a wrong clock is not proved if the relay may have forgotten that the ticket was used', () => {
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
