/**
 * The congestion controller on simulated paths (test/support/mux/path-simulator.ts), in virtual time. Shares are of what
 * plain TCP would carry; waits are what a small message beside four downloads waits longer than on the empty path.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_CONGESTION_CONFIG } from '../../../src/mux/congestion/congestion-config.ts';
import { CongestionController, type SentStamp } from '../../../src/mux/congestion/congestion-controller.ts';
import {
  mbit,
  RECORD_OVERHEAD,
  type Run,
  type Scenario,
  type Schedule,
  simulate,
  utilisation,
  type Way,
  waitAt,
} from '../../support/mux/path-simulator.ts';
import { type Prng, prng } from '../../support/prng.ts';

const always = (value: number): Schedule => [[0, value]];

/** A turn of an event loop: mostly short, one in a hundred 3 ms. */
const turn = (random: Prng): number => (random.chance(0.01) ? 3 : 0.05 + random.below(100) / 250);

/** Both ways alike, but that acknowledgements have 1 Mbit/s at least. */
function path(rate: Schedule, roundTrip: Schedule, more: Partial<Way> = {}): Pick<Scenario, 'down' | 'up'> {
  const delay: Schedule = roundTrip.map(([at, ms]) => [at, ms / 2]);
  const back: Schedule = [[0, Math.max(mbit(1), ...rate.map(([, speed]) => speed))]];
  return { down: { rate, delay, ...more }, up: { rate: back, delay, ...more } };
}

const LINK = path(always(mbit(20)), always(40));

const run = (scenario: Partial<Scenario> & Pick<Scenario, 'down' | 'up'>): Run =>
  simulate({ until: 16_000, echoEvery: 20, turn, ...scenario });

const share = ({ deliveries, scenario }: Run, from: number, to = scenario.until): number =>
  utilisation(deliveries, scenario.down.rate.findLast(([at]) => at <= from)?.[1] ?? 0, from, to);

// ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────

const MBITS = [0.064, 1, 20, 200, 1000, 10_000];
const ROUND_TRIPS = [0.1, 10, 40, 150, 750];
const TABLE = MBITS.flatMap((rate) => ROUND_TRIPS.map((roundTrip) => [rate, roundTrip] as const));

function longEnough(rate: number, roundTrip: number): number {
  if (rate < 1) return Math.max(80_000, 60 * roundTrip);
  return rate < 1000 ? Math.max(8000, 60 * roundTrip) : Math.max(4000, 26 * roundTrip);
}

function onPath(rate: number, roundTrip: number, more: Partial<Scenario> = {}): Run {
  const until = longEnough(rate, roundTrip);
  // Small messages are to take no more than a hundredth of the path.
  const echoEvery = Math.max(20, until / 800, 14_800 / mbit(rate));
  return run({ ...path(always(mbit(rate)), always(roundTrip)), until, echoEvery, ...more });
}

/** What a full frame takes, ms. */
const frameMs = (rate: number): number => Math.max(4, 1484 / mbit(rate));

/** Queue, event loops and one frame in the way; waits are counted in frames where even one takes long. */
const halfWait = (rate: number, roundTrip: number): number => Math.max(6, 0.12 * roundTrip) + 2.25 * frameMs(rate);
const longWait = (rate: number, roundTrip: number): number => Math.max(12, 0.25 * roundTrip) + 6 * frameMs(rate);

/**
 * Up to 1 Mbit/s a frame has one segment, whose headers weigh 2 %; no more can be in flight than the retransmit buffer
 * holds.
 */
function expectedShare(rate: number, roundTrip: number): number {
  const window = DEFAULT_CONGESTION_CONFIG.maxInFlightBytes / (mbit(rate) * (roundTrip + 1));
  return window < 1 ? 0.95 * window : rate <= 1 ? 0.94 : 0.97;
}

describe('Congestion control of a constant path', () => {
  it.each(TABLE)('a path of %d Mbit/s and %d ms is full, with a short queue', (rate, roundTrip) => {
    const result = onPath(rate, roundTrip);
    const from = result.scenario.until / 2;
    expect(share(result, from)).toBeGreaterThan(expectedShare(rate, roundTrip));
    expect(waitAt(result, 0.5, from)).toBeLessThan(halfWait(rate, roundTrip));
    expect(waitAt(result, 0.99, from)).toBeLessThan(longWait(rate, roundTrip));
  });

  const long = TABLE.filter(([rate, ms]) => 2 ** 23 / mbit(rate) - ms > 2 * halfWait(rate, ms) && rate >= 1);

  it.each(long)('a path of %d Mbit/s and %d ms has a long queue without congestion control', (rate, roundTrip) => {
    const result = onPath(rate, roundTrip, { fixedWindow: 2 ** 23 });
    const from = result.scenario.until / 2;
    const waits = result.waits.length > 0 ? waitAt(result, 0.5, from) : Number.NaN;
    // No number: what was written in the second half has not even arrived.
    expect(waits < halfWait(rate, roundTrip)).toBe(false);
  });
});

// ── the link that the project measures on ────────────────────────────────────────────────────────────────────────────

describe('Congestion control of 20 Mbit/s and 40 ms', () => {
  it.each([
    [1, 1],
    [4, 1],
    [4, 2],
    [4, 3],
    [32, 1],
    [32, 2],
  ])(
    '20 Mbit/s and 40 ms: beside %d downloads (seed %d) a small message waits 9 ms, 24 ms at worst',
    (downloads, seed) => {
      const result = run({ ...LINK, downloads, seed });
      expect(share(result, 2000)).toBeGreaterThan(0.97);
      expect(waitAt(result, 0.5, 2000)).toBeLessThan(9);
      expect(waitAt(result, 0.99, 2000)).toBeLessThan(24);
    },
  );

  it('20 Mbit/s and 40 ms: the path is full after a quarter of a second, and its queue never exceeds 150 ms', () => {
    const result = run({ ...LINK, until: 2000 });
    expect(share(result, 250, 1250)).toBeGreaterThan(0.95);
    expect(waitAt(result, 1, 0, 2000)).toBeLessThan(150);
  });

  it.each([
    [4, 1],
    [4, 2],
    [4, 3],
    [32, 1],
    [32, 2],
    [32, 3],
  ])(
    '20 Mbit/s and 40 ms: beside %d uploads (seed %d) an echo that follows the last one waits 9 ms, 20 ms at worst',
    (downloads, seed) => {
      const result = run({ ...LINK, downloads, seed, echoLoop: true });
      expect(share(result, 2000)).toBeGreaterThan(0.98);
      expect(waitAt(result, 0.5, 2000)).toBeLessThan(9);
      expect(waitAt(result, 0.99, 2000)).toBeLessThan(20);
    },
  );

  it('20 Mbit/s and 40 ms: the path is full while the kernel is in slow start', () => {
    const rate: Schedule = Array.from({ length: 14 }, (_, i) => [i * 40, Math.min(mbit(20), (14_600 * 2 ** i) / 40)]);
    const result = run(path(rate, always(40)));
    expect(share(result, 1000)).toBeGreaterThan(0.97);
    expect(waitAt(result, 0.99, 1000)).toBeLessThan(24);
  });

  it('20 Mbit/s and 40 ms: small messages are fast again right after each stall of 200 ms', () => {
    const rate: [number, number][] = [[0, mbit(20)]];
    for (let at = 3000; at < 16_000; at += 3000) rate.push([at, 1], [at + 200, mbit(20)]);
    const result = run(path(rate, always(40)));
    expect(waitAt(result, 0.5, 2000)).toBeLessThan(9);
    for (let at = 3500; at < 15_000; at += 3000) expect(waitAt(result, 0.95, at, at + 2400)).toBeLessThan(30);
    expect(utilisation(result.deliveries, mbit(20), 2000, 16_000)).toBeGreaterThan(0.9);
  });
});

it('2 Mbit/s and 40 ms: small messages wait twice as long if quiet streams wait for the window like bulk', () => {
  const slow = path(always(mbit(2)), always(40));
  expect(waitAt(run(slow), 0.99, 2000)).toBeLessThan(30);
  expect(waitAt(run({ ...slow, quietWaits: true }), 0.99, 2000)).toBeGreaterThan(50);
});

// ── a path on which a record takes long ──────────────────────────────────────────────────────────────────────────────

describe('Congestion control of 64 kbit/s and 300 ms, where a full record takes 185 ms', () => {
  const slow: Way = { rate: always(mbit(0.064)), delay: always(150) };
  // Small messages know the empty path before the download begins.
  const active: Schedule = [
    [0, 0],
    [6000, 1],
  ];

  it.each([1, 2, 3])(
    '64 kbit/s and 300 ms: serialization delay counts neither as a queue nor as length of the path (seed %d)',
    (seed) => {
      const result = run({ down: slow, up: slow, until: 120_000, echoEvery: 770, downloads: 1, active, seed });
      // Three times the 370 ms that an echo takes when idle.
      expect(waitAt(result, 0.99, 6000)).toBeLessThan(2 * 370);
      expect(waitAt(result, 0.5, 6000)).toBeLessThan(300);
      expect(share(result, 8000)).toBeGreaterThan(0.92);
      expect(result.controller.minRttMs).toBeLessThan(340);
    },
  );
});

// ── paths that change ────────────────────────────────────────────────────────────────────────────────────────────────

const CHANGE = 6000;

/** How long after the change the last 100 ms were with less than nine tenths, ms. */
function slowFor(result: Run, within: number): number {
  let last = 0;
  for (let at = 0; at < within; at += 100) if (share(result, CHANGE + at, CHANGE + at + 100) < 0.9) last = at + 100;
  return last;
}

/** How long after the change the last small message waited longer than so much, ms. */
const queuedFor = (result: Run, ms: number): number =>
  Math.max(0, ...result.waits.filter(([at, wait]) => at > CHANGE && wait > ms).map(([at]) => at - CHANGE));

describe('Congestion control of a path that changes', () => {
  it.each([
    [2, 20],
    [20, 200],
    [10, 20],
    [15, 20],
  ])('a path that becomes faster, from %d to %d Mbit/s, is full within half a second', (before, after) => {
    const rate: Schedule = [
      [0, mbit(before)],
      [CHANGE, mbit(after)],
    ];
    const result = run({ ...path(rate, always(40)), until: 9000 });
    expect(slowFor(result, 1900)).toBeLessThanOrEqual(500);
    expect(waitAt(result, 0.99, CHANGE)).toBeLessThan(60);
  });

  it.each([
    [200, 20, 1500],
    [20, 2, 1500],
    [20, 10, 1000],
    [20, 15, 1000],
  ])('on a path that becomes slower, from %d to %d Mbit/s, the queue is gone within %d ms', (before, after, within) => {
    const rate: Schedule = [
      [0, mbit(before)],
      [CHANGE, mbit(after)],
    ];
    const result = run({ ...path(rate, always(40)), until: 9500 });
    expect(queuedFor(result, 40)).toBeLessThan(within);
    expect(share(result, CHANGE, 9500)).toBeGreaterThan(0.94);
    // What was in flight takes its time; a round beyond is what noticing costs.
    const inFlightMs = (50 * before) / after;
    expect(waitAt(result, 1, CHANGE)).toBeLessThan(1.2 * inFlightMs + 40);
  });

  it.each([
    [40, 46, 7000],
    [40, 60, 1000],
    [40, 200, 3500],
    [200, 40, 500],
  ])('a path whose length changes from %d to %d ms is full again within %d ms', (before, after, within) => {
    const roundTrip: Schedule = [
      [0, before],
      [CHANGE, after],
    ];
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const result = run({ ...path(always(mbit(20)), roundTrip), seed });
      expect(share(result, CHANGE + within, CHANGE + within + 3000)).toBeGreaterThan(0.95);
      expect(waitAt(result, 0.5, CHANGE + 4000)).toBeLessThan(halfWait(20, after));
      const minRttMs = result.controller.minRttMs ?? 0;
      expect(Math.abs(minRttMs - after)).toBeLessThan(6);
    }
  });

  it('on a path that becomes longer and slower at once, the queue is gone within 3 s', () => {
    const rate: Schedule = [
      [0, mbit(20)],
      [CHANGE, mbit(2)],
    ];
    const roundTrip: Schedule = [
      [0, 40],
      [CHANGE, 200],
    ];
    const result = run(path(rate, roundTrip));
    expect(waitAt(result, 0.5, CHANGE + 3000)).toBeLessThan(40);
    expect(share(result, CHANGE + 3000)).toBeGreaterThan(0.9);
  });
});

// ── noise ────────────────────────────────────────────────────────────────────────────────────────────────────────────

describe('Congestion control with jitter', () => {
  it('jitter of 5 ms in each direction costs no throughput', () => {
    const result = run(path(always(mbit(20)), always(40), { jitter: 5 }));
    expect(share(result, 2000)).toBeGreaterThan(0.97);
    expect(waitAt(result, 0.99, 2000)).toBeLessThan(45);
  });

  it('jitter of a radio that delivers every 10 ms costs little throughput', () => {
    const result = run(path(always(mbit(20)), always(40), { bunch: 10 }));
    expect(share(result, 2000)).toBeGreaterThan(0.95);
    expect(waitAt(result, 0.99, 2000)).toBeLessThan(65);
  });

  it('jitter of 20 ms, half of the round trip, does not hide capacity or its tenfold rise forever', () => {
    const rate: Schedule = [
      [0, mbit(20)],
      [CHANGE, mbit(200)],
    ];
    const result = run(path(rate, always(40), { jitter: 20 }));
    expect(share(result, 3000, CHANGE)).toBeGreaterThan(0.8);
    expect(share(result, CHANGE + 4000)).toBeGreaterThan(0.95);
  });

  it.each([
    ['up to 1 ms', (random: Prng) => random.below(100) / 100, 0.97],
    ['up to 10 ms', (random: Prng) => random.below(100) / 10, 0.95],
    // One seed has 0.7 to 0.87.
    ['5 to 15 ms', (random: Prng) => 5 + random.below(100) / 10, 0.79],
  ])('jitter of event loops whose turns take %s does not throttle 1 GB/s', (_, slowTurn, least) => {
    const shares = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => {
      const loopback = { ...path(always(1e6), always(0.1)), until: 3000, turn: slowTurn, seed };
      return share(run(loopback), 500) / share(run({ ...loopback, fixedWindow: 2 ** 23 }), 500);
    });
    expect(shares.reduce((sum, one) => sum + one) / shares.length).toBeGreaterThan(least);
  });
});

// ── applications ─────────────────────────────────────────────────────────────────────────────────────────────────────

describe('Congestion control of an application', () => {
  it('an application with too little to send causes no queue, and does not lower the delivery rate', () => {
    const result = run({ ...LINK, appRate: mbit(6) });
    expect(waitAt(result, 0.99, 2000)).toBeLessThan(6);
    expect(result.controller.deliveryRate).toBeGreaterThan(0.8 * mbit(6));
    expect(share(result, 2000)).toBeGreaterThan(0.3);
  });

  it('an application that pauses finds the delivery rate and min RTT unchanged', () => {
    const active: Schedule = Array.from({ length: 32 }, (_, i) => [i * 500, (i + 1) % 2]);
    const result = run({ ...LINK, active });
    expect(share(result, 2000)).toBeGreaterThan(0.48);
    expect(waitAt(result, 0.99, 2000)).toBeLessThan(60);
  });

  it.each([
    ['20 Mbit/s both ways', 20, 0.75],
    ['20 Mbit/s down and 5 up', 5, 0.7],
  ])('an application that sends both ways fills most of both, with short queues: %s', (_, up, least) => {
    const scenario = { ...LINK, up: path(always(mbit(up)), always(40)).up, uploads: 4 };
    const runs = [1, 2, 3, 4].map((seed) => run({ ...scenario, seed }));
    const mean = (of: (one: Run) => number): number => runs.reduce((sum, one) => sum + of(one), 0) / runs.length;
    expect(mean((one) => share(one, 2000))).toBeGreaterThan(least);
    expect(mean(({ uploaded }) => utilisation(uploaded, mbit(up), 2000, 16_000))).toBeGreaterThan(least);
    expect(mean((one) => waitAt(one, 0.5, 2000))).toBeLessThan(30);
    expect(mean((one) => waitAt(one, 0.99, 2000))).toBeLessThan(75);
  });

  it('an application that sends both ways needs times of receipt: with only round trips both queues grow', () => {
    const result = run({ ...LINK, uploads: 4, withoutReceiveTimes: true });
    expect(waitAt(result, 0.99, 2000)).toBeGreaterThan(1000);
  });

  it('an application that sends one way needs no times of receipt', () => {
    const result = run({ ...LINK, withoutReceiveTimes: true });
    expect(share(result, 2000)).toBeGreaterThan(0.97);
    expect(waitAt(result, 0.99, 2000)).toBeLessThan(24);
  });
});

// ── acknowledgements that wait ───────────────────────────────────────────────────────────────────────────────────────

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

describe('Congestion control with acknowledgements that wait', () => {
  const SHORT = path(always(mbit(8000)), always(0.1));
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1);

  type MegabyteCase = readonly [Pick<Scenario, 'down' | 'up'>, every: number, within: number];

  /** Of 1 MB behind 50 little messages that nobody answers, as the first of a session, ms: the median of some seeds. Infinity: longer than `within`. */
  function megabyteMs([scenario, every, within]: MegabyteCase, waiting?: Scenario['waiting']): number {
    const from = 50 * every;
    const active: Schedule = [
      [0, 0],
      [from, 1],
    ];
    const times = seeds.map((seed) => {
      const more = { until: from + within, echoEvery: every, downloads: 1, active, seed };
      const { deliveries } = run({ ...scenario, ...more, ...(waiting && { waiting }) });
      let left = 1e6;
      for (const { at, bytes } of deliveries) {
        left -= bytes;
        if (left <= 0) return at - from;
      }
      return Number.POSITIVE_INFINITY;
    });
    return median(times);
  }

  it.each<[string, MegabyteCase]>([
    ['8 Gbit/s and 0.1 ms', [SHORT, 2, 100]],
    ['1 Gbit/s and 10 ms', [path(always(mbit(1000)), always(10)), 20, 1000]],
    ['20 Mbit/s and 40 ms', [LINK, 80, 3000]],
  ])('acknowledgements that wait do not slow a megabyte after small messages: %s', (_, megabyte) => {
    const atOnce = megabyteMs(megabyte, 'none');
    expect(megabyteMs(megabyte)).toBeLessThan(1.05 * atOnce);
  });

  it('acknowledgements would slow a megabyte tenfold if the receiver decided which wait', () => {
    const megabyte = [SHORT, 2, 300] as const;
    expect(megabyteMs(megabyte, 'all')).toBeGreaterThan(10 * megabyteMs(megabyte));
  });

  it('acknowledgements that wait do not slow a download from its start, nor what is written beside it', () => {
    const shares = (waiting?: 'none'): number[] =>
      seeds.map((seed) => share(run({ ...LINK, until: 1500, seed, ...(waiting && { waiting }) }), 0));
    expect(median(shares())).toBeGreaterThan(0.99 * median(shares('none')));
  });

  it.each([
    ['0.1 ms', SHORT],
    ['40 ms', LINK],
  ])('acknowledgements that wait travel with the answers, except two at each min-RTT probe: %s', (_, scenario) => {
    const echoes = { ...scenario, until: 10_000, downloads: 0, echoEvery: 1, echoLoop: true } as const;
    const [waiting, atOnce] = [run(echoes), run({ ...echoes, waiting: 'none' })];
    expect(waiting.bareAcknowledgements).toBeLessThanOrEqual(12);
    expect(atOnce.bareAcknowledgements).toBeGreaterThan(1.9 * atOnce.waits.length);
    expect(waiting.controller.minRttMs).toBeCloseTo(atOnce.controller.minRttMs ?? 0, 3);
    expect(waiting.controller.smoothedRttMs).toBeLessThanOrEqual((atOnce.controller.smoothedRttMs ?? 0) + 0.01);
  });
});

// ── the controller alone ──────────────────────────────────────────────────────────────────────────────────────────────────

describe('The congestion controller', () => {
  it('a congestion controller begins with the configured window and small frames', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 5);
    expect([controller.window(5), controller.frameBytes(), controller.inFlightBytes]).toEqual([16_384, 4096, 0]);
    expect([controller.deliveryRate, controller.smoothedRttMs, controller.minRttMs]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('a congestion controller reports bytes in flight, round trips and the delivery rate', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    const stamps = [0, 1, 2, 3].map((at) => controller.onSent(1000, at));
    expect(controller.inFlightBytes).toBe(4000);
    controller.onAcked(3000, stamps[2]!, 42, 1022);
    expect([controller.inFlightBytes, controller.smoothedRttMs, controller.minRttMs]).toEqual([1000, 40, 40]);
    controller.onAcked(1000, stamps[3]!, 50, 1030);
    expect(controller.deliveryRate).toBeCloseTo(4000 / 50);
    expect(controller.minRttMs).toBe(40);
  });

  it('the round trip excludes the time for which an acknowledgement may have waited', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    controller.onAcked(100, controller.onSent(100, 0), 40, 1020);
    // 10 ms later than the first, with the way there as it was: the peer's wait.
    controller.onAcked(100, controller.onSent(100, 100, true), 150, 1120);
    expect([controller.smoothedRttMs, controller.minRttMs]).toEqual([40, 40]);
    // Quicker than the first: that is the path.
    controller.onAcked(100, controller.onSent(100, 200, true), 238, 1220);
    expect(controller.minRttMs).toBe(38);
    // One that was not to wait says how long the way back is now; a longer way there is seen at once.
    controller.onAcked(100, controller.onSent(100, 300), 360, 1325);
    controller.onAcked(100, controller.onSent(100, 400, true), 460, 1425);
    expect(controller.smoothedRttMs).toBeGreaterThan(44);
  });

  it('a longer return path is found within a probe interval, even if something is always in flight', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    const inFlight: { readonly at: number; readonly received: number; readonly stamp: SentStamp }[] = [];
    for (let now = 0; now < 40_000; now += 1) {
      for (let first = inFlight[0]; first && first.at <= now; first = inFlight[0]) {
        inFlight.shift();
        controller.onAcked(40, first.stamp, now, first.received);
      }
      if (now % 100 > 0) continue;
      const roundTrip = now < 20_000 ? 150 : 600;
      const stamp = controller.onSent(40, now, controller.mayWait(40, now));
      const waits = stamp.mayWait ? 10 : 0;
      inFlight.push({ at: now + roundTrip + waits, received: now + roundTrip / 2, stamp });
      controller.onAppLimited();
    }
    expect(controller.smoothedRttMs).toBeCloseTo(600, 0);
  });

  it('large records, the first record and probes must be acknowledged at once', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    expect(controller.mayWait(100, 0)).toBe(false);
    controller.onAcked(100, controller.onSent(100, 0), 40, 1020);
    expect([100, 1399, 1500, 50_000].map((bytes) => controller.mayWait(bytes, 41))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    const stamp = controller.onSent(600, 42, true);
    expect([100, 600].map((bytes) => controller.mayWait(bytes, 43))).toEqual([true, false]);
    // A path that is empty by itself is measured from time to time.
    controller.onAcked(600, stamp, 82, 1062);
    expect(controller.mayWait(100, 6000)).toBe(false);
  });

  it.each([
    ['a frame on a slow path', 1250],
    ['16 KiB on a fast one', 10_000],
  ])('what makes more in flight than %s must be acknowledged at once', (_, perMs) => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    const stamps: SentStamp[] = [];
    for (let now = 0; now < 1500; now += 1) {
      stamps.push(controller.onSent(perMs, now));
      if (now >= 100) controller.onAcked(perMs, stamps[now - 100] as SentStamp, now);
    }
    controller.onAcked(controller.inFlightBytes, stamps.at(-1) as SentStamp, 1600);
    const most = Math.min(16_384, Math.floor(4 * (controller.deliveryRate ?? 0)));
    expect(controller.window(1601) / 2).toBeGreaterThan(2 * most);
    controller.onSent(1000, 1601);
    expect([most - 1000, most - 999].map((bytes) => controller.mayWait(bytes, 1601))).toEqual([true, false]);
  });

  it('any record must be acknowledged at once while the path is emptied for a probe, because what follows waits for that', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    for (let now = 0; now < 3000; now += 1) controller.onAcked(2500, controller.onSent(2500, now), now + 1);
    controller.onSent(100, 3001, true);
    expect(controller.mayWait(100, 3001)).toBe(true);
    let draining = 3001;
    while (controller.window(draining) > 100 && draining < 20_000) draining += 1;
    expect(controller.window(draining)).toBeLessThan(100);
    expect(controller.mayWait(100, draining)).toBe(false);
  });

  it('the window stays within its limits whatever times of receipt a peer invents', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = prng(seed);
      const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
      const inFlight: { bytes: number; stamp: SentStamp }[] = [];
      for (let now = 0; now < 20_000; now += random.below(30)) {
        const bytes = 1 + random.below(50_000);
        inFlight.push({ bytes, stamp: controller.onSent(bytes, now, random.chance(0.5)) });
        const acked = inFlight.splice(0, random.below(4));
        const sum = acked.reduce((total, one) => total + one.bytes, 0);
        const stamp = acked.at(-1)?.stamp;
        if (stamp !== undefined) controller.onAcked(sum, stamp, now, random.pick([now, -1e9, 1e9, random.below(4e6)]));
        const [window, frame] = [controller.window(now), controller.frameBytes()];
        if (!(window > 0 && window <= DEFAULT_CONGESTION_CONFIG.maxInFlightBytes))
          throw new Error(`${seed}: ${window}`);
        if (!(frame >= 1400 && frame <= DEFAULT_CONGESTION_CONFIG.maxFrameBytes))
          throw new Error(`${seed}: frames ${frame}`);
      }
    }
  });

  const sizes = [5, 10, 17, 20, 33, 50, 80].flatMap((rate) =>
    [15, 40, 90].map((roundTrip) => [rate, roundTrip] as const),
  );

  it.each(sizes)(
    'at %d Mbit/s and %d ms, whole frames fill the window and most of one frame more',
    (rate, roundTrip) => {
      const { controller } = run({ ...path(always(mbit(rate)), always(roundTrip)), until: 5000 });
      const [window, frame] = [controller.urgentWindow(), controller.frameBytes()];
      expect(frame).toBeGreaterThan(DEFAULT_CONGESTION_CONFIG.minFrameBytes);
      expect(frame).toBeLessThan(DEFAULT_CONGESTION_CONFIG.maxFrameBytes);
      expect(frame / ((controller.deliveryRate ?? 0) * DEFAULT_CONGESTION_CONFIG.frameMs)).toBeGreaterThan(0.75);
      expect(frame / ((controller.deliveryRate ?? 0) * DEFAULT_CONGESTION_CONFIG.frameMs)).toBeLessThan(1.37);
      // Records until as much is in flight as may be.
      const record = frame + RECORD_OVERHEAD;
      const beyond = (Math.ceil(window / record) * record - window) / frame;
      expect(beyond).toBeGreaterThan(0.75);
      expect(beyond).toBeLessThan(0.9);
    },
  );

  it('sending continues even if quiet streams never let the path be empty', () => {
    const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
    const inFlight: { stamp: SentStamp; bytes: number }[] = [];
    let drained = 0;
    for (let now = 0; now < 30_000; now += 1) {
      for (let first = inFlight[0]; first && first.stamp.at + 40 <= now; first = inFlight[0]) {
        inFlight.shift();
        controller.onAcked(first.bytes, first.stamp, now);
      }
      // 2.5 MB/s that do not ask whether they may.
      inFlight.push({ stamp: controller.onSent(2500, now), bytes: 2500 });
      if (controller.window(now) < 0.95 * 40 * 2500) drained += 1;
    }
    expect(drained).toBeLessThan(0.1 * 30_000);
  });
});
