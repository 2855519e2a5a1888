/** A client whose invite has several relays, in virtual time: relays that stop, are killed, and come back. */
import { describe, expect, it } from 'vitest';
import type { OfferedStream } from '../../src/tunnel/stream/stream.ts';
import { Echoes, SeveralRelays } from '../support/links/several-relays.ts';

/** Of CPU, on a busy machine. */
const LIMIT_MS = 180_000;

describe('a session by one of several relays', () => {
  it('a relay that is stopped is left within a second, and no byte is lost', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays();
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(5_000);
    expect([world.current, echoes.longestSince(0)]).toEqual([0, 10]);
    const at = world.clock.now();
    world.at(0).stop();
    await world.clock.advance(3_000);
    expect(world.current).toBe(1);
    expect(echoes.longestSince(at - 50)).toBeLessThan(1_000);
    await world.clock.advance(30_000);
    world.at(0).go();
    await world.clock.advance(60_000);
    expect(world.log).toEqual(['connected']);
    expect(echoes.missing).toBeLessThan(3);
  });

  it('a relay that is stopped in the middle of a download is left within a second', { timeout: LIMIT_MS }, async () => {
    const every = 20;
    const world = new SeveralRelays({
      acceptor: {
        handleOffer: (offer: OfferedStream) => {
          const stream = offer.accept();
          stream.on('error', () => {});
          stream.once('close', () => offer.release());
          const tick = (): void => {
            if (stream.destroyed) return;
            stream.write(Buffer.alloc(1_000));
            world.clock.setTimeout(tick, every);
          };
          tick();
        },
      },
    });
    await world.connected();
    const stream = await world.open();
    let last = world.clock.now();
    let longest = 0;
    stream.on('data', () => {
      longest = Math.max(longest, world.clock.now() - last);
      last = world.clock.now();
    });
    await world.clock.advance(5_000);
    longest = 0;
    world.at(0).stop();
    await world.clock.advance(5_000);
    expect(world.current).toBe(1);
    expect(longest).toBeGreaterThan(300);
    expect(longest).toBeLessThan(1_000);
    stream.destroy();
  });

  it('a relay that is killed costs the time of a handshake', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays();
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(5_000);
    const at = world.clock.now();
    world.at(0).kill();
    await world.clock.advance(3_000);
    expect(world.current).toBe(1);
    expect(echoes.longestSince(at - 50)).toBeLessThan(200);
    expect(world.log).toEqual(['connected', 'lost', 'resumed']);
  });

  it('a relay that stops between the handshake and the answer of the exit is left within 2 s', {
    timeout: LIMIT_MS,
  }, async () => {
    const world = new SeveralRelays();
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(5_000);
    const at = world.clock.now();
    // What the handshake has, and not the request that follows.
    world.at(1).freezesAfter = 200;
    world.at(0).kill();
    await world.clock.advance(20_000);
    expect([world.current, world.at(1).dials]).toEqual([2, 1]);
    expect(echoes.longestSince(at - 50)).toBeLessThan(2_000);
    expect(echoes.missing).toBeLessThan(3);
  });

  it('relays that stop one after the other, each for 5 s, cost less than 1.5 s each time', {
    timeout: LIMIT_MS,
  }, async () => {
    const world = new SeveralRelays();
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(2_000);
    for (let round = 0; round < 12; round++) {
      const used = world.current;
      const at = world.clock.now();
      world.at(used).stop();
      await world.clock.advance(5_000);
      expect(world.current).not.toBe(used);
      expect(echoes.longestSince(at - 50)).toBeLessThan(1_500);
      world.at(used).go();
    }
    expect(world.log).toEqual(['connected']);
    await world.clock.advance(100);
    expect(echoes.missing).toBeLessThan(3);
  });

  it('a network that freezes links after so many bytes is told from relays that stop', {
    timeout: LIMIT_MS,
  }, async () => {
    const world = new SeveralRelays();
    world.freezesAfter = 8_000;
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open(), 20);
    await world.clock.advance(20_000);
    expect(world.log).toEqual(['connected', expect.stringMatching(/^limit: (?:sent|received)$/)]);
    const at = world.clock.now();
    await world.clock.advance(10_000);
    expect(echoes.longestSince(at)).toBeLessThan(200);
  });

  it.each([
    ['', {}],
    [', also where the exit knows one link only', { exitMux: { maxLinks: 1 } }],
  ])(
    'a path that pauses again and again changes links less and less often%s',
    {
      timeout: LIMIT_MS,
    },
    async (_where, options) => {
      const world = new SeveralRelays(options);
      await world.connected();
      const echoes = new Echoes(world.clock, await world.open(), 200);
      await world.clock.advance(2_000);
      const dials = () => [0, 1, 2].reduce((sum, at) => sum + world.at(at).dials, 0);
      const perMinute: number[] = [];
      for (let minute = 0; minute < 6; minute++) {
        const before = dials();
        for (let pause = 0; pause < 6; pause++) {
          for (const at of [0, 1, 2]) world.at(at).stop();
          await world.clock.advance(1_000);
          for (const at of [0, 1, 2]) world.at(at).go();
          await world.clock.advance(9_000);
        }
        perMinute.push(dials() - before);
      }
      expect(perMinute[0]).toBeGreaterThan(0);
      expect(Math.max(...perMinute.slice(3))).toBeLessThanOrEqual(3);
      expect(world.log).toEqual(['connected']);
      expect(echoes.missing).toBeLessThan(3);
    },
  );
});

describe('the way back to a better relay', () => {
  it('a session returns to the first relay of the list within 40 s, without a gap', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays();
    world.at(0).kill();
    await world.connected();
    expect(world.current).toBe(1);
    const echoes = new Echoes(world.clock, await world.open(), 100);
    await world.clock.advance(60_000);
    expect([world.current, world.at(0).dials]).toEqual([1, 3]);
    const at = world.clock.now();
    world.at(0).go();
    await world.clock.advanceUntil(() => world.current === 0, 40_000);
    await world.clock.advance(20_000);
    expect(echoes.longestSince(at)).toBeLessThan(200);
    expect(echoes.missing).toBeLessThan(3);
    expect(world.log).toEqual(['connected']);
    expect(world.client.status().links).toBe(1);
    expect(world.notices.map(({ type, relay }) => `${type} ${relay}`)).toEqual([
      'relay wss://b.test',
      'relay wss://a.test',
    ]);
    const { dials } = world.at(0);
    await world.clock.advance(60_000);
    expect(world.at(0).dials).toBe(dials);
  });

  it('a session with as many links as it may have returns to the first relay, too', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays({ relays: 2, client: { links: 8 } });
    world.at(0).kill();
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open(), 100);
    await world.clock.advance(10_000);
    world.at(0).go();
    const at = world.clock.now();
    await world.clock.advanceUntil(() => world.current === 0, 60_000);
    await world.clock.advance(10_000);
    expect([world.current, world.client.status().links]).toEqual([0, 8]);
    expect(echoes.longestSince(at)).toBeLessThan(200);
    expect(world.log).toEqual(['connected']);
  });

  it('a relay whose links do not last is returned to less and less often', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays({ relays: 2 });
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open(), 1_000);
    const returns: number[] = [];
    for (let i = 0; i < 5; i++) {
      const at = world.clock.now();
      world.at(0).stop();
      await world.clock.advance(5_000);
      expect(world.current).toBe(1);
      world.at(0).go();
      await world.clock.advanceUntil(() => world.current === 0, 700_000);
      returns.push(Math.round((world.clock.now() - at) / 1_000));
      await world.clock.advance(1_000);
    }
    for (const [at, most] of [40, 80, 155, 305, 605].entries()) {
      expect(returns[at]).toBeLessThanOrEqual(most);
      expect(returns[at]).toBeGreaterThanOrEqual(most / 2);
    }
    expect(echoes.missing).toBeLessThan(3);
  });
});

describe('relays that an exit tells', () => {
  it('a client goes by a relay that its invite does not name when the others die', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays({ relays: 2, invited: 1 });
    world.told = { urls: world.urls, pins: [] };
    await world.connected();
    await world.clock.advance(100);
    expect(world.log).toEqual(['connected', 'told 2']);
    const echoes = new Echoes(world.clock, await world.open(), 100);
    await world.clock.advance(1_000);
    world.at(0).stop();
    await world.clock.advance(3_000);
    expect(world.current).toBe(1);
    world.at(1).kill();
    world.at(0).go();
    await world.clock.advance(1_000);
    expect(world.current).toBe(0);
    expect(echoes.missing).toBeLessThan(3);
  });

  it('a better relay that is told later is moved to', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays({ relays: 2, invited: 1 });
    await world.connected();
    await world.clock.advance(1_000);
    expect(world.log).toEqual(['connected']);
    world.told = { urls: [...world.urls].reverse(), pins: [] };
    for (const exit of world.exits) exit.tellRelays();
    await world.clock.advance(45_000);
    expect(world.current).toBe(1);
    world.told = { urls: world.urls.slice(0, 1), pins: [] };
    for (const exit of world.exits) exit.tellRelays();
    await world.clock.advance(45_000);
    expect([world.current, world.log]).toEqual([0, ['connected', 'told 2', 'told 1']]);
  });

  it('an exit with one relay tells nothing', async () => {
    const world = new SeveralRelays({ relays: 1 });
    world.told = { urls: world.urls, pins: [] };
    await world.connected();
    await world.clock.advance(1_000);
    expect(world.log).toEqual(['connected']);
  });
});

describe('other exits behind several relays', () => {
  it('an exit that knows one link only has its session resumed by another relay', { timeout: LIMIT_MS }, async () => {
    const world = new SeveralRelays({ exitMux: { maxLinks: 1 } });
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(5_000);
    const at = world.clock.now();
    world.at(0).stop();
    await world.clock.advance(5_000);
    expect(world.current).toBe(1);
    expect(echoes.longestSince(at - 50)).toBeLessThan(1_500);
    expect(echoes.missing).toBeLessThan(3);
    expect(world.log).toEqual(['connected']);
  });

  it('a session of a relay’s own exit waits for its relay, because no other has it', {
    timeout: LIMIT_MS,
  }, async () => {
    const world = new SeveralRelays({ ownExits: true });
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(2_000);
    world.at(0).stop();
    await world.clock.advance(2_500);
    world.at(0).go();
    await world.clock.advance(10_000);
    expect([world.current, world.log]).toEqual([0, ['connected']]);
    expect(echoes.missing).toBeLessThan(3);
  });

  it('a relay with an exit of its own that is killed is followed by a new session at another one', async () => {
    const world = new SeveralRelays({ ownExits: true });
    await world.connected();
    const echoes = new Echoes(world.clock, await world.open());
    await world.clock.advance(2_000);
    echoes.end();
    world.at(0).kill();
    await world.clock.advanceUntil(() => world.log.filter((line) => line === 'connected').length === 2, 2_000);
    expect(world.current).toBe(1);
    expect(world.log).toContain('session lost: session-unknown');
  });
});
