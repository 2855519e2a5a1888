import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RelayRace, type RelayRaceOptions, type UsualTime } from '../../../src/tunnel/routes/relay-race.ts';

const [A, B, C] = ['wss://a.test', 'wss://b.test', 'wss://c.test'] as const;
const ALONE_MS = 3_000;

interface Fate {
  /** From its start, ms; undefined: never. */
  readonly connectsAfter?: number | undefined;
  readonly failsAfter?: number | undefined;
  readonly winsAfter?: number | undefined;
}

interface Run {
  /** Which relays were started, and when. */
  readonly started: readonly (readonly [string, number])[];
  readonly givenUp: readonly (readonly [string, number])[];
  readonly wonBy: string | undefined;
  /** When it was won or lost; undefined: it is still waiting. */
  readonly endedAt: number | undefined;
}

type Known = Readonly<Record<string, UsualTime>>;

/** Runs a race whose attempts fare as the table says. */
function race(fates: Readonly<Record<string, Fate>>, known: Known = {}, more: Partial<RelayRaceOptions> = {}): Run {
  const relays = Object.keys(fates);
  const run = new RelayRace({ relays, usualTimeOf: (relay) => known[relay], aloneMs: ALONE_MS, ...more });
  const started: [string, number][] = [];
  const givenUp: [string, number][] = [];
  const events: { readonly at: number; readonly relay: string; readonly act: () => boolean }[] = [];
  let now = 0;
  let wonBy: string | undefined;
  const later = (relay: string, ms: number | undefined, act: () => boolean) =>
    ms !== undefined && events.push({ at: now + ms, relay, act });
  const start = (relay: string): void => {
    started.push([relay, now]);
    const { connectsAfter, failsAfter, winsAfter } = fates[relay] ?? {};
    const goOn = (act: () => void) => (): boolean => {
      act();
      return false;
    };
    later(
      relay,
      connectsAfter,
      goOn(() => run.handleConnected(relay, now)),
    );
    later(
      relay,
      failsAfter,
      goOn(() => run.handleFailed(relay, false)),
    );
    later(relay, winsAfter, () => {
      wonBy = relay;
      return true;
    });
  };
  for (;;) {
    for (let next = run.poll(now); next !== undefined; next = run.poll(now)) start(next);
    for (const relay of run.takeOverdue(now)) givenUp.push([relay, now]);
    if (run.isLost) return { started, givenUp, wonBy, endedAt: now };
    const alive = events.filter(({ relay }) => !givenUp.some(([other]) => other === relay));
    alive.sort((a, b) => a.at - b.at);
    const [event] = alive;
    const at = Math.min(event?.at ?? Number.POSITIVE_INFINITY, run.nextTimeout());
    if (at === Number.POSITIVE_INFINITY) return { started, givenUp, wonBy, endedAt: undefined };
    now = at;
    if (event === undefined || event.at > at) continue;
    events.splice(events.indexOf(event), 1);
    if (event.act()) return { started, givenUp, wonBy, endedAt: now };
  }
}

const FROZEN: Fate = { connectsAfter: 1 };

describe('a race of relays', () => {
  it('starts the next relay 250 ms after the one before where nothing is known and nothing comes', () => {
    expect(race({ [A]: FROZEN, [B]: FROZEN, [C]: FROZEN }).started).toEqual([
      [A, 0],
      [B, 250],
      [C, 500],
    ]);
  });

  it('starts the next relay at once when the one before fails', () => {
    const { started, endedAt } = race({ [A]: { failsAfter: 2 }, [B]: { failsAfter: 3 }, [C]: { winsAfter: 10 } });
    expect(started.map(([, at]) => at)).toEqual([0, 2, 5]);
    expect(endedAt).toBe(15);
  });

  it('gives the relay that is under way its time when an earlier one fails', () => {
    const { started } = race({ [A]: { failsAfter: 260 }, [B]: FROZEN, [C]: { winsAfter: 10 } });
    expect(started.map(([, at]) => at)).toEqual([0, 250, 500]);
  });

  it('gives a relay twice what it takes usually, one that has carried for this process 400 ms, and none over 700 ms', () => {
    const second = (known: UsualTime, fate: Fate = FROZEN) =>
      race({ [A]: fate, [B]: FROZEN }, { [A]: known }).started[1]?.[1];
    expect(second({ usualMs: 20, isProven: false })).toBe(250);
    expect(second({ usualMs: 20, isProven: true })).toBe(400);
    expect(second({ usualMs: 300, isProven: true })).toBe(600);
    expect(second({ usualMs: 300, isProven: false })).toBe(600);
    expect(second({ usualMs: 5_000, isProven: true })).toBe(700);
    expect(second({ usualMs: 5_000, isProven: true }, { connectsAfter: 600 })).toBe(700);
  });

  it('starts no second relay on a path of up to 140 ms on which the first makes progress', () => {
    for (const rtt of [1, 50, 100, 140]) {
      const { started, wonBy } = race({ [A]: { connectsAfter: rtt, winsAfter: 5 * rtt - 1 }, [B]: FROZEN });
      expect([rtt, started.length, wonBy]).toEqual([rtt, 1, A]);
    }
  });

  it('gives up a relay that says nothing when all others have failed, and not where none has said anything', () => {
    expect(race({ [A]: FROZEN, [B]: { failsAfter: 5 } })).toEqual({
      started: [
        [A, 0],
        [B, 250],
      ],
      givenUp: [[A, ALONE_MS]],
      wonBy: undefined,
      endedAt: ALONE_MS,
    });
    expect(race({ [A]: FROZEN, [B]: FROZEN }).endedAt).toBeUndefined();
  });

  it('does not give up a relay on a slow path, nor one that takes long usually', () => {
    expect(race({ [A]: { connectsAfter: 1_500, winsAfter: 9_000 }, [B]: { failsAfter: 5 } }).wonBy).toBe(A);
    const known = { [A]: { usualMs: 2_000, isProven: false } };
    expect(race({ [A]: { connectsAfter: 1, winsAfter: 7_000 }, [B]: { failsAfter: 5 } }, known).wonBy).toBe(A);
  });

  it('waits for the first relay as long as it is told, where no other one has the session', () => {
    expect(race({ [A]: FROZEN, [B]: FROZEN }, {}, { firstPatienceMs: 1_000 }).started[1]).toEqual([B, 1_000]);
    expect(race({ [A]: { failsAfter: 7 }, [B]: FROZEN }, {}, { firstPatienceMs: 1_000 }).started[1]).toEqual([B, 7]);
  });

  it('is lost at once where one relay has met what all would meet', () => {
    const run = new RelayRace({ relays: [A, B], usualTimeOf: () => undefined, aloneMs: ALONE_MS });
    expect(run.poll(0)).toBe(A);
    run.handleFailed(A, true);
    expect([run.poll(0), run.nextTimeout(), run.isLost]).toEqual([undefined, Number.POSITIVE_INFINITY, true]);
  });

  const ms = fc.option(fc.integer({ min: 0, max: 12_000 }), { nil: undefined });
  const fate = fc.record({ connectsAfter: ms, failsAfter: ms, winsAfter: ms });
  const usual = fc.option(fc.record({ usualMs: fc.integer({ min: 0, max: 60_000 }), isProven: fc.boolean() }), {
    nil: undefined,
  });

  it('always: each relay once and in order, none over 700 ms after the one before, none at the same time without a failure, and an end', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fate, usual), { minLength: 1, maxLength: 8 }), (rows) => {
        const relays = rows.map((_, at) => `wss://${at}.test`);
        const fates = Object.fromEntries(rows.map(([each], at) => [relays[at] ?? '', each]));
        const known = Object.fromEntries(
          rows.flatMap(([, time], at) => (time === undefined ? [] : [[relays[at] ?? '', time] as const])),
        );
        const { started, givenUp, wonBy, endedAt } = race(fates, known);
        expect(started.map(([relay]) => relay)).toEqual(relays.slice(0, started.length));
        const gaps = started.slice(1).map(([, at], before) => at - (started[before]?.[1] ?? 0));
        for (const [at, gap] of gaps.entries()) {
          expect(gap).toBeLessThanOrEqual(700);
          const { failsAfter } = fates[relays[at] ?? ''] ?? {};
          if (gap < 250) expect(failsAfter).toBe(gap);
        }
        const isHanging = (relay: string) => fates[relay]?.failsAfter === undefined;
        if (endedAt === undefined) expect(started.every(([relay]) => isHanging(relay))).toBe(true);
        else if (wonBy === undefined) expect(started).toHaveLength(relays.length);
        for (const [relay, at] of givenUp)
          expect(at - (started.find(([one]) => one === relay)?.[1] ?? 0)).toBeGreaterThanOrEqual(ALONE_MS);
      }),
    );
  });
});
