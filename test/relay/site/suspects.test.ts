import { describe, expect, it } from 'vitest';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { TicketOpener, TicketSealer } from '../../../src/crypto/ticket.ts';
import { Suspects } from '../../../src/relay/site/suspects.ts';

const ticket = (hint: number, rest = 'x') => `${String(hint).padStart(11, '0')}${rest.repeat(157)}`;

describe('the suspects of a site', () => {
  it('a rejected text makes its hint suspect, and is itself final only where it was rejected for good', () => {
    const suspects = new Suspects();
    suspects.add(ticket(7), false);
    expect([suspects.has(ticket(7, 'y')), suspects.isFinal(ticket(7))]).toEqual([true, false]);
    suspects.add(ticket(7), true);
    suspects.add(ticket(7, 'y'), false);
    expect([suspects.isFinal(ticket(7)), suspects.isFinal(ticket(7, 'y'))]).toEqual([true, false]);
    expect(suspects.has(ticket(80))).toBe(false);
  });

  it('1,024 hints are remembered, and the one that was rejected longest ago is forgotten', () => {
    const suspects = new Suspects();
    for (let at = 0; at <= 1_024; at++) suspects.add(ticket(10 * at), true);
    expect([suspects.has(ticket(0)), suspects.has(ticket(10)), suspects.has(ticket(10_240))]).toEqual([
      false,
      true,
      true,
    ]);
  });
});

describe('a look at the hint alone', () => {
  it('an opener knows the hints of its peers’ tickets, and of no others, whatever else is in them', () => {
    const [relay, alice, stranger] = [createIdentity(), createIdentity(), createIdentity()];
    const opener = new TicketOpener(relay);
    opener.setPeers([{ name: 'alice', gateKey: alice.public.gate, role: 'client', destination: '' }]);
    const now = 1_700_000_000_000;
    const fields = { role: 'client', destination: '', protocol: 1, features: 0 } as const;
    const text = new TicketSealer(alice, relay.public.gate).seal(fields, now);
    expect(opener.knowsHint(text, now)).toBe(true);
    expect(opener.knowsHint(text.slice(0, 20) + 'A'.repeat(148), now)).toBe(true);
    expect(opener.knowsHint(text, now + 3_600_000)).toBe(false);
    expect(opener.knowsHint(text.slice(1), now)).toBe(false);
    expect(opener.knowsHint(new TicketSealer(stranger, relay.public.gate).seal(fields, now), now)).toBe(false);
    expect(opener.knowsHint('!'.repeat(168), now)).toBe(false);
  });
});
