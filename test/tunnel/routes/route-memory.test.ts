import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOf, type Route, routesBy } from '../../../src/tunnel/routes/route.ts';
import { RouteMemory } from '../../../src/tunnel/routes/route-memory.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const RELAY = 'wss://relay.example.org';
const PROXY = {
  name: 'http://proxy.office.example:3128',
  connect: () => Promise.reject(new Error('not dialled here')),
};
const ROUTES = routesBy(['websocket', 'http'], [PROXY, undefined]);
const BY_HTTP: Route = { carrier: 'http', proxy: PROXY };

function setUp({ network = 'gateway wifi 192.168.7.1' as string | undefined, content }: Partial<Options> = {}) {
  const clock = new VirtualClock();
  const place = { network };
  const contents: unknown[] = [];
  const memory = new RouteMemory({
    ...{ network: () => place.network, clock, content },
    onChange: (kept) => void contents.push(JSON.parse(JSON.stringify(kept))),
  });
  const carried = (relay = RELAY): string | undefined => {
    const known = memory.carried(relay, ROUTES);
    return known && `${keyOf(known.route)} ${known.first.usualMs} ${known.first.isProven}`;
  };
  return { clock, place, contents, memory, carried };
}

interface Options {
  readonly network: string | undefined;
  readonly content: unknown;
}

describe('RouteMemory', () => {
  it('RouteMemory knows what has carried, for this relay and in this network only', () => {
    const { memory, carried, place } = setUp();
    expect(carried()).toBeUndefined();
    memory.noteCarried(RELAY, BY_HTTP, 120.4);
    expect(carried()).toBe(`http ${PROXY.name} 121 true`);
    expect(carried('wss://other.example.org')).toBeUndefined();
    place.network = 'gateway wired 10.0.0.1';
    expect(carried()).toBeUndefined();
    memory.noteCarried(RELAY, { carrier: 'websocket' }, 30);
    expect(carried()).toBe('websocket 30 true');
    place.network = 'gateway wifi 192.168.7.1';
    expect(carried()).toBe(`http ${PROXY.name} 121 true`);
  });

  it('RouteMemory knows on which route answers are held back, here and in the next process, until they stream', () => {
    const { memory, contents, place } = setUp();
    memory.noteHolding(RELAY, BY_HTTP, true);
    memory.noteHolding(RELAY, BY_HTTP, true);
    expect(contents).toHaveLength(1);
    expect(memory.isHolding(RELAY, BY_HTTP)).toBe(true);
    expect(memory.isHolding(RELAY, { carrier: 'http' })).toBe(false);
    place.network = 'gateway wired 10.0.0.1';
    expect(memory.isHolding(RELAY, BY_HTTP)).toBe(false);
    const next = setUp({ content: contents.at(-1) });
    expect(next.memory.isHolding(RELAY, BY_HTTP)).toBe(true);
    next.memory.noteHolding(RELAY, BY_HTTP, false);
    expect(next.memory.isHolding(RELAY, BY_HTTP)).toBe(false);
    expect(setUp({ content: next.contents.at(-1) }).memory.isHolding(RELAY, BY_HTTP)).toBe(false);
  });

  it('RouteMemory knows which of several relays has carried last in this network, in the next process, too', () => {
    const [a, b, c] = ['wss://a.test', 'wss://b.test', 'wss://c.test'];
    const { memory, contents, place } = setUp();
    expect(memory.lastOf([a, b, c])).toBeUndefined();
    for (const relay of [a, b, a]) memory.noteCarried(relay, BY_HTTP, 100);
    expect([memory.lastOf([a, b, c]), memory.lastOf([b, c]), memory.lastOf([c])]).toEqual([a, b, undefined]);
    place.network = 'gateway wired 10.0.0.1';
    memory.noteCarried(c, BY_HTTP, 100);
    expect(memory.lastOf([a, b, c])).toBe(c);
    const next = setUp({ content: contents.at(-1) });
    expect(next.memory.lastOf([a, b, c])).toBe(a);
    expect(next.memory.usualTimeOf(a)).toEqual({ usualMs: 100, isProven: false });
    expect([memory.usualTimeOf(c)?.isProven, memory.usualTimeOf(b)]).toEqual([true, undefined]);
    next.memory.noteSilent(a, BY_HTTP);
    expect(next.memory.lastOf([a, b, c])).toBe(b);
  });

  it('RouteMemory keeps nothing anew where the same relay carries again by the same route', () => {
    const { memory, contents } = setUp();
    for (let i = 0; i < 3; i++) memory.noteCarried(RELAY, BY_HTTP, 100);
    expect(contents).toHaveLength(1);
  });

  it('RouteMemory takes up the file of a version that knew nothing of answers that are held back', () => {
    const { memory, contents } = setUp();
    memory.noteCarried(RELAY, BY_HTTP, 120);
    const { holding: _, ...earlier } = contents.at(-1) as Record<string, unknown>;
    expect(setUp({ content: earlier }).carried()).toBe(`http ${PROXY.name} 120 false`);
  });

  it('RouteMemory takes up what another process has kept, but has not seen it carry', () => {
    const { memory, contents } = setUp();
    memory.noteCarried(RELAY, BY_HTTP, 120);
    memory.noteNoHttp('wss://old.example.org');
    memory.noteAddress('relay.example.org:443', '203.0.113.9');
    const next = setUp({ content: contents.at(-1) });
    expect(next.carried()).toBe(`http ${PROXY.name} 120 false`);
    expect(next.memory.knowsNoHttp('wss://old.example.org')).toBe(true);
    expect(next.memory.addressOf('relay.example.org:443')).toBe('203.0.113.9');
  });

  it('RouteMemory keeps no name of a network, a relay or a proxy', () => {
    const { memory, contents } = setUp();
    memory.noteCarried(RELAY, BY_HTTP, 120);
    memory.noteNoHttp(RELAY);
    memory.noteAddress('relay.example.org:443', '203.0.113.9');
    expect(JSON.stringify(contents)).not.toMatch(/relay|proxy|office|gateway|192\.168|http/);
    const other = setUp();
    other.memory.noteCarried(RELAY, BY_HTTP, 120);
    const hashesOf = (content: unknown) => JSON.stringify((content as { routes: unknown }).routes);
    expect(hashesOf(other.contents[0])).not.toBe(hashesOf(contents[0]));
  });

  it('RouteMemory reports no change where a route takes about as long as before', () => {
    const { memory, contents } = setUp();
    for (const tookMs of [100, 150, 199, 60]) memory.noteCarried(RELAY, BY_HTTP, tookMs);
    expect(contents.length).toBe(1);
    memory.noteCarried(RELAY, BY_HTTP, 500);
    expect(contents.length).toBe(2);
  });

  it('RouteMemory forgets a route whose link carried nothing, and names it until another one has carried', () => {
    const { memory, carried } = setUp();
    memory.noteCarried(RELAY, BY_HTTP, 100);
    memory.noteSilent(RELAY, BY_HTTP);
    expect(carried()).toBeUndefined();
    expect([...memory.silentRoutes(RELAY)]).toEqual([keyOf(BY_HTTP)]);
    memory.noteCarried(RELAY, { carrier: 'websocket' }, 30);
    expect(memory.silentRoutes(RELAY).size).toBe(0);
  });

  it('RouteMemory asks a relay that knows no HTTP link again after a day, also where the clock was set back', async () => {
    const { memory, clock } = setUp();
    expect(memory.knowsNoHttp(RELAY)).toBe(false);
    memory.noteNoHttp(RELAY);
    expect(memory.knowsNoHttp(RELAY)).toBe(true);
    clock.setWallTime(clock.wallTime() - 3_600_000);
    expect(memory.knowsNoHttp(RELAY)).toBe(false);
    clock.setWallTime(clock.wallTime() + 2 * 3_600_000);
    expect(memory.knowsNoHttp(RELAY)).toBe(true);
    await clock.advance(24 * 3_600_000);
    expect(memory.knowsNoHttp(RELAY)).toBe(false);
  });

  it('RouteMemory holds 64 pairs of network and relay, those that were used last', () => {
    const { memory, carried, place, contents } = setUp();
    for (let i = 0; i < 70; i++) {
      place.network = `network ${i}`;
      memory.noteCarried(RELAY, BY_HTTP, 100);
    }
    expect((contents.at(-1) as { routes: unknown[] }).routes.length).toBe(64);
    expect(carried()).toBeDefined();
    place.network = 'network 5';
    expect(carried()).toBeUndefined();
  });

  it('RouteMemory counts anything else than its own content as nothing', () => {
    const { memory, contents } = setUp();
    memory.noteCarried(RELAY, BY_HTTP, 100);
    const good = contents[0] as Record<string, unknown>;
    const bad: unknown[] = [
      undefined,
      null,
      'text',
      [],
      { ...good, version: 2 },
      { ...good, salt: 'short' },
      { ...good, routes: [['a', 'b', 'c']] },
      { ...good, routes: [['a', 'b']] },
      { ...good, routes: Array(65).fill(['a', 'b', 1]) },
      { ...good, noHttp: [['a', null]] },
      { ...good, addresses: {} },
    ];
    for (const content of bad) expect(setUp({ content }).carried(), JSON.stringify(content)).toBeUndefined();
    expect(setUp({ content: good }).carried()).toBeDefined();
    fc.assert(fc.property(fc.jsonValue(), (content) => setUp({ content }).carried() === undefined));
  });
});
