/** Tickets that say for which relay they are: whose open, what their rejection leaves behind, and what shows in them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AUDIENCE_FEATURE } from '../../src/crypto/audience.ts';
import { createIdentity } from '../../src/crypto/keys.ts';
import { parseRelayUrl } from '../../src/crypto/relay-url.ts';
import { ReplayGuard } from '../../src/crypto/replay-guard.ts';
import {
  type Audiences,
  audienceOf,
  openWithAny,
  PAGE_FEATURE,
  TicketOpener,
  type TicketOpenerOptions,
  TicketSealer,
} from '../../src/crypto/ticket.ts';
import { alice, etagOf, FIELDS, NOW, peer, reasonOf, relay, SECOND, seal } from '../support/crypto/tickets.ts';

const HERE = 'wss://here.example';
const THERE = 'wss://there.example/any/path';
const sealer = new TicketSealer(alice, relay.public.gate);

function only(...urls: readonly string[]): Audiences {
  const own = new Set(urls.map(audienceOf));
  return { has: (audience) => own.has(audience) };
}

/** One of the relays that share the keys. */
function openerAt(audiences: Audiences | undefined, options: TicketOpenerOptions = {}): TicketOpener {
  const opener = new TicketOpener(relay, { ...options, ...(audiences && { audiences }) });
  opener.setPeers([peer('alice', alice.public.gate)]);
  return opener;
}

const sealFor = (url: string, now = NOW, fields = FIELDS): string => sealer.seal(fields, now, audienceOf(url));

const PLACE = fc.record({
  host: fc.stringMatching(/^[a-z][a-z0-9]{0,9}(\.[a-z]{1,5}){0,2}$/),
  port: fc.integer({ min: 1, max: 65535 }),
  path: fc.stringMatching(/^(\/[a-z0-9]{1,5}){0,2}$/),
});

describe('the audience of a URL', () => {
  it('is of host, port and path, and neither of the scheme nor of how they are written', () => {
    const same = [
      ['wss://relay.example', 'wss://relay.example:443', 'ws://relay.example:443', 'WSS://RELAY.example/'],
      ['ws://relay.example', 'ws://relay.example:80', 'wss://relay.example:80'],
      ['wss://münchen.example/a', 'wss://xn--mnchen-3ya.example/a/', 'https://MÜNCHEN.example/a'],
      ['ws://[2001:db8:0:0::1]:8080', 'ws://[2001:DB8::1]:8080'],
      ['ws://127.0.0.1:8080', 'ws://0x7f.1:8080'],
      ['wss://relay.example/a', 'wss://relay.example/b/../a'],
      ['wss://relay.example/A'],
      ['wss://relay.example:8443'],
    ];
    const audiences = same.map((urls) => [...new Set(urls.map((url) => audienceOf(parseRelayUrl(url))))]);
    for (const [at, found] of audiences.entries()) expect(found, same[at]?.[0]).toHaveLength(1);
    expect(new Set(audiences.flat()).size).toBe(same.length);
  });

  it('differs wherever host, port or path do', () => {
    const pair = fc.oneof(
      fc.tuple(PLACE, PLACE),
      fc.tuple(PLACE, PLACE).map(([one, other]) => [one, { ...one, path: other.path }] as const),
      fc.tuple(PLACE, PLACE).map(([one, other]) => [one, { ...one, port: other.port }] as const),
    );
    fc.assert(
      fc.property(pair, ([one, other]) => {
        const [a, b] = [one, other].map(({ host, port, path }) => `${host}:${port}${path}`);
        expect(audienceOf(`ws://${a}`) === audienceOf(`wss://${b}`)).toBe(a === b);
      }),
    );
  });
});

describe('tickets for one relay', () => {
  it('a ticket opens at the relays that have its audience and at those that look at none, and at no other', () => {
    const url = PLACE.map(({ host, port, path }) => `wss://${host}:${port}${path}`);
    fc.assert(
      fc.property(fc.uniqueArray(url, { maxLength: 20 }), url, fc.nat(65535), (own, to, features) => {
        const text = sealer.seal({ ...FIELDS, features }, NOW, audienceOf(to));
        const expected = own.includes(to) ? 'admitted' : 'misdirected';
        expect(reasonOf(openerAt(only(...own)), text)).toBe(expected);
        expect(reasonOf(openerAt(only(...own, to)), text)).toBe('admitted');
        expect(openerAt(undefined).open(text, NOW)).toMatchObject({
          fields: { ...FIELDS, features: features | AUDIENCE_FEATURE },
        });
      }),
      { numRuns: 30 },
    );
  });

  it('a ticket of an older peer, which says no relay, opens everywhere', () => {
    const text = seal(alice);
    expect([openerAt(only(HERE)), openerAt(only())].map((opener) => reasonOf(opener, text))).toEqual([
      'admitted',
      'admitted',
    ]);
  });

  it('a ticket that another relay has opened gets no proof, opens nothing, and is still good where it is meant to be', () => {
    const [here, there] = [openerAt(only(HERE)), openerAt(only(THERE))];
    const text = sealFor(HERE);
    for (const request of [{}, { obstacle: 'wrong-path' }, { obstacle: 'relay-full' }, { fromPage: true }] as const) {
      const rejected = there.open(text, NOW, request);
      expect(rejected).toEqual({ admitted: false, reason: 'misdirected', peer: 'alice' });
      expect(etagOf(rejected)).toBeUndefined();
    }
    expect(there.rememberedNonces).toBe(0);
    expect(reasonOf(here, text)).toBe('admitted');
    expect([reasonOf(here, text), reasonOf(there, text)]).toEqual(['replayed', 'misdirected']);
  });

  it('a ticket of a wrong clock for another relay proves nothing, however often and whenever it comes', () => {
    const there = openerAt(only(THERE));
    const [first, second] = [0, 2].map((seconds) => sealFor(HERE, NOW - 3_600 * SECOND + seconds * SECOND));
    for (const text of [first, second, first, second]) {
      expect(etagOf(openWithAny([there], text ?? '', NOW))).toBeUndefined();
      expect(there.findClocks(100_000, NOW)).toEqual([]);
    }
    // Its own are understood, as before.
    for (const seconds of [0, 2]) {
      const own = sealFor(THERE, NOW - 3_600 * SECOND + seconds * SECOND);
      const decision = openWithAny([there], own, NOW + seconds * SECOND);
      if (seconds === 2) expect(decision).toMatchObject({ reason: 'late', etag: expect.any(String) });
      else expect(there.findClocks(100_000, NOW)).toEqual([{ peer: 'alice', offset: -3_600 }]);
    }
    for (const text of [first, second])
      expect(openWithAny([there], text ?? '', NOW)).toEqual({ admitted: false, reason: 'misdirected', peer: 'alice' });
  });

  it('retired keys prove nothing to a ticket for another relay', () => {
    const retired = openerAt(only(THERE), { retired: true });
    expect(retired.open(sealFor(HERE), NOW)).toEqual({ admitted: false, reason: 'misdirected', peer: 'alice' });
    expect(retired.open(sealFor(THERE), NOW)).toMatchObject({ admitted: true, rotationProof: expect.any(Buffer) });
  });

  it('the relay that it is meant for is named, if it is known', () => {
    const audiences = { has: () => false, urlOf: (one: bigint) => (one === audienceOf(THERE) ? THERE : undefined) };
    const opener = openerAt(audiences);
    expect(opener.open(sealFor(THERE), NOW)).toMatchObject({ reason: 'misdirected', meant: THERE });
    expect(opener.open(sealFor(HERE), NOW)).not.toHaveProperty('meant');
  });

  it('whoever has no key cannot change for which relay a ticket is', () => {
    const there = openerAt(only(THERE));
    fc.assert(
      fc.property(fc.nat(7), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bytes = Buffer.from(sealFor(HERE), 'base64url');
        bytes[8 + 16 + at]! ^= flip;
        expect(reasonOf(there, bytes.toString('base64url'))).toBe('forged');
      }),
    );
  });

  it('two tickets for one relay have no byte of their nonces in common beyond chance, and one guard tells them apart', () => {
    const replays = new ReplayGuard();
    const here = openerAt(only(HERE), { replays });
    const nonces = Array.from({ length: 500 }, () => {
      const text = sealFor(HERE);
      expect(reasonOf(here, text)).toBe('admitted');
      return Buffer.from(text, 'base64url').subarray(8, 32);
    });
    expect(replays.size).toBe(500);
    for (let at = 0; at < 24; at++) expect(new Set(nonces.map((nonce) => nonce[at])).size).toBeGreaterThan(150);
  });

  it('the mask is that of the peer: the same nonce says another relay under another key', () => {
    const bob = createIdentity();
    const opener = openerAt(only(HERE));
    opener.add(peer('bob', bob.public.gate));
    const bobs = new TicketSealer(bob, relay.public.gate).seal(FIELDS, NOW, audienceOf(HERE));
    expect(reasonOf(opener, bobs)).toBe('admitted');
  });

  it('a page’s ticket is for one relay, too', () => {
    const page = { ...FIELDS, features: PAGE_FEATURE };
    expect(openerAt(only(HERE)).open(sealFor(HERE, NOW, page), NOW, { fromPage: true }).admitted).toBe(true);
    expect(openerAt(only(HERE)).open(sealFor(THERE, NOW, page), NOW, { fromPage: true })).toMatchObject({
      reason: 'misdirected',
    });
  });
});
