/** A token bucket for bytes, with time passed in. Pure. Each call gives the rate, which may change at any time. */

/** Bytes: what one stream gets before the next one's turn. A sealed record holds three of them. */
const PIECE_BYTES = 16 * 1024;
/** Seconds' worth that may pass at once after a pause: far longer than a late timer (some ms), less than a second. */
const BURST_S = 0.05;
/** Bytes: below, the headers of frames and records would outweigh what they carry. */
const MIN_BURST_BYTES = 4 * 1024;

export class ByteBucket {
  private tokens = Number.POSITIVE_INFINITY;
  private updated: number;

  /** Full. `now` in ms. */
  constructor(now: number) {
    this.updated = now;
  }

  /** How many of `want` bytes may pass now; 0: ask again in `waitMs`. @param rate bytes a second, > 0 @param now ms */
  take(want: number, rate: number, now: number): number {
    this.refill(rate, now);
    if (this.tokens < leastOf(want, rate)) return 0;
    const taken = Math.min(want, PIECE_BYTES, Math.floor(this.tokens));
    this.tokens -= taken;
    return taken;
  }

  /** Whether a datagram may pass now. It is never cut, so one beyond the burst leaves a debt. */
  takeWhole(bytes: number, rate: number, now: number): boolean {
    this.refill(rate, now);
    if (this.tokens < Math.min(bytes, burstOf(rate))) return false;
    this.tokens -= bytes;
    return true;
  }

  /** What passes in any case. The debt is bounded: who caused it has a limit of its own. */
  spend(bytes: number, rate: number, now: number): void {
    this.refill(rate, now);
    this.tokens = Math.max(-burstOf(rate), this.tokens - bytes);
  }

  /** Until `take` gives something, ms, if no one else takes. */
  waitMs(want: number, rate: number, now: number): number {
    this.refill(rate, now);
    return Math.max(0, ((leastOf(want, rate) - this.tokens) / rate) * 1000);
  }

  private refill(rate: number, now: number): void {
    const elapsedS = Math.max(0, now - this.updated) / 1000;
    this.tokens = Math.min(burstOf(rate), this.tokens + elapsedS * rate);
    this.updated = Math.max(now, this.updated);
  }
}

/** Tiny pieces would cost more than they carry: a piece waits until it is whole. */
function leastOf(want: number, rate: number): number {
  return Math.min(want, PIECE_BYTES, burstOf(rate));
}

function burstOf(rate: number): number {
  return Math.max(MIN_BURST_BYTES, rate * BURST_S);
}
