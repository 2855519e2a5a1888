import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Obstacle } from '../../../src/transport/dial-obstacle.ts';
import { keyOf, type Route, routesBy } from '../../../src/tunnel/routes/route.ts';
import { RouteRace, type RouteRaceOptions } from '../../../src/tunnel/routes/route-race.ts';

const PROXY = { name: 'http://10.0.0.1:3128', connect: () => Promise.reject(new Error('not dialled here')) };
const DIRECT = routesBy(['websocket', 'http'], [undefined]);
const BOTH = routesBy(['websocket', 'http'], [PROXY, undefined]);

interface Fate {
  /** From its start, ms; undefined: never. */
  readonly connectsAfter?: number;
  readonly failsAfter?: number;
  readonly obstacle?: Obstacle;
  readonly winsAfter?: number;
}

interface Run {
  /** Which routes were started, and when. */
  readonly started: readonly (readonly [string, number])[];
  readonly wonBy: string | undefined;
  /** When it was won or lost; undefined: it is still waiting. */
  readonly endedAt: number | undefined;
}

/** Runs a race whose attempts fare as the table says. */
function race(options: RouteRaceOptions, fateOf: (route: Route) => Fate, untilMs = 60_000): Run {
  const run = new RouteRace(options);
  const started: [string, number][] = [];
  const events: { readonly at: number; readonly act: () => boolean }[] = [];
  let now = 0;
  let wonBy: string | undefined;
  const start = (route: Route): void => {
    started.push([keyOf(route), now]);
    const { connectsAfter, failsAfter, obstacle = 'cut', winsAfter } = fateOf(route);
    const later = (ms: number | undefined, act: () => boolean) =>
      ms !== undefined && events.push({ at: now + ms, act });
    later(connectsAfter, () => {
      run.handleConnected(route, now);
      return false;
    });
    later(failsAfter, () => {
      run.handleFailed(route, obstacle);
      return false;
    });
    later(winsAfter, () => {
      wonBy = keyOf(route);
      return true;
    });
  };
  while (now <= untilMs) {
    for (let next = run.poll(now); next !== undefined; next = run.poll(now)) start(next);
    if (run.isLost) return { started, wonBy, endedAt: now };
    events.sort((a, b) => a.at - b.at);
    const [event] = events;
    const at = Math.min(event?.at ?? Number.POSITIVE_INFINITY, run.nextTimeout());
    if (at === Number.POSITIVE_INFINITY) break;
    now = at;
    if (event !== undefined && event.at <= at) {
      events.shift();
      if (event.act()) return { started, wonBy, endedAt: now };
    }
  }
  return { started, wonBy, endedAt: undefined };
}

describe('a race of routes', () => {
  it('starts the next route 250 ms after the one before where nothing is known and TCP does not connect', () => {
    const { started } = race({ routes: BOTH }, () => ({}));
    expect(started.map(([, at]) => at)).toEqual([0, 250]);
    expect(started.map(([route]) => route)).toEqual(['websocket http://10.0.0.1:3128', 'websocket']);
  });

  it('starts another carrier a second after TCP on a path where nothing else comes', () => {
    const { started } = race({ routes: DIRECT }, () => ({ connectsAfter: 30 }));
    expect(started).toEqual([
      ['websocket', 0],
      ['http', 1_030],
    ]);
  });

  it('starts the next route at once when the one before fails', () => {
    const { started, endedAt } = race({ routes: DIRECT }, () => ({ failsAfter: 10 }));
    expect(started).toEqual([
      ['websocket', 0],
      ['http', 10],
    ]);
    expect(endedAt).toBe(20);
  });

  it('starts no second route on a slow path on which the first makes progress', () => {
    const { started, wonBy } = race({ routes: DIRECT }, () => ({ connectsAfter: 200, winsAfter: 1_000 }));
    expect(started).toEqual([['websocket', 0]]);
    expect(wonBy).toBe('websocket');
  });

  it('gives a route that has carried before twice its usual time', () => {
    const { started } = race({ routes: DIRECT, first: { usualMs: 900, isProven: false } }, () => ({
      connectsAfter: 1,
    }));
    expect(started).toEqual([
      ['websocket', 0],
      ['http', 1_800],
    ]);
  });

  it('gives no route more than 10 s, whatever was measured: the machine may have slept in the middle', () => {
    const first = { usualMs: Number.MAX_VALUE, isProven: true };
    const { started } = race({ routes: DIRECT, first }, () => ({ connectsAfter: 1 }));
    expect(started).toEqual([
      ['websocket', 0],
      ['http', 10_000],
    ]);
  });

  it('gives a route that has carried for this process 2 s, because a relay that has restarted is slow', () => {
    const { started } = race({ routes: DIRECT, first: { usualMs: 20, isProven: true } }, () => ({ connectsAfter: 1 }));
    expect(started).toEqual([
      ['websocket', 0],
      ['http', 2_000],
    ]);
  });

  it('leaves out what meets the same obstacle, and starts what does not at once', () => {
    const { started, endedAt } = race({ routes: BOTH }, (route) => ({
      failsAfter: 5,
      obstacle: route.proxy === undefined ? 'unreachable' : 'proxy',
    }));
    expect(started).toEqual([
      ['websocket http://10.0.0.1:3128', 0],
      ['websocket', 5],
    ]);
    expect(endedAt).toBe(10);
  });

  it('tries other carriers behind a web server that cannot reach the relay only when that is repeated', () => {
    const fate = (): Fate => ({ failsAfter: 5, obstacle: 'gateway' });
    expect(race({ routes: DIRECT }, fate).started.length).toBe(1);
    expect(race({ routes: DIRECT, before: new Map([['websocket', 'gateway']]) }, fate).started.length).toBe(2);
    expect(race({ routes: DIRECT, before: new Map([['websocket', 'cut']]) }, fate).started.length).toBe(1);
  });

  it('ends at once with what the relay itself answers, whatever else is under way', () => {
    const { endedAt, wonBy } = race({ routes: BOTH }, (route) =>
      route === BOTH[1] ? { failsAfter: 5, obstacle: 'relay' } : {},
    );
    expect([endedAt, wonBy]).toEqual([255, undefined]);
  });

  it('starts each route at most once, never less than 250 ms after a start that has not failed, and ends', () => {
    const obstacle = fc.constantFrom<Obstacle[]>('name', 'unreachable', 'cut', 'silent', 'answer', 'gateway', 'relay');
    const fate = fc.record(
      {
        connectsAfter: fc.integer({ min: 0, max: 3_000 }),
        failsAfter: fc.integer({ min: 0, max: 20_000 }),
        obstacle,
      },
      { requiredKeys: ['failsAfter', 'obstacle'] },
    );
    const winner = fc.record({ winsAfter: fc.integer({ min: 0, max: 5_000 }) });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fate, winner), { minLength: 4, maxLength: 4 }),
        fc.option(fc.record({ usualMs: fc.integer({ min: 0, max: 5_000 }), isProven: fc.boolean() }), {
          nil: undefined,
        }),
        (fates: readonly Fate[], first) => {
          const fateOf = (route: Route): Fate => fates[BOTH.indexOf(route)] ?? {};
          const { started, endedAt, wonBy } = race({ routes: BOTH, first }, fateOf);
          const order = BOTH.map(keyOf);
          const places = started.map(([route]) => order.indexOf(route));
          expect(new Set(places).size).toBe(places.length);
          expect(endedAt).toBeDefined();
          for (const [i, [, at]] of started.entries()) {
            const next = started[i + 1];
            if (next === undefined) continue;
            const someFailed = started.slice(0, i + 1).some(([earlier, since]) => {
              const { failsAfter: after } = fates[order.indexOf(earlier)] ?? {};
              return after !== undefined && since + after <= next[1];
            });
            expect(next[1] - at >= 250 || someFailed).toBe(true);
          }
          // A route that can win is not lost for another one's slowness.
          const leader = fates[0] ?? {};
          if (leader.winsAfter !== undefined && leader.winsAfter < 250) expect(wonBy).toBe(order[0]);
        },
      ),
    );
  });
});
