/**
 * Congestion control of one link: how many bytes may be in flight, and how large a frame may be, so that the path is
 * just full. What waits in kernels and modems beyond that, the scheduler cannot reorder, and every keystroke waits for
 * it. Pure: no timers; every `now` is in ms of one monotonic clock, with fractions. It knows nothing of records,
 * streams or links.
 *
 * Delivery rate and min RTT as in BBR (draft-ietf-ccwg-bbr). Unlike BBR it need not probe for bandwidth blindly: the
 * queue that it sees is mostly its own, so without a queue there is room, and with one there is none.
 * docs/adr/0005-pacing.md has the reasons and the figures.
 *
 * Use: send while `inFlightBytes < window(now)`, records of about `frameBytes()`; small urgent ones may go until one
 * frame beyond that. Ask `mayWait` and call `onSent` for each record, `onReceived` for each of the peer's, `onAcked`
 * for each acknowledgement, `onAppLimited` whenever there is nothing to send although the window has room.
 */
import type { CongestionConfig } from './congestion-config.ts';
import { DelayEstimator } from './delay-estimator.ts';
import { DeliveryRate, MIN_ROUND_MS, RATE_ROUNDS } from './delivery-rate.ts';
import { JitterEstimator } from './jitter-estimator.ts';
import { MinRttProbe } from './min-rtt-probe.ts';
import { PathEstimate } from './path-estimate.ts';
import { Startup } from './startup.ts';

/** When a record went to the link, ms, and whether its acknowledgement may wait. Hand it back with that. */
export interface SentStamp {
  readonly at: number;
  readonly mayWait: boolean;
}

/**
 * So much of the last record goes beyond the window. More keeps small messages waiting, and with all of it a small
 * record in between would hold the last one back; where both ends send bulk, less costs throughput.
 */
const LAST_RECORD_SHARE = 0.8;
const BIDIRECTIONAL_LAST_RECORD_SHARE = 0.95;

/** Frames. Two records may be in flight on any path: else it is idle until the first is acknowledged. */
const MIN_WINDOW_FRAMES = 1.5;

/** Where no link of the session was there before: one full datagram. */
const FIRST_DATAGRAM_BYTES = 1_400;

/**
 * And on any path, bytes: what was seen of it may have been a few small frames. Queries and calls begin with so much at
 * once, and it takes 64 kbit/s for 75 ms.
 */
const LEAST_DATAGRAM_BYTES = 600;

/** What may wait on a short path, ms, beyond its round trip: more would delay the next datagram by as much. */
const DATAGRAM_QUEUE_MS = 30;
/** On long paths, in place of that: the window must be able to grow. */
const DATAGRAM_ROUND_TRIPS = 2;
/** Before the path was full: what is sent doubles with each round trip, some of which is spent otherwise. */
const DATAGRAM_STARTUP_ROUND_TRIPS = 2.5;

/** An acknowledgement may wait while no more is in flight, bytes: so much may have to be kept 10 ms longer. */
const MAY_WAIT_BYTES = 16 * 1024;

/** Of the window: an acknowledgement that waits must not stop what is sent next. */
const MAY_WAIT_SHARE = 1 / 2;

/** By rounds in a row without a queue: little after one, which may be chance, then as in slow start (RFC 5681 §3.1). */
const GROWTH_GAINS = [1, 1.25, 2] as const;

/** Of target queue delay and jitter: a round with less had no queue. */
const NO_QUEUE_SHARE = 1 / 2;

/** Of target queue delay and jitter: a round with more had too long a queue. */
const LONG_QUEUE = 1.5;
/** As `LONG_QUEUE`, and a share of the min RTT beyond that: the queue is far too long, and counts as so many rounds. */
const FAR_TOO_LONG_QUEUE = 2;
const FAR_TOO_LONG_RTT_SHARE = 1 / 4;
const FAR_TOO_LONG_ROUNDS = 3;
/** A path change is suspected after so many rounds in a row with too long a queue. */
const LONG_QUEUE_ROUNDS = 9;

/** Of the delivery rate. A queue keeps the path busy: a round with less shows a path that is longer or slower. */
const BUSY_SHARE = 0.9;

export class CongestionController {
  private readonly rate: DeliveryRate;
  private readonly delay = new DelayEstimator();
  private readonly jitter: JitterEstimator;
  private readonly startup = new Startup();
  private readonly probe: MinRttProbe;
  private readonly path: PathEstimate;
  /** What was sent up to the newest record whose acknowledgement must not wait, bytes; and when that went out. */
  private promptEnd = 0;
  private promptSentAt: number;
  /** Datagrams that go out before anything is known of the path, bytes. */
  firstDatagramBytes = FIRST_DATAGRAM_BYTES;
  private noQueueRounds = 0;
  private roundsSinceGrowth = 0;
  private longQueueRounds = 0;

  constructor(
    private readonly config: CongestionConfig,
    now: number,
    private readonly initialBytes = config.initialBytes,
  ) {
    this.rate = new DeliveryRate(now);
    this.jitter = new JitterEstimator(config.queueMs);
    this.probe = new MinRttProbe(config, this.delay, this.startup, now);
    this.path = new PathEstimate(config, this.rate, this.delay, this.jitter, this.probe);
    this.promptSentAt = now;
  }

  get inFlightBytes(): number {
    return this.rate.inFlightBytes;
  }

  /** Bytes a millisecond; undefined before the first round is over. */
  get deliveryRate(): number | undefined {
    return this.rate.bytesPerMs > 0 ? this.rate.bytesPerMs : undefined;
  }

  /** As in RFC 6298. */
  get smoothedRttMs(): number | undefined {
    return this.delay.smoothedRttMs;
  }

  /** Of the empty path. */
  get minRttMs(): number | undefined {
    return this.delay.smoothedRttMs === undefined ? undefined : this.delay.minRttMs;
  }

  /** In the current round the application had too little to send. */
  get isAppLimited(): boolean {
    return this.rate.isRoundAppLimited;
  }

  // ── how much ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Congestion window: bytes that may be in flight. Send while there are less. */
  window(now: number): number {
    return this.rate.bytesPerMs > 0 && this.probe.isDraining(now) ? this.path.emptyBytes() : this.urgentWindow();
  }

  /** The same for small urgent records: they do not wait while the path is emptied for a probe. */
  urgentWindow(): number {
    const { config, path } = this;
    if (this.rate.bytesPerMs === 0) return this.initialBytes;
    const least = MIN_WINDOW_FRAMES * path.frameBytes();
    return Math.min(config.maxInFlightBytes, Math.max(least, this.gain * path.fullBytes()));
  }

  /**
   * The same for datagrams: what is in flight cannot be dropped any more, so no more is than keeps the path busy.
   * Before the path was ever full, that doubles with each round trip, from one datagram on.
   * @param isBulk they keep the path busy: then they wait while it is emptied for a probe
   */
  datagramWindow(isBulk: boolean, now: number): number {
    const { bytesPerMs } = this.rate;
    if (bytesPerMs === 0) return this.firstDatagramBytes;
    if (isBulk && this.probe.isDraining(now)) return this.path.emptyBytes();
    const { minRttMs } = this.delay;
    const roundTrips = this.startup.isActive ? DATAGRAM_STARTUP_ROUND_TRIPS : DATAGRAM_ROUND_TRIPS;
    // On a short path an acknowledgement takes longer than the way: with less in flight the rate could not grow.
    const busyMs = Math.max(minRttMs + DATAGRAM_QUEUE_MS, roundTrips * minRttMs);
    return Math.min(this.urgentWindow(), Math.max(LEAST_DATAGRAM_BYTES, bytesPerMs * busyMs));
  }

  /** The delivery rate, bytes a millisecond, once the path was full; undefined before. */
  get steadyRate(): number | undefined {
    return this.startup.isActive ? undefined : this.deliveryRate;
  }

  private get gain(): number {
    if (this.startup.isActive) return this.startup.gain(this.path.hasQueue());
    return GROWTH_GAINS[Math.min(this.noQueueRounds, GROWTH_GAINS.length - 1)] ?? 1;
  }

  /**
   * Largest DATA payload for the next frame, bytes: such that the window and most of one record are a whole number of
   * records. Else what is in flight, the window rounded up to whole records, would vary by one record at random, and
   * the queue with it.
   */
  frameBytes(): number {
    const { minFrameBytes, maxFrameBytes, headerBytes } = this.config;
    const target = this.path.frameBytes();
    if (this.rate.bytesPerMs === 0 || target <= minFrameBytes || target >= maxFrameBytes) return target;
    const window = this.urgentWindow();
    const last = this.jitter.isBidirectional ? BIDIRECTIONAL_LAST_RECORD_SHARE : LAST_RECORD_SHARE;
    const count = Math.round(window / (target + headerBytes) + last);
    const bytes = Math.floor(window / (count - last)) - headerBytes;
    return Math.max(minFrameBytes, Math.min(maxFrameBytes, bytes));
  }

  /**
   * Whether the peer may delay the acknowledgement of a record of so many bytes that goes out now. Not while the path
   * is unknown or measured; not when the last record that may not wait is long ago, because only those measure the
   * return delay; and not where what goes out next might have to wait for it, which only the sender knows.
   */
  mayWait(bytes: number, now: number): boolean {
    const { probe, path } = this;
    const isMeasured = this.delay.smoothedRttMs === undefined || probe.isChangeSuspected || probe.isUnderWay;
    const isStale = now - this.promptSentAt >= probe.intervalMs(now);
    if (isMeasured || isStale || this.canProbe(now)) return false;
    return this.inFlightBytes + bytes <= Math.min(MAY_WAIT_BYTES, path.frameBytes(), this.window(now) * MAY_WAIT_SHARE);
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** A record of so many bytes went to the link; the peer was told whether its acknowledgement may wait. */
  onSent(bytes: number, now: number, mayWait = false): SentStamp {
    const { rate } = this;
    if (rate.isIdle && rate.acked >= this.promptEnd) this.beginRound(now, true);
    rate.isIdle = false;
    const isProbe = this.canProbe(now);
    rate.sent += bytes;
    if (isProbe) this.probe.begin(rate);
    if (!mayWait) {
      this.promptEnd = rate.sent;
      this.promptSentAt = now;
    }
    return { at: now, mayWait };
  }

  /**
   * So many more bytes were acknowledged at once; `newest` is the stamp of the last record among them. `receivedAt` is
   * when the peer received that one, ms of any clock that runs steadily. It separates the forward queue, which is ours
   * to keep short, from that of the return path. Without it, each of two ends that send at once takes the other's queue
   * for length of the path.
   */
  onAcked(bytes: number, newest: SentStamp, now: number, receivedAt = now): void {
    this.rate.onAcked(bytes, newest.at, receivedAt, now);
    const forwardMs = receivedAt - newest.at;
    const returnMs = now - receivedAt;
    // The peer may have waited, which is no part of the path: such a delay counts only where it is shorter than the
    // last one.
    this.onDelay(bytes, forwardMs, newest.mayWait ? Math.min(returnMs, this.delay.returnMs) : returnMs, now);
    if (this.probe.isAcked(this.rate.acked)) this.endProbe(bytes, forwardMs, now);
    if (this.rate.isRoundOver(now, this.leastRoundMs(now))) this.endRound(now);
  }

  /** A record of so many bytes came from the peer, to be acknowledged. */
  onReceived(bytes: number): void {
    this.jitter.received += bytes;
  }

  /** There is nothing to send: until the path is full again, delivery rates are lower bounds. */
  onAppLimited(): void {
    this.rate.onAppLimited();
  }

  /** Only datagrams wait, for their own window: the same, but what is sent next belongs to what was sent before. */
  onDatagramLimited(): void {
    this.rate.onAppLimited();
    this.rate.isIdle = false;
  }

  /** A packet was lost, and this link carries bulk alone beside others: it need not be measured as often. */
  onLoss(now: number): void {
    this.probe.onLoss(now);
  }

  /** This is the only link, or quiet streams send. */
  forgetLosses(): void {
    this.probe.forgetLosses();
  }

  /** No quiet stream sends, so a frame may take longer. */
  setLongFrames(isLong: boolean): void {
    this.path.hasLongFrames = isLong;
  }

  get hasLongFrames(): boolean {
    return this.path.hasLongFrames;
  }

  /** What arrives at once behind a lost packet was on its way for a round trip at least: it is no higher rate. */
  private leastRoundMs(now: number): number {
    return this.probe.isLossy(now) ? Math.max(MIN_ROUND_MS, this.delay.minRttMs) : MIN_ROUND_MS;
  }

  private onDelay(bytes: number, forwardMs: number, returnMs: number, now: number): void {
    const { delay, path, startup } = this;
    const isMin = delay.onAcked(bytes, forwardMs, returnMs);
    // What comes first by a shorter path still has the queue of all that the longer one held before it.
    if (isMin && !startup.isActive && delay.probedMinMs - forwardMs > path.changeMs()) this.suspectChange(now);
    delay.addToRound(forwardMs, path.serializationMs(bytes));
    this.jitter.onAcked(forwardMs, returnMs);
    if (!startup.isActive && path.isQueueSevere()) this.suspectChange(now);
  }

  private suspectChange(now: number): void {
    this.probe.suspectChange(this.rate.acked, now);
  }

  // ── the min RTT ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The record that goes out now may measure the min RTT. */
  private canProbe(now: number): boolean {
    if (this.rate.sent === 0 || !this.probe.isDue(now)) return false;
    return this.inFlightBytes < this.path.emptyBytes() || this.probe.isOverdue(now);
  }

  private endProbe(bytes: number, forwardMs: number, now: number): void {
    const { delay, probe } = this;
    const answersSuspicion = probe.finish(now);
    delay.restartReturnMin(answersSuspicion);
    if (answersSuspicion) this.endPathCheck(bytes, forwardMs, now);
    else this.raiseMin(bytes, forwardMs, now);
    delay.probedMinMs = delay.minMs;
  }

  /** A min that is a little higher is accepted as it is; one that is much higher may be a queue. */
  private raiseMin(bytes: number, forwardMs: number, now: number): void {
    const { delay, path } = this;
    const longerMs = forwardMs - path.serializationMs(bytes) - delay.minMs - this.jitter.ms;
    if (longerMs > path.targetQueueMs()) this.suspectChange(now);
    else delay.setMin(delay.minMs + Math.max(0, longerMs));
  }

  /** With the path empty: is it as long as before, so that only its rate has fallen, or longer? */
  private endPathCheck(bytes: number, forwardMs: number, now: number): void {
    const { delay, path, probe } = this;
    this.longQueueRounds = 0;
    this.noQueueRounds = 0;
    if (probe.drainRate !== undefined) this.rate.restart(probe.drainRate);
    const minMs = Math.max(delay.minMs, forwardMs - path.serializationMs(bytes));
    if (minMs - delay.minMs > path.changeMs()) this.startup.restart();
    delay.setMin(minMs);
    delay.smoothedMs = forwardMs;
    this.beginRound(now);
  }

  // ── rounds ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private beginRound(now: number, afterPause = false): void {
    this.rate.beginRound(now, afterPause);
    this.delay.beginRound();
  }

  private endRound(now: number): void {
    const { rate } = this;
    const sample = rate.roundRate(now, this.leastRoundMs(now));
    const isFull = !rate.isRoundAppLimited && !this.probe.isChangeSuspected;
    if (isFull || sample > rate.bytesPerMs) rate.addSample(sample);
    if (isFull) this.onFullRound(sample, now);
    this.beginRound(now);
  }

  private onFullRound(sample: number, now: number): void {
    const { delay, jitter, probe, startup } = this;
    const queueMs = delay.roundMinMs - delay.minMs;
    const allowedMs = this.path.targetQueueMs() + jitter.ms;
    if (startup.isActive) {
      if (startup.onRound(sample, queueMs > allowedMs)) delay.probedMinMs = delay.minMs;
    } else if (probe.probedRounds > 0) {
      probe.probedRounds -= 1;
      jitter.beginSpan(this.rate.acked);
    } else {
      jitter.onRound(this.rate, delay, this.path.frameBytes());
      this.countNoQueue(queueMs, allowedMs);
      this.countLongQueue(sample, delay.roundMinNetMs - delay.minMs, allowedMs, now);
    }
  }

  private countNoQueue(queueMs: number, allowedMs: number): void {
    const limitMs = allowedMs * NO_QUEUE_SHARE;
    this.roundsSinceGrowth += 1;
    // Where jitter hides the queue, the window grows from time to time.
    const isBlind = this.roundsSinceGrowth >= RATE_ROUNDS && this.path.isQueueHidden();
    if (this.delay.roundMeanMs - this.delay.minMs < limitMs) this.noQueueRounds += 1;
    else this.noQueueRounds = queueMs < limitMs || isBlind ? 1 : 0;
    if (this.noQueueRounds > 0) this.roundsSinceGrowth = 0;
  }

  private countLongQueue(sample: number, queueMs: number, allowedMs: number, now: number): void {
    const isIdle = queueMs > allowedMs && sample < BUSY_SHARE * this.rate.bytesPerMs;
    const farMs = FAR_TOO_LONG_QUEUE * allowedMs + this.delay.minRttMs * FAR_TOO_LONG_RTT_SHARE;
    if (queueMs <= LONG_QUEUE * allowedMs && !isIdle) this.longQueueRounds = 0;
    else this.longQueueRounds += isIdle || queueMs > farMs ? FAR_TOO_LONG_ROUNDS : 1;
    if (this.longQueueRounds < LONG_QUEUE_ROUNDS) return;
    this.longQueueRounds = 0;
    this.suspectChange(now);
  }
}
