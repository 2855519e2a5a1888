/** Which way the next link of a session takes. In virtual time. */
import { describe, expect, it } from 'vitest';
import type { Way } from '../../../src/tunnel/dial/session-dialer.ts';
import { SessionWays } from '../../../src/tunnel/session/session-ways.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const wayOf = (name: string): Way => ({ name, dial: () => Promise.reject(new Error('not dialled here')) });
const NONE = new Map<string, number>();

async function found(...names: string[]) {
  const clock = new VirtualClock();
  const known = { names, searches: 0, changes: 0 };
  const find = async (): Promise<Way[]> => {
    known.searches += 1;
    return known.names.map(wayOf);
  };
  const ways = new SessionWays(find, clock, () => {
    known.changes += 1;
  });
  ways.look();
  await clock.advance(1);
  return { clock, known, ways };
}

describe('the ways of a session', () => {
  it('the first way without a link is the next to be dialled, until each has one', async () => {
    const { ways } = await found('wi-fi', 'phone');
    expect(ways.unused(NONE)?.name).toBe('wi-fi');
    expect(ways.unused(new Map([['wi-fi', 1]]))?.name).toBe('phone');
    const links = new Map([
      ['wi-fi', 1],
      ['phone', 1],
    ]);
    expect(ways.unused(links)).toBe(undefined);
  });

  it('a further link takes the way with the fewest', async () => {
    const { ways } = await found('wi-fi', 'phone');
    const links = new Map([
      ['wi-fi', 2],
      ['phone', 1],
    ]);
    expect(ways.leastUsed(links)?.name).toBe('phone');
  });

  it('a way that fails is tried again after pauses that double to a minute, and others are used meanwhile', async () => {
    const { clock, ways } = await found('wi-fi', 'phone');
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      ways.handleFailed('wi-fi', false);
      expect(ways.unused(NONE)?.name).toBe('phone');
      expect(ways.leastUsed(NONE)?.name).toBe('phone');
      const waitMs = ways.nextAt(NONE) - clock.now();
      waits.push(waitMs);
      await clock.advance(waitMs);
      expect(ways.unused(NONE)?.name).toBe('wi-fi');
    }
    expect(waits[0]).toBeGreaterThanOrEqual(1_000);
    expect(waits[0]).toBeLessThan(3_000);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(30_000);
    expect(waits.at(-1)).toBeLessThan(90_000);
  });

  it('a way whose link did not last a minute pauses, and one whose link did is dialled at once', async () => {
    const { clock, ways } = await found('wi-fi', 'phone');
    const both = new Map([
      ['wi-fi', 1],
      ['phone', 1],
    ]);
    const phone = new Map([['phone', 1]]);
    for (const [ageMs, isPaused] of [
      [59_999, true],
      [60_000, false],
    ] as const) {
      ways.handleLinks(both, true);
      await clock.advance(ageMs);
      ways.handleLinks(phone, true);
      expect(ways.unused(phone)?.name).toBe(isPaused ? undefined : 'wi-fi');
      await clock.advance(3_000);
      expect(ways.unused(phone)?.name).toBe('wi-fi');
    }
  });

  it('a way whose links the network stops all the time does not pause', async () => {
    const { clock, ways } = await found('wi-fi', 'phone');
    ways.handleLinks(new Map([['wi-fi', 1]]), false);
    await clock.advance(1_000);
    ways.handleLinks(NONE, false);
    expect(ways.unused(NONE)?.name).toBe('wi-fi');
  });

  it('a way to another exit is left alone for ten minutes, or until the network changes', async () => {
    const { clock, ways } = await found('here', 'elsewhere');
    const links = new Map([['here', 1]]);
    ways.handleFailed('elsewhere', true);
    await clock.advance(599_000);
    expect(ways.unused(links)).toBe(undefined);
    await clock.advance(1_000);
    expect(ways.unused(links)?.name).toBe('elsewhere');
    ways.handleFailed('elsewhere', true);
    ways.handleNetworkChanged();
    await clock.advance(1);
    expect(ways.unused(links)?.name).toBe('elsewhere');
  });

  it('ways are looked for again after five minutes; those that failed keep their pause', async () => {
    const { clock, known, ways } = await found('a', 'b');
    known.names = ['b', 'c'];
    const at = ways.nextAt(NONE);
    await clock.advance(at - clock.now());
    ways.handleFailed('b', true);
    ways.handleTimeout();
    await clock.advance(1);
    expect(known.searches).toBe(2);
    expect(known.changes).toBe(2);
    expect(ways.unused(NONE)?.name).toBe('c');
    expect(ways.unused(new Map([['c', 1]]))).toBe(undefined);
  });

  it('no more than eight ways are used, and two of the same name are one', async () => {
    const { ways } = await found(...'aabcdefghij');
    const links = new Map<string, number>();
    for (let way = ways.unused(links); way !== undefined; way = ways.unused(links)) links.set(way.name, 1);
    expect([...links.keys()].join('')).toBe('abcdefgh');
  });
});
