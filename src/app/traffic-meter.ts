/** Rates between the times at which someone asks: totals are counted anyway, so nothing else runs. Pure. */
import type { Traffic } from './status.ts';

/** What was asked before that, ms, is too old for a rate. */
const WINDOW_MS = 5_000;
/** Samples are so far apart, ms, that at most 21 are kept. */
const SPACING_MS = 250;

/** Bytes since the start. */
export interface Totals {
  readonly sent: number;
  readonly received: number;
}

interface Sample extends Totals {
  readonly at: number;
}

const NO_RATES = { sentPerSecond: 0, receivedPerSecond: 0 };

export class TrafficMeter {
  /** The oldest first. */
  private samples: readonly Sample[] = [];

  /** With the rates since the first time within the last 5 s that this was called. @param now monotonic, ms */
  measure({ sent, received }: Totals, now: number): Traffic {
    this.samples = this.samples.filter(({ at }) => now - at <= WINDOW_MS);
    const [first] = this.samples;
    const last = this.samples.at(-1);
    if (last === undefined || now - last.at >= SPACING_MS)
      this.samples = [...this.samples, { at: now, sent, received }];
    return { sent, received, ...(first === undefined ? NO_RATES : ratesSince(first, { at: now, sent, received })) };
  }
}

function ratesSince(first: Sample, last: Sample): typeof NO_RATES {
  const seconds = (last.at - first.at) / 1000;
  // Two questions at the same moment say nothing of a rate.
  if (seconds <= 0) return NO_RATES;
  const rate = (bytes: number): number => Math.max(0, Math.round(bytes / seconds));
  return {
    sentPerSecond: rate(last.sent - first.sent),
    receivedPerSecond: rate(last.received - first.received),
  };
}
