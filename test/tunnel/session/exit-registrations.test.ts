import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { sleep } from '../../../src/async/abortable.ts';
import { type FaultName, WstunError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { NamedExits } from '../../../src/relay/named-exits.ts';
import { ControlLink } from '../../../src/transport/control-link.ts';
import {
  encodeControl,
  INSTANCE_FEATURE,
  OCCUPIED_FEATURE,
  WHEN_FREE_FEATURE,
} from '../../../src/transport/control-messages.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { RelayRoutes } from '../../../src/tunnel/dial/relay-routes.ts';
import { ExitRegistrations, type RelayPlace } from '../../../src/tunnel/session/exit-registrations.ts';
import { faultOfPromise } from '../../support/faults.ts';
import { LinkRecorder } from '../../support/links/link-recorder.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const MINUTE_MS = 60_000;
/** Of earlier relays. */
const WITHOUT_ID = INSTANCE_FEATURE;
const WITHOUT_PLACES = INSTANCE_FEATURE | OCCUPIED_FEATURE | WHEN_FREE_FEATURE;

type Serve = (link: MessageLink, ticket: { destination: string; features: number }) => void;

/** Relays in memory, by the URLs that lead to them; their code is the real one. */
class World {
  readonly clock = new VirtualClock();
  readonly dials: string[] = [];
  readonly polite: string[] = [];
  /** The middle of each control link, on the side of the exit and on that of the relay; the newest last. */
  readonly ends = new Map<string, [MessageLink, MessageLink][]>();
  /** How long dials take, ms. */
  readonly delays = new Map<string, number>();
  private readonly servers = new Map<string, Serve | FaultName>();

  /** @param unknownFeatures bits that it does not know */
  relay(id: string, urls: readonly string[], unknownFeatures = 0): NamedExits {
    const exits = new NamedExits({
      tickets: { add() {}, remove() {} },
      logger: silentLogger,
      instance: id.repeat(32),
      clock: this.clock,
    });
    onTestFinished(() => exits.close());
    this.serve(urls, (link, { destination, features }) =>
      exits.serve(link, { role: 'exit', peer: 'home', destination, features: features & ~unknownFeatures }),
    );
    return exits;
  }

  /** What answers at these URLs; a fault: every dial fails with it. */
  serve(urls: readonly string[], serve: Serve | FaultName): void {
    for (const url of urls) this.servers.set(url, serve);
  }

  /** The path to a URL is cut. @param isSilent the relay does not notice it, and hears nothing any more */
  cut(url: string, isSilent = false): void {
    const [near, far] = this.ends.get(url)?.at(-1) ?? [];
    if (isSilent) far?.setHandler({ handleMessage() {}, handleDrain() {}, handleClose() {} });
    near?.abort();
  }

  dialer = {
    dial: async (
      url: string,
      { destination, features = 0 }: { destination: string; features?: number },
    ): Promise<MessageLink> => {
      this.dials.push(destination === '' ? url : `${url} call`);
      if ((features & WHEN_FREE_FEATURE) !== 0) this.polite.push(url);
      const delayMs = this.delays.get(url) ?? 0;
      if (delayMs > 0) await sleep(this.clock, delayMs);
      const server = this.servers.get(url) ?? 'relay-unreachable';
      if (typeof server === 'string') throw new WstunError(server);
      const [near, atNear] = memoryLinkPair();
      const [atFar, far] = memoryLinkPair();
      join(atNear, atFar);
      join(atFar, atNear);
      if (destination === '') this.ends.set(url, [...(this.ends.get(url) ?? []), [atNear, atFar]]);
      server(far, { destination, features });
      return near;
    },
    rotationProofOf: (): Buffer => Buffer.alloc(32, 7),
  };
}

/** What comes to `from` goes out at `to`. */
function join(from: MessageLink, to: MessageLink): void {
  from.setHandler({
    handleMessage: (message) => void to.send(message),
    handleDrain() {},
    handleClose: ({ clean }) => (clean ? to.close() : to.abort()),
  });
}

function setUp(relays: readonly string[], options: { once?: boolean } = {}) {
  const world = new World();
  const { clock } = world;
  const log: string[] = [];
  const links: MessageLink[] = [];
  const exit = new ExitRegistrations({
    ...{ relays, clock, logger: silentLogger, ...options },
    dialerOf: () => world.dialer,
    routesOf: () => new RelayRoutes({ clock, transport: 'websocket' }),
    handler: {
      handleLink: (link) => void links.push(link),
      handleSeen() {},
      handleRegistered: (relay) => void log.push(`registered at ${relay}`),
      handleTaken() {},
      handleLost: ({ fault }) => void log.push(`lost: ${fault}`),
      handleChange: (place) => void log.push(changeText(place)),
    },
  });
  onTestFinished(() => exit.close());
  const standing = () => exit.places.filter((place) => place.registeredAt !== undefined).map(({ relay }) => relay);
  return {
    world,
    clock,
    exit,
    log,
    links,
    standing,
    until: (isDone: () => boolean) => clock.advanceUntil(isDone, 3_600_000),
  };
}

function changeText({ relay, registeredAt, error, sameAs }: RelayPlace): string {
  if (sameAs !== undefined) return `${relay} is ${sameAs}`;
  return registeredAt === undefined ? `${relay}: ${error?.fault}` : `also at ${relay}`;
}

describe('an exit with several relays', () => {
  it('it registers at all of them at once, and answers a call at the relay that called', async () => {
    const { world, clock, exit, links, log, standing } = setUp(['a', 'b', 'c']);
    for (const url of ['a', 'b']) world.relay(url, [url]);
    const third = world.relay('c', ['c']);
    exit.setPeers([]);
    void exit.run();
    await clock.advance(10);
    expect(world.dials).toEqual(['a', 'b', 'c']);
    expect(standing()).toEqual(['a', 'b', 'c']);
    expect(log).toEqual(['registered at a', 'also at b', 'also at c']);
    const [near, far] = memoryLinkPair();
    third.serve(near, { role: 'client', peer: 'alice', destination: 'home' });
    new LinkRecorder(far);
    await clock.advance(10);
    expect(world.dials.at(-1)).toBe('c call');
    expect(links).toHaveLength(1);
  });

  it('the loss of one registration is no outage while another one stands, and is told once', async () => {
    const { world, clock, exit, log, standing } = setUp(['a', 'b']);
    for (const url of ['a', 'b']) world.relay(url, [url]);
    void exit.run();
    await clock.advance(10);
    log.length = 0;
    world.serve(['a'], 'relay-unreachable');
    world.cut('a');
    await clock.advance(60 * MINUTE_MS);
    expect(log).toEqual(['a: link-lost', 'a: relay-unreachable']);
    expect(standing()).toEqual(['b']);
    expect(exit.places[0]).toMatchObject({ relay: 'a', error: { fault: 'relay-unreachable' } });
    world.relay('a', ['a']);
    await clock.advance(MINUTE_MS);
    expect(log.slice(2)).toEqual(['also at a']);
    expect(exit.places[0]?.error).toBeUndefined();
  });

  it('an outage begins with the loss of the last registration, and ends with the next one', async () => {
    const { world, clock, exit, log, until } = setUp(['a', 'b']);
    for (const url of ['a', 'b']) world.relay(url, [url]);
    void exit.run();
    await clock.advance(10);
    log.length = 0;
    world.serve(['a', 'b'], 'relay-unreachable');
    world.cut('a');
    await clock.advance(MINUTE_MS);
    world.cut('b');
    await clock.advance(MINUTE_MS);
    expect(log.slice(0, 3)).toEqual(['a: link-lost', 'a: relay-unreachable', 'lost: link-lost']);
    expect(new Set(log.slice(3))).toEqual(new Set(['lost: relay-unreachable']));
    log.length = 0;
    world.relay('b', ['b']);
    await until(() => log.length > 0 && !log.at(-1)!.startsWith('lost'));
    expect(log.at(-1)).toBe('registered at b');
  });

  it('a relay that proves that its keys were rotated is left alone, and the last one to do so ends the exit', async () => {
    const { world, clock, exit, log, standing } = setUp(['a', 'b']);
    const rotated: Serve = (link) => {
      new LinkRecorder(link);
      link.send(encodeControl({ type: 'rotated', proof: '07'.repeat(32) }));
      link.close();
    };
    world.serve(['a'], rotated);
    world.relay('b', ['b']);
    const run = faultOfPromise(exit.run());
    await clock.advance(60 * MINUTE_MS);
    expect(world.dials).toEqual(['a', 'b']);
    expect(standing()).toEqual(['b']);
    expect(exit.places[0]?.error?.fault).toBe('keys-rotated');
    world.serve(['b'], rotated);
    world.cut('b');
    await clock.advance(MINUTE_MS);
    expect(await run).toBe('keys-rotated');
    expect(log.filter((line) => line.startsWith('lost'))).toEqual(['lost: link-lost']);
  });

  it('with `once` it ends only when each relay has failed or, once registered, after 10 s without any', async () => {
    const refused = setUp(['a', 'b'], { once: true });
    refused.world.delays.set('b', 2_000);
    refused.world.serve(['a', 'b'], 'relay-refused');
    const first = faultOfPromise(refused.exit.run());
    await refused.clock.advance(1_200);
    expect(refused.world.dials).toEqual(['a', 'b', 'a']);
    await refused.clock.advance(MINUTE_MS);
    expect(await first).toBe('relay-refused');

    const { world, clock, exit, standing } = setUp(['a', 'b'], { once: true });
    world.relay('b', ['b']);
    let isOver = false;
    const run = faultOfPromise(exit.run()).finally(() => {
      isOver = true;
    });
    await clock.advance(10 * MINUTE_MS);
    expect(standing()).toEqual(['b']);
    world.serve(['b'], 'relay-unreachable');
    world.cut('b');
    await clock.advance(9_000);
    expect(isOver).toBe(false);
    await clock.advance(40_000);
    expect(await run).toBe('relay-unreachable');
  });

  it('`reconnectNow` and `close` are for all of them', async () => {
    const { world, clock, exit, standing } = setUp(['a', 'b']);
    for (const url of ['a', 'b']) world.relay(url, [url]);
    const run = exit.run();
    await clock.advance(10);
    exit.reconnectNow();
    await clock.advance(10);
    expect([world.dials, standing()]).toEqual([
      ['a', 'b', 'a', 'b'],
      ['a', 'b'],
    ]);
    exit.close();
    await run;
    await clock.advance(MINUTE_MS);
    expect(clock.timers).toBe(0);
  });
});

describe('an exit with several URLs of one relay', () => {
  it.each([
    ['the first', { b: 100 }],
    ['the second', { a: 100 }],
    ['both at once', {}],
  ])(
    'it keeps the registration of the first URL where %s comes first, and nobody hears of a rival',
    async (_, delays) => {
      const { world, clock, exit, log, standing } = setUp(['a', 'b']);
      for (const [url, ms] of Object.entries(delays)) world.delays.set(url, ms);
      const relay = world.relay('a', ['a', 'b']);
      void exit.run();
      await clock.advance(MINUTE_MS);
      expect(standing()).toEqual(['a']);
      expect(exit.places[1]).toMatchObject({ sameAs: 'a', error: undefined });
      const dials = world.dials.length;
      expect(dials).toBeLessThanOrEqual(4);
      expect(log.filter((line) => /lost|replaced/.test(line))).toEqual([]);
      const since = relay.registered[0]?.since;
      // It looks every ten minutes, and disturbs nothing.
      await clock.advance(60 * MINUTE_MS);
      expect(world.dials.slice(dials)).toEqual(Array(6).fill('b'));
      expect(world.polite).toEqual(Array(6).fill('b'));
      expect(relay.registered[0]?.since).toBe(since);
      expect(log.filter((line) => /lost|replaced/.test(line))).toEqual([]);
    },
  );

  it('the registration is away for two seconds at most, whichever URL fails', async () => {
    const { world, clock, exit, log, standing } = setUp(['a', 'b']);
    const relay = world.relay('a', ['a', 'b']);
    void exit.run();
    await clock.advance(MINUTE_MS);
    world.serve(['a'], 'relay-unreachable');
    world.cut('a');
    await clock.advance(2_000);
    expect([standing(), relay.registered.length]).toEqual([['b'], 1]);
    await clock.advance(60 * MINUTE_MS);
    expect(standing()).toEqual(['b']);
    world.relay('a', ['a', 'b']);
    world.cut('b');
    await clock.advance(2 * MINUTE_MS);
    expect(standing()).toEqual(['a']);
    expect(log.filter((line) => line.includes('replaced'))).toEqual([]);
  });

  it('three names of one relay come to rest with one registration', async () => {
    const { world, clock, exit, standing } = setUp(['a', 'b', 'c']);
    world.delays.set('a', 50).set('b', 20);
    world.relay('a', ['a', 'b', 'c']);
    void exit.run();
    await clock.advance(MINUTE_MS);
    expect(standing()).toEqual(['a']);
    expect(world.dials.length).toBeLessThanOrEqual(8);
    const before = world.dials.length;
    await clock.advance(10 * MINUTE_MS);
    expect(world.dials.length - before).toBeLessThanOrEqual(2);
  });

  it('a name that leads to another relay later is registered there within ten minutes', async () => {
    const { world, clock, exit, standing } = setUp(['a', 'b']);
    world.relay('a', ['a', 'b']);
    void exit.run();
    await clock.advance(MINUTE_MS);
    world.relay('b', ['b']);
    await clock.advance(10 * MINUTE_MS);
    expect(standing()).toEqual(['a', 'b']);
  });

  it.each([
    ['says no id', WITHOUT_ID],
    ['knows neither `occupied` nor `when-free`', WITHOUT_PLACES],
  ])('where the relay %s, one of the registrations rests for ten minutes at a time', async (_, unknown) => {
    const { world, clock, exit, log, standing } = setUp(['a', 'b']);
    const relay = world.relay('a', ['a', 'b'], unknown);
    void exit.run();
    await clock.advance(MINUTE_MS);
    expect(standing()).toHaveLength(1);
    expect(relay.registered).toHaveLength(1);
    const dials = world.dials.length;
    expect(dials).toBe(2);
    await clock.advance(60 * MINUTE_MS);
    expect(world.dials.length - dials).toBeLessThanOrEqual(7);
    expect([standing().length, relay.registered.length]).toEqual([1, 1]);
    const [kept = ''] = standing();
    world.serve([kept], 'relay-unreachable');
    world.cut(kept);
    await clock.advance(MINUTE_MS);
    expect([standing().length, relay.registered.length]).toEqual([1, 1]);
    expect(log.filter((line) => /replaced/.test(line))).toEqual([]);
  });

  it.each([
    ['an id', 0],
    ['none', WITHOUT_ID],
  ])(
    'it gives way to another exit of its name at a relay that says %s, and comes back when that is gone',
    async (_, unknown) => {
      const { world, clock, exit, log, standing, until } = setUp(['a', 'b']);
      const relay = world.relay('a', ['a', 'b'], unknown);
      void exit.run();
      await clock.advance(MINUTE_MS);
      const [near, far] = memoryLinkPair();
      relay.serve(near, { role: 'exit', peer: 'home', destination: '', features: OCCUPIED_FEATURE });
      let isOver = false;
      const handleEnd = () => {
        isOver = true;
      };
      const rival = new ControlLink(far, { handleControl: () => true, handleEnd }, clock);
      await clock.advance(3 * MINUTE_MS);
      expect(log.filter((line) => line === 'lost: exit-replaced').length).toBeGreaterThan(0);
      expect(standing()).toEqual([]);
      expect(isOver).toBe(false);
      rival.end();
      await until(() => standing().length === 1);
      expect(log.at(-1)).toMatch(/^registered at/);
    },
  );

  it('a second registration that the relay leaves in place is ended after 5 s', async () => {
    const { world, clock, exit, standing } = setUp(['a', 'b']);
    world.serve(['a', 'b'], (link) => {
      new LinkRecorder(link);
      link.send(encodeControl({ type: 'instance', id: '0a'.repeat(16) }));
      link.send(encodeControl({ type: 'registered' }));
    });
    void exit.run();
    await clock.advance(4_900);
    expect(standing()).toEqual(['a', 'b']);
    await clock.advance(2_500);
    expect(standing()).toEqual(['a']);
    expect(exit.places[1]).toMatchObject({ sameAs: 'a' });
    expect(world.ends.get('b')).toHaveLength(1);
  });
});

/** URLs by the relay that they lead to, how long dials there take, and what is cut when. */
const worldArbitrary = fc.record({
  urls: fc.array(fc.record({ relay: fc.nat(2), delayMs: fc.nat(3_000) }), { minLength: 2, maxLength: 5 }),
  isOld: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
  cuts: fc.array(fc.record({ url: fc.nat(4), afterMs: fc.nat(20_000), isSilent: fc.boolean() }), { maxLength: 12 }),
});

it('wherever its URLs lead and whatever is cut, an exit comes to rest with one registration at each relay', async () => {
  await fc.assert(
    fc.asyncProperty(worldArbitrary, async ({ urls, isOld, cuts }) => {
      const names = urls.map(({ relay }, at) => `${relay} ${at}`);
      const { world, clock, exit, log, standing } = setUp(names);
      const relays = isOld.map((old, relay) => ({
        old,
        names: names.filter((name) => name.startsWith(`${relay} `)),
        exits: world.relay(
          'abc'[relay] ?? '',
          names.filter((name) => name.startsWith(`${relay} `)),
          old ? WITHOUT_ID : 0,
        ),
      }));
      for (const [at, { delayMs }] of urls.entries()) world.delays.set(names[at] ?? '', delayMs);
      void exit.run();
      for (const { url, afterMs, isSilent } of cuts) {
        await clock.advance(afterMs);
        world.cut(names[url] ?? '', isSilent);
      }
      await clock.advance(12 * MINUTE_MS);
      const before = world.dials.length;
      for (const each of relays.filter((relay) => relay.names.length > 0)) {
        expect(each.exits.registered).toHaveLength(1);
        const here = standing().filter((name) => each.names.includes(name));
        expect(here).toHaveLength(1);
        if (!each.old) expect(here).toEqual(each.names.slice(0, 1));
      }
      await clock.advance(11 * MINUTE_MS);
      expect(world.dials.length - before).toBeLessThanOrEqual(2 * names.length);
      expect(log.filter((line) => line.includes('exit-replaced'))).toEqual([]);
      exit.close();
    }),
    { seed: 19, numRuns: 12 },
  );
});
