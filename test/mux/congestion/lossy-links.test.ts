/**
 * Congestion control of a link that loses packets while other links carry the session, too. TCP repairs each loss:
 * nothing arrives for a while, and then all of it at once. In virtual time.
 */
import { describe, expect, it } from 'vitest';
import { DEFAULT_CONGESTION_CONFIG } from '../../../src/mux/congestion/congestion-config.ts';
import { CongestionController, type SentStamp } from '../../../src/mux/congestion/congestion-controller.ts';

const ONE_WAY_MS = 20;
/** What TCP carries, bytes a ms. */
const RATE = 400;
/** A packet is lost so often, ms, and repaired so much later; TCP's timer repairs every tenth. */
const LOSS_EVERY_MS = 300;
const REPAIR_MS = 45;
const TIMER_MS = 240;
const UNTIL = 60_000;

/** When what would arrive at `at` does, in order. */
function repairedAt(at: number): number {
  const loss = Math.floor(at / LOSS_EVERY_MS);
  const since = at - loss * LOSS_EVERY_MS;
  const repairMs = loss % 10 === 9 ? TIMER_MS : REPAIR_MS;
  return since < repairMs ? at - since + repairMs : at;
}

interface Result {
  /** How often the window was closed to empty the link. */
  readonly drains: number;
  readonly minRttMs: number | undefined;
}

/** The application has always more to send. @param oneWayMs at which the path begins and, after a third, goes on */
function carry(isTold: boolean, oneWayMs: readonly [number, number] = [ONE_WAY_MS, ONE_WAY_MS]): Result {
  const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
  const sent: { stamp: SentStamp; bytes: number; arrivesAt: number }[] = [];
  let freeAt = 0;
  let arrivedAt = 0;
  let drains = 0;
  let wasDraining = false;
  for (let now = 0; now < UNTIL; now++) {
    const delayMs = oneWayMs[now < UNTIL / 3 ? 0 : 1] as number;
    while (controller.inFlightBytes < controller.window(now)) {
      const bytes = controller.frameBytes() + DEFAULT_CONGESTION_CONFIG.headerBytes;
      freeAt = Math.max(freeAt, now) + bytes / RATE;
      arrivedAt = Math.max(arrivedAt, repairedAt(freeAt + delayMs));
      sent.push({ stamp: controller.onSent(bytes, now), bytes, arrivesAt: arrivedAt });
    }
    while (sent[0] !== undefined && sent[0].arrivesAt + delayMs <= now) {
      const { stamp, bytes, arrivesAt } = sent.shift() as (typeof sent)[0];
      controller.onAcked(bytes, stamp, now, arrivesAt);
    }
    if (isTold && now % LOSS_EVERY_MS === REPAIR_MS) controller.onLoss(now);
    const isDraining = controller.window(now) < controller.urgentWindow();
    if (isDraining && !wasDraining) drains += 1;
    wasDraining = isDraining;
  }
  return { drains, minRttMs: controller.minRttMs };
}

/** The rate after 20 records that go out at once, of which the first five arrive at once, and the rest behind a loss. */
function rateAfterHole(prepare: (controller: CongestionController) => void): number {
  const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
  const bytes = 1_400;
  const probe = controller.onSent(bytes, 0);
  controller.onAcked(bytes, probe, 2 * ONE_WAY_MS, ONE_WAY_MS);
  prepare(controller);
  const begin = 100;
  const stamps = Array.from({ length: 20 }, () => controller.onSent(bytes, begin));
  const [first, last] = [stamps[4], stamps[19]] as [SentStamp, SentStamp];
  controller.onAcked(5 * bytes, first, begin + 40, begin + 20);
  controller.onAcked(15 * bytes, last, begin + 45, begin + 25);
  const after = controller.onSent(bytes, begin + 45);
  controller.onAcked(bytes, after, begin + 90, begin + 70);
  return controller.deliveryRate ?? 0;
}

describe('Congestion control of one of several links, where packets get lost', () => {
  it('a link is emptied for a probe less often, because each loss looks like a change of the path', () => {
    const [told, untold] = [carry(true), carry(false)];
    expect(untold.drains).toBeGreaterThan(10);
    expect(told.drains).toBeLessThan(untold.drains / 2);
  });

  it.each([
    [20, 80],
    [80, 20],
  ])('a path that changes from %d to %d ms one way is found within 40 s all the same', (before, after) => {
    const { minRttMs = 0 } = carry(true, [before, after]);
    expect(Math.abs(minRttMs - 2 * after)).toBeLessThan(Math.abs(minRttMs - 2 * before));
  });

  it('what arrives at once behind a loss counts as what a whole round trip brought', () => {
    const told = rateAfterHole((controller) => controller.onLoss(50));
    const untold = rateAfterHole(() => {});
    expect(told).toBeLessThan((20 * 1_400) / 40);
    expect(untold).toBeGreaterThan(5 * told);
  });

  it('the only link of a session is controlled as if nothing had been lost', () => {
    const forgotten = rateAfterHole((controller) => {
      controller.onLoss(50);
      controller.forgetLosses();
    });
    expect(forgotten).toBe(rateAfterHole(() => {}));
  });

  it('a frame may take 12 ms, and 4 KiB, where quiet streams have another link', () => {
    const frameAt = (rate: number, isLong: boolean): number => {
      const controller = new CongestionController(DEFAULT_CONGESTION_CONFIG, 0);
      controller.setLongFrames(isLong);
      for (let now = 0; now < 2_000; now += 40) {
        const bytes = rate * 40;
        controller.onAcked(bytes, controller.onSent(bytes, now), now + 40, now + 20);
      }
      return controller.frameBytes();
    };
    for (const [rate, usual, long] of [
      [50, 1_400, 1_400],
      [200, 1_400, 2_400],
      [400, 1_600, 4_096],
      [2_000, 8_000, 8_000],
    ] as const) {
      expect(Math.abs(frameAt(rate, false) / usual - 1)).toBeLessThan(0.3);
      expect(Math.abs(frameAt(rate, true) / long - 1)).toBeLessThan(0.3);
    }
  });
});
