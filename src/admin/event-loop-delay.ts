/** How late the event loop is, in windows that leave nothing out. Node measures; nothing of it runs in JavaScript. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** A timer looks so often whether it is late, ms: each look costs the processor some microseconds. */
const LOOK_MS = 20;
/** Then a new measurement has had its first look. */
const FIRST_LOOK_MS = LOOK_MS + 5;

/** Seconds. */
export interface Delays {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class EventLoopDelay {
  private window = open();
  private taking: Promise<Delays> | undefined;
  private isClosed = false;

  /** Since the last call; the same for all that ask at once. Takes 25 ms. */
  take(): Promise<Delays> {
    this.taking ??= this.takeNow().finally(() => {
      this.taking = undefined;
    });
    return this.taking;
  }

  close(): void {
    this.isClosed = true;
    this.window.disable();
  }

  /**
   * A measurement counts from its first look on. If one began where another ends, a long block that begins there, such
   * as the reading of all other metrics, would be in neither: so they overlap by a look.
   */
  private async takeNow(): Promise<Delays> {
    const next = open();
    await delay(FIRST_LOOK_MS, undefined, { ref: false });
    const { window } = this;
    window.disable();
    this.window = next;
    if (this.isClosed) next.disable();
    if (window.count === 0) return { p50: 0, p99: 0, max: 0 };
    return { p50: late(window.percentile(50)), p99: late(window.percentile(99)), max: late(window.max) };
  }
}

function open(): IntervalHistogram {
  const window = monitorEventLoopDelay({ resolution: LOOK_MS });
  window.enable();
  return window;
}

/** @param ns between two looks */
function late(ns: number): number {
  return Math.max(0, ns / 1e9 - LOOK_MS / 1000);
}
