/** How long *up* requests of a link take to be answered, and from when on a missing answer is doubtful. Pure. */
import { DOUBT_FACTOR, DOUBT_MS, UP_TIMEOUT_MS } from './http-limits.ts';

/** The share of the newest in a smoothed time: a queue that fills must be known before it is taken for a freeze. */
const GAIN_UP = 1 / 2;
const GAIN_DOWN = 1 / 8;

export class AnswerTimes {
  /** Smoothed, ms and bytes; undefined before the first. */
  private emptyMs: number | undefined;
  private bodyMs: number | undefined;
  private bodyBytes = 0;
  /** Of all requests, without a preference for slow ones. */
  private meanMs: number | undefined;

  /** What an empty request takes, ms; undefined before the first answer. */
  get roundTripMs(): number | undefined {
    return this.emptyMs;
  }

  /** What a request takes, ms; 0 before the first answer. */
  get usualMs(): number {
    return this.meanMs ?? 0;
  }

  /** @param bytes of its body */
  note(bytes: number, tookMs: number): void {
    this.meanMs = this.meanMs === undefined ? tookMs : this.meanMs + (tookMs - this.meanMs) * GAIN_DOWN;
    if (bytes === 0) {
      this.emptyMs = smoothed(this.emptyMs, tookMs);
      return;
    }
    this.bodyBytes = smoothed(this.bodyMs === undefined ? undefined : this.bodyBytes, bytes);
    this.bodyMs = smoothed(this.bodyMs, tookMs);
  }

  /**
   * A request with so many bytes that makes no progress for longer may be on a connection that carries nothing, ms.
   * @param repeats how often the same was sent before
   */
  doubtMs(bytes: number, repeats: number): number {
    const usual = bytes === 0 ? (this.emptyMs ?? 0) : (this.bodyMs ?? 0) * Math.max(1, bytes / this.bodyBytes);
    return Math.min(UP_TIMEOUT_MS, Math.max(DOUBT_MS, DOUBT_FACTOR * usual) * 2 ** repeats);
  }
}

function smoothed(before: number | undefined, value: number): number {
  return before === undefined ? value : before + (value - before) * (value > before ? GAIN_UP : GAIN_DOWN);
}
