/** Jitter of a link, ms: what varies within some rounds is no queue of ours, and the window needs room for it. Pure. */
import { type DelayEstimator, smoothed } from './delay-estimator.ts';
import type { DeliveryRate } from './delivery-rate.ts';

/** Jitter is measured over so many rounds: on loopback a single one may have one acknowledgement. */
const SPAN_ROUNDS = 8;

/** Weight of a new sample (RFC 6298 §2, beta). */
const SAMPLE_WEIGHT = 1 / 4;

/** Jitter counts up to so much, ms, and this share of the min RTT: more room would only be more queue. */
const MAX_JITTER_MS = 10;
const MAX_JITTER_SHARE = 1 / 2;

/**
 * Where both ends send bulk, each one's queue delays the other's acknowledgements. That spread would count as jitter,
 * make room for more queue, and so cause more spread. Then no more than this counts, ms.
 */
const MAX_BIDIRECTIONAL_JITTER_MS = 8;

/** Load is bidirectional if the peer sends more than this share of what we send. */
const BIDIRECTIONAL_SHARE = 1 / 16;

export class JitterEstimator {
  ms = 0;
  /** The peer sends bulk, too. */
  isBidirectional = false;
  /** Of the peer's records, bytes. */
  received = 0;

  // Since the span began.
  private rounds = 0;
  private minMs = Number.POSITIVE_INFINITY;
  private sumMs = 0;
  private returnMinMs = Number.POSITIVE_INFINITY;
  private returnSumMs = 0;
  private count = 0;
  private receivedBefore = 0;
  private ackedBefore = 0;

  /** @param queueMs what counts of the return delay's jitter, ms, at least. */
  constructor(private readonly queueMs: number) {}

  onAcked(forwardMs: number, returnMs: number): void {
    this.minMs = Math.min(this.minMs, forwardMs);
    this.sumMs += forwardMs;
    this.returnMinMs = Math.min(this.returnMinMs, returnMs);
    this.returnSumMs += returnMs;
    this.count += 1;
  }

  /** @param frameBytes records of different sizes take different times, which is not jitter. */
  onRound({ acked, bytesPerMs }: DeliveryRate, { minRttMs }: DelayEstimator, frameBytes: number): void {
    this.rounds += 1;
    if (this.rounds < SPAN_ROUNDS) return;
    const spread = Math.max(0, this.sumMs / this.count - this.minMs - frameBytes / bytesPerMs / 2);
    const returnSpread = this.returnSumMs / this.count - this.returnMinMs;
    const roomMs = minRttMs * MAX_JITTER_SHARE;
    this.isBidirectional = this.received - this.receivedBefore > BIDIRECTIONAL_SHARE * (acked - this.ackedBefore);
    const jitter = this.isBidirectional
      ? Math.min(spread, MAX_BIDIRECTIONAL_JITTER_MS) + Math.min(returnSpread, this.queueMs)
      : Math.min(spread, MAX_JITTER_MS + roomMs) + Math.min(returnSpread, this.queueMs + roomMs);
    this.ms = smoothed(this.ms, jitter, SAMPLE_WEIGHT);
    this.beginSpan(acked);
  }

  beginSpan(acked: number): void {
    this.receivedBefore = this.received;
    this.ackedBefore = acked;
    this.rounds = 0;
    this.minMs = Number.POSITIVE_INFINITY;
    this.sumMs = 0;
    this.returnMinMs = Number.POSITIVE_INFINITY;
    this.returnSumMs = 0;
    this.count = 0;
  }
}
