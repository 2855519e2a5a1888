/** When the min RTT is measured, by one record on an empty path: at intervals, as BBR's ProbeRTT, and on suspicion. */
import type { CongestionConfig } from './congestion-config.ts';
import type { DelayEstimator } from './delay-estimator.ts';
import { type DeliveryRate, MIN_ROUND_MS } from './delivery-rate.ts';
import type { Startup } from './startup.ts';

/** Smoothed round trips, with the longest queue: the path has so long to empty. */
const DRAIN_ROUND_TRIPS = 3;

/** A pause of the application may measure the path from this share of an interval on. */
const EARLY_SHARE = 1 / 2;

/** The round in which a probe empties the path and the next one show neither queue nor jitter. */
const PROBED_ROUNDS = 2;

/**
 * On one of several links that loses packets, while no quiet stream sends: the interval is so many times as long, and a
 * path change is looked for only so long after the last probe, ms. TCP at work on a loss looks like a path change, and
 * each probe empties the link.
 */
const LOSSY_INTERVALS = 4;
const LOSSY_CHECK_MS = 10_000;
/** A link counts as one that loses packets for so long after the last sign of it, ms. */
const LOSSY_MS = 10_000;

/** Of the BDP: less than that takes too little time to arrive to tell a rate. */
const MIN_DRAIN_SHARE = 1 / 2;

export class MinRttProbe {
  private endedAt: number;
  /** The record that measures is acknowledged when so much is, bytes; undefined while there is none. */
  private end: number | undefined;
  /** A path change is suspected: all that is in flight must arrive before the path is measured. */
  private suspectedAt: number | undefined;
  private suspectedAcked = 0;
  /** Bytes a ms at which the path emptied after that; undefined where too little was in flight to tell. */
  drainRate: number | undefined;
  /** Rounds, the current one included, that a probe affects. */
  probedRounds = 0;
  /** Whole ms of the clock. */
  private lossyUntil = 0;

  constructor(
    private readonly config: CongestionConfig,
    private readonly delay: DelayEstimator,
    private readonly startup: Startup,
    now: number,
  ) {
    this.endedAt = now;
  }

  get isUnderWay(): boolean {
    return this.end !== undefined;
  }

  get isChangeSuspected(): boolean {
    return this.suspectedAt !== undefined;
  }

  intervalMs(now: number): number {
    const ms = Math.max(this.config.probeIntervalMs, this.config.probeIntervalRoundTrips * this.delay.minRttMs);
    return this.isLossy(now) ? LOSSY_INTERVALS * ms : ms;
  }

  /** A packet was lost, and this link carries bulk alone beside others. */
  onLoss(now: number): void {
    this.lossyUntil = Math.floor(now) + LOSSY_MS;
  }

  /** This is the only link, or quiet streams send. */
  forgetLosses(): void {
    this.lossyUntil = 0;
  }

  isLossy(now: number): boolean {
    return now < this.lossyUntil;
  }

  private drainFrom(now: number): number {
    if (this.suspectedAt !== undefined) return this.suspectedAt;
    return this.startup.isActive ? Number.POSITIVE_INFINITY : this.endedAt + this.intervalMs(now);
  }

  /** It ends after some round trips: quiet streams need not wait, and could keep the path full and bulk waiting. */
  isDraining(now: number): boolean {
    const since = now - this.drainFrom(now);
    const limit = DRAIN_ROUND_TRIPS * ((this.delay.smoothedRttMs ?? 0) + MIN_ROUND_MS);
    return !this.isUnderWay && since >= 0 && since < limit;
  }

  /** Draining took too long: the next record measures what is there. */
  isOverdue(now: number): boolean {
    return now >= this.drainFrom(now) && !this.isDraining(now);
  }

  /** A record that goes out to an empty path may measure it. */
  isDue(now: number): boolean {
    return !this.isUnderWay && (this.isChangeSuspected || now - this.endedAt >= this.intervalMs(now) * EARLY_SHARE);
  }

  begin(rate: DeliveryRate): void {
    if (this.suspectedAt !== undefined) this.drainRate = this.measureDrain(rate, this.suspectedAt);
    this.end = rate.sent;
  }

  private measureDrain({ acked, ackedAt, bytesPerMs }: DeliveryRate, since: number): number | undefined {
    const drained = acked - this.suspectedAcked;
    const elapsed = ackedAt - since;
    if (elapsed <= 0 || drained < bytesPerMs * this.delay.minRttMs * MIN_DRAIN_SHARE) return undefined;
    return Math.min(bytesPerMs, drained / elapsed);
  }

  isAcked(acked: number): boolean {
    return this.end !== undefined && acked >= this.end;
  }

  /** True: it answers whether the path has changed. */
  finish(now: number): boolean {
    const answersSuspicion = this.isChangeSuspected;
    this.end = undefined;
    this.suspectedAt = undefined;
    this.endedAt = now;
    this.probedRounds = PROBED_ROUNDS;
    return answersSuspicion;
  }

  suspectChange(acked: number, now: number): void {
    if (this.isChangeSuspected || (this.isLossy(now) && now < this.endedAt + LOSSY_CHECK_MS)) return;
    // A record that is on its way has all of the old queue before it: it does not measure the empty path.
    this.end = undefined;
    this.suspectedAt = now;
    this.suspectedAcked = acked;
  }
}
