import { describe, expect, it } from 'vitest';
import { FAULTS, type FaultName, WstunError } from '../../../src/errors.ts';
import { usualReach } from '../../../src/transport/connection/reach.ts';
import type { Via } from '../../../src/transport/connection/via.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { RelayRoutes, type RelayRoutesOptions, type RouteNotice } from '../../../src/tunnel/dial/relay-routes.ts';
import type { Attempt } from '../../../src/tunnel/dial/route-dial.ts';
import { keyOf, type Route } from '../../../src/tunnel/routes/route.ts';
import { RouteMemory } from '../../../src/tunnel/routes/route-memory.ts';
import { memoryLinkPair } from '../../support/links/memory-link.ts';
import { never } from '../../support/never.ts';
import { VirtualClock } from '../../support/time/virtual-clock.ts';

const RELAY = 'wss://relay.example.org';
const PROXY: Via = {
  name: 'http://10.0.0.1:3128',
  connect: () => Promise.reject(new Error('not dialled here')),
};
const [WS, HTTP] = ['websocket', 'http'];

/** What becomes of an attempt, ms after its start: TCP, then a link or a fault. Neither: it hangs. */
interface Fate {
  readonly tcp?: number;
  readonly opened?: number;
  readonly link?: number;
  readonly fault?: readonly [ms: number, fault: FaultName, detail?: string];
}

class World {
  readonly clock = new VirtualClock();
  readonly started: string[] = [];
  readonly cancelled: string[] = [];
  readonly notices: RouteNotice[] = [];
  readonly place = { network: 'home' };
  fates: Readonly<Record<string, Fate>> = {};
  readonly memory = new RouteMemory({ network: () => this.place.network, clock: this.clock });
  readonly routes: RelayRoutes;

  constructor(options: Partial<RelayRoutesOptions> = {}) {
    const { clock, memory } = this;
    this.routes = new RelayRoutes({ clock, memory, onNotice: (notice) => this.notices.push(notice), ...options });
  }

  readonly attempt: Attempt<MessageLink> = (route, { signal, onConnected, onOpened }) => {
    const key = keyOf(route);
    this.started.push(key);
    const { tcp, opened, link, fault } = this.fates[key] ?? {};
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.cancelled.push(key);
        reject(new WstunError('dial-cancelled'));
      };
      signal.addEventListener('abort', cancel);
      const after = (ms: number | undefined, act: () => void): void => {
        if (ms !== undefined) this.clock.setTimeout(() => signal.aborted || act(), ms);
      };
      const end = (act: () => void) => (): void => {
        signal.removeEventListener('abort', cancel);
        act();
      };
      after(tcp, onConnected);
      after(opened, onOpened);
      after(
        link,
        end(() => resolve(memoryLinkPair()[0])),
      );
      after(
        fault?.[0],
        end(() => reject(new WstunError(fault?.[1] ?? 'internal', fault?.[2]))),
      );
    });
  };

  /** Dials, lets so much time pass, and says by which route a link came or with which fault it failed. */
  async dial(forMs = 30_000): Promise<string> {
    this.started.length = 0;
    const outcome = this.routes.dial(RELAY, this.attempt, never).then(
      (routed) => {
        routed.noteCarried();
        routed.link.abort();
        return keyOf(routed.route);
      },
      (error: WstunError) => error.fault,
    );
    await this.clock.advance(forMs);
    return await Promise.race([outcome, Promise.resolve('nothing yet')]);
  }
}

describe('routes to a relay', () => {
  it('a healthy path costs one attempt, however slow it is', async () => {
    const world = new World();
    for (const tcp of [1, 100, 400]) {
      world.fates = { [WS]: { tcp, link: 4 * tcp } };
      expect(await world.dial()).toBe(WS);
      expect(world.started).toEqual([WS]);
    }
    expect(world.notices).toEqual([]);
  });

  it('a relay that is slow after its restart, or that refuses, sees one attempt of a client that it has carried', async () => {
    const world = new World();
    world.fates = { [WS]: { tcp: 10, link: 40 } };
    await world.dial();
    world.fates = { [WS]: { fault: [10, 'relay-unreachable'] } };
    expect(await world.dial()).toBe('relay-unreachable');
    expect(world.started).toEqual([WS]);
    world.fates = { [WS]: { tcp: 10, link: 1_900 } };
    expect(await world.dial()).toBe(WS);
    expect(world.started).toEqual([WS]);
  });

  it.each<FaultName>(['upgrade-dropped', 'relay-refused', 'relay-odd-answer', 'link-slow'])(
    'a WebSocket that fails with %s is followed by an HTTP link at once, which is tried first from then on',
    async (fault) => {
      const world = new World();
      world.fates = { [WS]: { tcp: 10, fault: [50, fault, 'box'] }, [HTTP]: { tcp: 10, link: 60 } };
      expect(await world.dial()).toBe(HTTP);
      expect(world.notices).toEqual([
        expect.objectContaining({
          type: 'route',
          relay: RELAY,
          route: { carrier: 'http', proxy: undefined },
          failed: [expect.objectContaining({ error: expect.objectContaining({ fault }) })],
        }),
      ]);
      expect(await world.dial()).toBe(HTTP);
      expect(world.started).toEqual([HTTP]);
      expect(world.notices.length).toBe(1);
    },
  );

  it('a link that is closed in the middle of the handshake is no failed authentication where another way carries', async () => {
    const world = new World();
    world.fates = { [WS]: { tcp: 10, fault: [50, 'handshake-failed'] }, [HTTP]: { tcp: 10, link: 60 } };
    expect(await world.dial()).toBe(HTTP);
    expect(world.notices).toMatchObject([{ failed: [{ error: { fault: 'link-lost' } }], unfinished: [] }]);
  });

  it('who is told of a way hears how far those came that were tried before it', async () => {
    const world = new World();
    world.fates = { [WS]: { tcp: 10, opened: 50 }, [HTTP]: { tcp: 10, link: 60 } };
    expect(await world.dial()).toBe(HTTP);
    const unfinished = [{ route: { carrier: 'websocket', proxy: undefined }, state: 'opened' }];
    expect(world.notices).toMatchObject([{ type: 'route', failed: [], unfinished }]);
  });

  it('a WebSocket that is swallowed behind the 101 costs 2 s at most, also where it has carried before', async () => {
    const world = new World();
    world.fates = { [WS]: { tcp: 10, link: 40 } };
    await world.dial();
    world.fates = { [WS]: { tcp: 10 }, [HTTP]: { tcp: 10, link: 60 } };
    expect(await world.dial(2_100)).toBe(HTTP);
    expect(world.cancelled).toEqual([WS]);
  });

  it('each network has its own memory', async () => {
    const world = new World();
    world.fates = { [WS]: { fault: [50, 'upgrade-dropped'] }, [HTTP]: { link: 60 } };
    expect(await world.dial()).toBe(HTTP);
    world.place.network = 'office';
    world.fates = { [WS]: { tcp: 10, link: 60 }, [HTTP]: { link: 60 } };
    expect(await world.dial()).toBe(WS);
    world.place.network = 'home';
    expect(await world.dial()).toBe(HTTP);
  });

  it('a relay that knows no HTTP link is asked for one once', async () => {
    const world = new World();
    world.fates = { [WS]: { fault: [50, 'upgrade-dropped', 'nginx'] }, [HTTP]: { fault: [50, 'http-link-unknown'] } };
    expect(await world.dial()).toBe('upgrade-dropped');
    expect(world.started).toEqual([WS, HTTP]);
    expect(await world.dial()).toBe('upgrade-dropped');
    expect(world.started).toEqual([WS]);
  });

  it('routes through a proxy come before direct ones, and a dead proxy does not hold the direct one up', async () => {
    const world = new World({ proxies: { proxiesFor: async () => [PROXY, undefined], hasWrongPassword: false } });
    world.fates = { [`${WS} ${PROXY.name}`]: { fault: [20, 'proxy-unreachable'] }, [WS]: { tcp: 10, link: 60 } };
    expect(await world.dial(200)).toBe(WS);
    expect(world.started).toEqual([`${WS} ${PROXY.name}`, WS]);
  });

  it('a dial whose routes all fail tells what each has met, the most telling first, with the code of that', async () => {
    const world = new World({ proxies: { proxiesFor: async () => [PROXY, undefined], hasWrongPassword: false } });
    world.fates = {
      [`${WS} ${PROXY.name}`]: { fault: [20, 'proxy-forbids', 'HTTP 403'] },
      [WS]: { tcp: 10, fault: [40, 'link-slow', 'relay.example.org:443'] },
      [HTTP]: { tcp: 10, fault: [40, 'link-slow', 'relay.example.org:443'] },
    };
    const failed = world.routes.dial(RELAY, world.attempt, never).then(
      () => undefined,
      (cause: WstunError) => cause,
    );
    await world.clock.advance(30_000);
    const error = await failed;
    expect(error?.fault).toBe('proxy-forbids');
    expect(error?.detail).toBe(
      `through proxy ${PROXY.name} by WebSocket: HTTP 403; ` +
        `directly by WebSocket: ${FAULTS['link-slow'].sentence}: relay.example.org:443; ` +
        `directly by HTTP link: ${FAULTS['link-slow'].sentence}: relay.example.org:443`,
    );
  });

  it('a dial without an outcome is told after 2 s, with how far each attempt has come', async () => {
    const world = new World();
    world.fates = { [WS]: { tcp: 10 }, [HTTP]: { fault: [20, 'relay-odd-answer', 'HTTP 403'] } };
    expect(await world.dial(2_100)).toBe('nothing yet');
    const states = world.notices.flatMap((notice) =>
      notice.type === 'trying' ? notice.attempts.map(({ route, state }) => `${keyOf(route)} ${state}`) : [],
    );
    expect(states).toEqual([`${WS} connected`, `${HTTP} failed`]);
  });

  it('a PAC file that does not come is told after 2 s, for it is not known what to try', async () => {
    const world = new World({ proxies: { proxiesFor: () => new Promise(() => {}), hasWrongPassword: false } });
    expect(await world.dial(2_100)).toBe('nothing yet');
    expect(world.notices).toEqual([{ type: 'trying', relay: RELAY, forMs: 2_000, attempts: [] }]);
  });

  it('a proxy of the environment that fails is told once, though links go by none', async () => {
    const world = new World({ proxies: { proxiesFor: async () => [PROXY, undefined], hasWrongPassword: false } });
    world.fates = {
      [`${WS} ${PROXY.name}`]: { fault: [10, 'proxy-unreachable'] },
      [`${HTTP} ${PROXY.name}`]: { fault: [10, 'proxy-unreachable'] },
      [WS]: { link: 300 },
    };
    expect(await world.dial()).toBe(WS);
    expect(await world.dial()).toBe(WS);
    const failed = world.notices.map((notice) => (notice.type === 'route' ? notice.failed[0]?.error.fault : undefined));
    expect(failed).toEqual(['proxy-unreachable']);
  });

  it('further links go by the route of the latest one, and cheaper carriers alone are tried as better ones', async () => {
    const world = new World();
    world.fates = { [WS]: { fault: [50, 'upgrade-dropped'] }, [HTTP]: { link: 60 } };
    await world.dial();
    const kinds = async (dial: Promise<{ readonly route: Route }>): Promise<string[]> => {
      dial.catch(() => {});
      await world.clock.advance(5_000);
      return world.started.splice(0);
    };
    world.started.length = 0;
    expect(await kinds(world.routes.dialAlike(RELAY, world.attempt, never))).toEqual([HTTP]);
    expect(world.routes.hasCheaper('http')).toBe(true);
    expect(world.routes.hasCheaper('websocket')).toBe(false);
    expect(await kinds(world.routes.dialCheaper(RELAY, 'http', world.attempt, never))).toEqual([WS]);
  });

  it('one carrier alone is tried where the user has chosen it', async () => {
    const world = new World({ transport: 'http' });
    world.fates = { [HTTP]: { fault: [50, 'relay-refused'] } };
    expect(await world.dial()).toBe('relay-refused');
    expect(world.started).toEqual([HTTP]);
    expect(world.routes.hasCheaper('http')).toBe(false);
  });

  it('what carried because the user chose it is remembered for that choice alone', async () => {
    const { memory } = new World();
    const chosen = new World({ transport: 'http', memory });
    chosen.fates = { [HTTP]: { link: 60 } };
    expect(await chosen.dial()).toBe(HTTP);
    const free = new World({ memory });
    free.fates = { [WS]: { link: 60 }, [HTTP]: { link: 60 } };
    expect(await free.dial()).toBe(WS);
    expect(free.started).toEqual([WS]);
    const again = new World({ memory });
    expect((await again.routes.bestCarrier(RELAY)).carrier).toBe('websocket');
  });

  it('a page to log in, looked for once a minute, takes the place of what a dial met, unless the route has carried for this process', async () => {
    const asked: string[] = [];
    const findLoginPage = async (relay: string): Promise<WstunError> => {
      asked.push(relay);
      return new WstunError('login-required', 'http://relay.example.org/ leads to http://hotel.example/');
    };
    const world = new World({ findLoginPage });
    world.fates = { [WS]: { fault: [10, 'relay-untrusted'] }, [HTTP]: { fault: [10, 'relay-untrusted'] } };
    expect(await world.dial()).toBe('login-required');
    expect(await world.dial()).toBe('login-required');
    expect(asked).toEqual([RELAY]);
    await world.clock.advance(60_000);
    expect(await world.dial()).toBe('login-required');
    world.fates = { [WS]: { fault: [10, 'exit-absent'] } };
    expect(await world.dial()).toBe('exit-absent');
    world.fates = { [WS]: { link: 10 } };
    await world.dial();
    world.fates = { [WS]: { fault: [10, 'relay-untrusted'] } };
    expect(await world.dial()).toBe('relay-untrusted');
    expect(asked).toEqual([RELAY, RELAY]);
  });

  it.each<[string, Partial<RelayRoutesOptions>]>([
    ['only a proxy is to be used', { proxies: { proxiesFor: async () => [PROXY], hasWrongPassword: false } }],
    ['TCP is to go elsewhere', { reach: { ...usualReach(), connectTo: { host: 'front.example', port: 443 } } }],
    ['connections have a source', { reach: { ...usualReach(), source: 'tun0' } }],
  ])('the name of the relay is not asked for in the clear where %s', async (_name, options) => {
    const asked: string[] = [];
    const findLoginPage = async (relay: string): Promise<undefined> => void asked.push(relay);
    const world = new World({ findLoginPage, ...options });
    const keys = [WS, HTTP].flatMap((carrier) => [carrier, `${carrier} ${PROXY.name}`]);
    world.fates = Object.fromEntries(keys.map((key) => [key, { fault: [10, 'relay-untrusted'] }]));
    expect(await world.dial()).toBe('relay-untrusted');
    expect(asked).toEqual([]);
  });
});
