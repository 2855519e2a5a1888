/**
 * How soon a link on which nothing comes is left where another relay is at hand. A change of links costs no byte, so it
 * may come early. But a path that is merely slow, or that pauses, must not have them all the time: where what was
 * silent comes back at once, the next links are given longer. Pure: time is passed in.
 */
import type { StallTimes } from '../../mux/config.ts';

/** Together with a dial well below the time after which a person, or a program, takes a connection for dead. */
const HURRIED: StallTimes = { probeMs: 300, probeAnswerMs: 400, stallMs: 700 };
/** Twice as long after the first false alarm; after so many, as long as where there is only one relay. */
const MOST_ALARMS = 2;
/** So long without another one takes one back, ms; doubles each time that there was one, up to the second. */
const CALM_MS = 60_000;
const LONGEST_CALM_MS = 3_600_000;

export class StallPatience {
  private alarms = 0;
  private calmMs = CALM_MS;
  private calmAt = Number.POSITIVE_INFINITY;

  /** Undefined: as long as where there is only one relay. */
  timesAt(now: number): StallTimes | undefined {
    while (now >= this.calmAt) this.takeBack();
    if (this.alarms >= MOST_ALARMS) return undefined;
    const times = 2 ** this.alarms;
    return {
      probeMs: HURRIED.probeMs * times,
      probeAnswerMs: HURRIED.probeAnswerMs * times,
      stallMs: HURRIED.stallMs * times,
    };
  }

  /** When `timesAt` changes by itself; Infinity: it does not. */
  get changesAt(): number {
    return this.calmAt;
  }

  /** A link that was taken for one that carries nothing has brought something right after that. */
  handleFalseAlarm(now: number): void {
    this.timesAt(now);
    this.alarms = Math.min(this.alarms + 1, MOST_ALARMS);
    this.calmAt = now + this.calmMs;
    this.calmMs = Math.min(2 * this.calmMs, LONGEST_CALM_MS);
  }

  /** Another network: what was learnt does not hold there. */
  handleNetworkChanged(): void {
    this.alarms = 0;
    this.calmMs = CALM_MS;
    this.calmAt = Number.POSITIVE_INFINITY;
  }

  private takeBack(): void {
    this.alarms -= 1;
    this.calmAt = this.alarms === 0 ? Number.POSITIVE_INFINITY : this.calmAt + this.calmMs;
  }
}
