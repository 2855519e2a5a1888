/**
 * Round trips and one-way delays of a link, ms. The forward delay shows our own queue. The return delay has the peer's
 * queue, which is not ours to keep short. Without times of receipt the forward delay is the whole round trip. The two
 * clocks need not agree: only differences and the sum of both delays have a meaning. Pure.
 */

/** Weight of a new sample (RFC 6298 §2, alpha). */
const SAMPLE_WEIGHT = 1 / 8;

export class DelayEstimator {
  smoothedRttMs: number | undefined;
  /** Of the path without a queue of ours, and with the shortest way back. */
  minRttMs = Number.POSITIVE_INFINITY;
  /** Forward, of the empty path, of records that carried `minBytes`. */
  minMs = Number.POSITIVE_INFINITY;
  /** What was acknowledged with the min: no record that took so long was larger. */
  minBytes = 0;
  /** `minMs` after the last probe, or at the end of start-up. */
  probedMinMs = Number.NEGATIVE_INFINITY;
  smoothedMs = 0;
  /**
   * The least return delay since the last probe, and between the last two. Not the latest: that has the peer's queue,
   * and two ends that each make room for the other's queue increase both without bound.
   */
  private returnMinMs = Number.POSITIVE_INFINITY;
  private returnMinBeforeMs = Number.POSITIVE_INFINITY;
  returnMs = 0;

  // Forward delays of the current round.
  roundMinMs = Number.POSITIVE_INFINITY;
  /** As `roundMinMs`, without the serialization delay beyond that of the record that had the min. */
  roundMinNetMs = Number.POSITIVE_INFINITY;
  private roundSumMs = 0;
  private roundCount = 0;

  get roundMeanMs(): number {
    return this.roundSumMs / this.roundCount;
  }

  /** True: it is the new min. */
  onAcked(bytes: number, forwardMs: number, returnMs: number): boolean {
    const weight = this.smoothedRttMs === undefined ? 1 : SAMPLE_WEIGHT;
    this.smoothedRttMs = smoothed(this.smoothedRttMs ?? 0, Math.max(0, forwardMs + returnMs), weight);
    this.smoothedMs = smoothed(this.smoothedMs, forwardMs, weight);
    this.returnMs = returnMs;
    this.returnMinMs = Math.min(this.returnMinMs, returnMs);
    const isMin = forwardMs < this.minMs;
    if (isMin) this.minBytes = bytes;
    this.setMin(isMin ? forwardMs : this.minMs);
    return isMin;
  }

  setMin(ms: number): void {
    this.minMs = ms;
    this.minRttMs = Math.max(0, ms + Math.min(this.returnMinMs, this.returnMinBeforeMs));
  }

  addToRound(forwardMs: number, serializationMs: number): void {
    this.roundMinMs = Math.min(this.roundMinMs, forwardMs);
    this.roundMinNetMs = Math.min(this.roundMinNetMs, forwardMs - serializationMs);
    this.roundSumMs += forwardMs;
    this.roundCount += 1;
  }

  beginRound(): void {
    this.roundMinMs = Number.POSITIVE_INFINITY;
    this.roundMinNetMs = Number.POSITIVE_INFINITY;
    this.roundSumMs = 0;
    this.roundCount = 0;
  }

  /** A probe has come through. Where it answers a suspected change, earlier return delays are of the old path. */
  restartReturnMin(isChange: boolean): void {
    this.returnMinBeforeMs = isChange ? this.returnMs : this.returnMinMs;
    this.returnMinMs = this.returnMs;
    this.setMin(this.minMs);
  }
}

/** Exponentially weighted moving average. */
export function smoothed(old: number, latest: number, weight: number): number {
  return old + (latest - old) * weight;
}
