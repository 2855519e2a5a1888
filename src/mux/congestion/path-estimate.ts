/** What follows from the estimates of a path: sizes, delays, bytes that fill it. Formulas; changes nothing. Pure. */
import type { CongestionConfig } from './congestion-config.ts';
import type { DelayEstimator } from './delay-estimator.ts';
import type { DeliveryRate } from './delivery-rate.ts';
import type { JitterEstimator } from './jitter-estimator.ts';
import type { MinRttProbe } from './min-rtt-probe.ts';

/** Frames before a delivery rate is known, bytes. */
const FIRST_FRAME_BYTES = 4 * 1024;

/** Of the BDP: with no more than this in flight, nothing waits in a queue, even if the min RTT is a tenth too high. */
const EMPTY_SHARE = 0.9;

/** Of the min RTT, beyond the target: jitter, which start-up cannot tell from a queue. */
const STARTUP_QUEUE_SHARE = 1 / 8;

/** Jitter of more than so many target queue delays hides whether there is a queue. */
const HIDING_JITTER = 2;

/** Of the min RTT: a forward delay that differs by more, and `queueMs`, is that of another path. */
const CHANGE_SHARE = 1 / 4;

/** So many times target queue delay and jitter, beyond a whole min RTT, are no error of measurement. */
const SEVERE_QUEUE_FACTOR = 4;

export class PathEstimate {
  /** Nobody waits for a frame to end. */
  hasLongFrames = false;

  constructor(
    private readonly config: CongestionConfig,
    private readonly rate: DeliveryRate,
    private readonly delay: DelayEstimator,
    private readonly jitter: JitterEstimator,
    private readonly probe: MinRttProbe,
  ) {}

  /** A frame whose serialization delay is `frameMs`, within the bounds of frames. */
  frameBytes(): number {
    const { minFrameBytes, maxFrameBytes, frameMs, longFrameMs, longFrameBytes } = this.config;
    if (this.rate.bytesPerMs === 0) return Math.min(FIRST_FRAME_BYTES, maxFrameBytes);
    // What measures the empty path must not take long: the rate may be a tenth of what it was.
    if (this.probe.isChangeSuspected && !this.probe.isUnderWay) return minFrameBytes;
    const { bytesPerMs } = this.rate;
    const longBytes = this.hasLongFrames ? Math.min(longFrameBytes, bytesPerMs * longFrameMs) : 0;
    return Math.floor(Math.max(minFrameBytes, longBytes, Math.min(maxFrameBytes, bytesPerMs * frameMs)));
  }

  /** The queue that we keep at the bottleneck. Half a frame is the least: what is in flight varies by that. */
  targetQueueMs(): number {
    const { queueMs, queueShare } = this.config;
    return Math.max(queueMs, queueShare * this.delay.minRttMs, this.frameBytes() / 2 / this.rate.bytesPerMs);
  }

  /** What keeps the path just full: the BDP, jitter and the target queue. */
  fullBytes(): number {
    return this.rate.bytesPerMs * (this.delay.minRttMs + this.jitter.ms + this.targetQueueMs());
  }

  /** While no more is in flight, a record finds the path empty. */
  emptyBytes(): number {
    const frameBytes = this.frameBytes();
    if (this.probe.isChangeSuspected) return frameBytes;
    // Where a record takes long, a gap as long as one is worth avoiding.
    const longer = Math.max(0, this.serializationMs(frameBytes) - this.config.frameMs);
    return Math.max(1, EMPTY_SHARE * this.rate.bytesPerMs * (this.delay.minRttMs + longer) - frameBytes);
  }

  /**
   * The serialization delay of a record beyond that of the one that had the min delay. It is neither queue nor length,
   * though it looks like both where a keystroke measured the path; on a slow path it is more than either.
   */
  serializationMs(bytes: number): number {
    const { bytesPerMs } = this.rate;
    return bytesPerMs > 0 ? Math.max(0, Math.min(bytes, this.frameBytes()) - this.delay.minBytes) / bytesPerMs : 0;
  }

  /** There is a queue: asked in the middle of a round, because start-up fills a path within one. */
  hasQueue(): boolean {
    const { smoothedMs, minMs, minRttMs } = this.delay;
    return smoothedMs - minMs > this.targetQueueMs() + minRttMs * STARTUP_QUEUE_SHARE;
  }

  isQueueHidden(): boolean {
    return this.jitter.ms > HIDING_JITTER * this.targetQueueMs();
  }

  changeMs(): number {
    return this.delay.minRttMs * CHANGE_SHARE + this.config.queueMs;
  }

  /** A queue that no error of measurement explains: the path has become slower or longer. */
  isQueueSevere(): boolean {
    const { smoothedMs, minMs, minRttMs } = this.delay;
    const explained = SEVERE_QUEUE_FACTOR * (this.targetQueueMs() + this.jitter.ms);
    return smoothedMs - minMs > minRttMs + explained + this.serializationMs(this.frameBytes());
  }
}
