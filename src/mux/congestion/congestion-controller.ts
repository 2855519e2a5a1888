/**
 * The sender's model of the path beneath one link, fed by acknowledgements: how many bytes may be on their way, and how
 * large a frame may be, so that the path is full and nothing more than full. What lies in kernels and modems beyond
 * that is out of the scheduler's hands, and every keystroke waits behind it. Pure: no timers, every `now` in ms of one
 * monotonic clock, fractions included. It knows nothing of records, streams or links.
 *
 * Delivery rate and lowest round trip as in BBR (draft-ietf-ccwg-bbr; rounds, application-limited samples and the two
 * ends of a sample after draft-cheng-iccrg-delivery-rate-estimation). Unlike BBR it need not probe for more blindly:
 * the queue that it sees is mostly its own, so where there is none there is room, and where there is one there is none.
 * docs/adr/0005-pacing.md has the reasons and the figures.
 *
 * Use: send while `inFlightBytes < allowance(now)`, records of about `frameBytes()`; what is urgent and small may go
 * until one frame beyond that. Ask `mayWait` and call `handleSent` for each record, `handleReceived` for each of the
 * peer's, `handleAcked` for each acknowledgement, `handleIdle` whenever there is nothing to send although the path
 * would take it. All is driven by acknowledgements: no timer is needed.
 */
import { FRAME_HEADER_BYTES } from '../../protocol/frames.ts';

export interface CongestionConfig {
  /** In flight before anything is known of the path, bytes. */
  readonly initialBytes: number;
  /** Never more in flight than this, bytes: what the session can replay. */
  readonly maxInFlightBytes: number;
  readonly minFrameBytes: number;
  /** Also the largest DATA frame of the multiplexer. */
  readonly maxFrameBytes: number;
  /** What a record of one full frame has beyond its DATA payload, bytes. */
  readonly headerBytes: number;
  /** A frame takes the path this long, ms, within the two bounds above: what one stream can keep the next waiting. */
  readonly frameMs: number;
  /**
   * Queue that keeps the path busy between two acknowledgements, ms, at least; and as a share of the lowest round trip.
   */
  readonly queueMs: number;
  readonly queueShare: number;
  /** Between two measurements of the lowest round trip, ms, at least; and in lowest round trips. */
  readonly probeIntervalMs: number;
  readonly probeIntervalRoundTrips: number;
}

const KIB = 1024;

export const DEFAULT_CONGESTION_CONFIG: CongestionConfig = {
  initialBytes: 16 * KIB,
  maxInFlightBytes: 8192 * KIB,
  minFrameBytes: 1400,
  maxFrameBytes: 48 * KIB,
  headerBytes: FRAME_HEADER_BYTES,
  frameMs: 4,
  queueMs: 3,
  queueShare: 0.05,
  probeIntervalMs: 4000,
  probeIntervalRoundTrips: 32,
};

/**
 * When a record went to the link, ms, and whether its acknowledgement may wait. Hand it back when the record is
 * acknowledged.
 */
export interface SentStamp {
  readonly at: number;
  readonly mayWait: boolean;
}

/** Frames before a rate is known, bytes. */
const FIRST_FRAME_BYTES = 4 * KIB;

/**
 * So much of the last record goes beyond what may be in flight. More keeps small messages waiting, and with all of it a
 * little record in between would keep the last one back; where both ends send bulk, less costs throughput.
 */
const LAST_RECORD_SHARE = 0.8;
const CROWDED_LAST_RECORD_SHARE = 0.95;

/**
 * An acknowledgement may wait only while no more than this is in flight, bytes: so much may have to be kept 10 ms
 * longer.
 */
const MAY_WAIT_BYTES = 16 * KIB;

/** The best of so many rounds is the rate. */
const RATE_ROUNDS = 8;

/** Rounds whose spread is the noise of the path. */
const NOISE_ROUNDS = 8;

/** A round lasts at least this long, ms: on loopback a round trip is shorter than a turn of the event loop. */
const MIN_ROUND_MS = 4;

/** In round trips as they are: so long the path is given to empty itself. */
const DRAIN_PATIENCE = 3;

/** Start-up sends this much more than it has seen arrive, so that the rate more than doubles each round. */
const STARTUP_GAIN = 2.5;

/**
 * It is over when so many rounds, or one with a queue, have not brought this much more (draft-ietf-ccwg-bbr, full
 * pipe).
 */
const STARTUP_GROWTH = 1.25;
const STARTUP_PATIENCE = 3;

/**
 * Of rate × lowest round trip: with no more than this in flight, nothing of ours waits in a queue. If the lowest was
 * taken too high by more than this allows for, each measurement brings it down by a tenth.
 */
const PROBE_SHARE = 0.9;

/**
 * By rounds in a row without a queue: a little more after one, which may be chance, then as in slow start (RFC 5681
 * §3.1).
 */
const GROWTH_GAINS = [1, 1.25, 2] as const;

/**
 * Rounds in a row with more of a queue than is meant, those with far too much counted three times, until the model is
 * questioned.
 */
const TROUBLE_LIMIT = 9;

/**
 * Where both ends send bulk, each one's queue delays the other's acknowledgements, and the spread that this makes would
 * count as noise, make room for more queue, and so more spread. So much of it is believed then, ms; and the peer does
 * so from such a share of ours on.
 */
const CROWDED_NOISE_MS = 8;
const CROWDED_SHARE = 1 / 16;

/**
 * A queue keeps the path busy: a round that brings less than this of the rate shows none, but a path that is longer or
 * slower.
 */
const BUSY_SHARE = 0.9;

export class CongestionController {
  private readonly config: CongestionConfig;
  private sent = 0;
  private delivered = 0;
  /** Sent with the newest record whose acknowledgement must not wait. */
  private awaited = 0;
  /** When that went out. */
  private awaitedAt: number;
  /** Of the peer's records. */
  private received = 0;

  // The round under way.
  /** It ends when so much is delivered; undefined until the first acknowledgement of a burst after a pause. */
  private roundEnd: number | undefined;
  private roundBegan: number;
  private roundDelivered = 0;
  /** When the newest record went out that was acknowledged as the round began. */
  private roundSentAt: number;
  private newestSentAt: number;
  private ackedAt: number;
  /** When the peer received that record, and the one before the round. */
  private receivedAt: number;
  private roundReceivedAt: number | undefined;
  private roundLowest = Number.POSITIVE_INFINITY;
  /** The same as if all records were as large as the one that the lowest way there was seen of. */
  private roundLeast = Number.POSITIVE_INFINITY;
  private roundSum = 0;
  private roundCount = 0;
  /** The sender had too little to fill it. */
  private roundLimited = false;
  /** Rounds, this one included, in which a measurement emptied the path: they show no queue and no noise. */
  private probedRounds = 0;
  /** Rounds are limited until so much is delivered. */
  private limitedUntil = 0;
  private idle = true;

  // What is known of the path.
  private readonly samples = new Array<number>(RATE_ROUNDS).fill(0);
  private sampleCount = 0;
  private bestRate = 0;
  private smoothed: number | undefined;
  /** Way there, of the empty path, ms, in the peer's clock if it says when it received; else the whole round trip. */
  private lowest = Number.POSITIVE_INFINITY;
  /** Of what was acknowledged then: the record that took so long had no more. */
  private lowestBytes = 0;
  /** The lowest way there as it was known after the last measurement, or when start-up was over. */
  private measured = Number.NEGATIVE_INFINITY;
  private smoothedThere = 0;
  /**
   * Way back, such that there and back are a round trip: the lowest since the last measurement, and in the time between
   * the last two. 0 if the peer does not say when it received. Not what it is now: that is the other end's queue, and
   * two ends that each make room for the other's queue drive both up without bound.
   */
  private backLowest = Number.POSITIVE_INFINITY;
  private backBefore = Number.POSITIVE_INFINITY;
  private backLatest = 0;
  private noiseMs = 0;
  /** The peer sends bulk, too. */
  private isCrowded = false;

  // Several rounds, of which the spread is measured: on loopback a round may have one acknowledgement.
  private spanRounds = 0;
  private spanLowest = Number.POSITIVE_INFINITY;
  private spanSum = 0;
  private spanBackLowest = Number.POSITIVE_INFINITY;
  private spanBackSum = 0;
  private spanCount = 0;
  private spanReceived = 0;
  private spanDelivered = 0;

  // Control.
  private startup = true;
  private startupRate = 0;
  private startupRounds = 0;
  private quietRounds = 0;
  private roundsSinceGrowth = 0;
  private trouble = 0;
  /** The lowest round trip is questioned: all that is in flight must arrive before it is measured. */
  private questioned = false;
  private questionedAt = 0;
  /** What was delivered then, and the rate at which the rest of what was in flight arrived. */
  private drainStart = 0;
  private drainRate: number | undefined;
  private probedAt: number;
  /** The record that measures the lowest round trip is acknowledged when so much is delivered. */
  private probeEnd: number | undefined;

  constructor(config: CongestionConfig, now: number) {
    this.config = config;
    this.roundBegan = now;
    this.roundSentAt = now;
    this.newestSentAt = now;
    this.ackedAt = now;
    this.receivedAt = now;
    this.probedAt = now;
    this.awaitedAt = now;
  }

  /**
   * Whether the peer may take its time to acknowledge a record of so many bytes that goes out now. Not while the path
   * is unknown or measured, not when the last one that may not wait is long ago, for only those tell the way back as it
   * is now, and never such that what goes out next could have to wait for it: only the sender knows that.
   */
  mayWait(bytes: number, now: number): boolean {
    const isMeasured = this.smoothed === undefined || this.questioned || this.probeEnd !== undefined;
    const isStale = now - this.awaitedAt >= this.probeInterval();
    if (isMeasured || isStale || this.canMeasure(now)) return false;
    return this.inFlightBytes + bytes <= Math.min(MAY_WAIT_BYTES, this.meantFrameBytes(), this.allowance(now) / 2);
  }

  /** A record of so many bytes went to the link; the peer was told whether its acknowledgement may wait. */
  handleSent(bytes: number, now: number, mayWait = false): SentStamp {
    if (this.idle && this.delivered >= this.awaited) this.beginRound(now, undefined, false);
    this.idle = false;
    const measures = this.canMeasure(now);
    this.sent += bytes;
    if (measures && this.questioned) this.drainRate = this.measureDrain();
    if (measures) this.probeEnd = this.sent;
    if (!mayWait) {
      this.awaited = this.sent;
      this.awaitedAt = now;
    }
    return { at: now, mayWait };
  }

  /**
   * So many bytes more were acknowledged at once; `newest` is the stamp of the last record among them. `receivedAt` is
   * when the peer received that one, ms of any clock that runs steadily: it tells a queue on the way there, which is
   * ours to keep short, from one on the way back. Without it, two ends that send at once take each other's queue for
   * length of the path.
   */
  handleAcked(bytes: number, newest: SentStamp, now: number, receivedAt = now): void {
    this.delivered += bytes;
    this.newestSentAt = newest.at;
    this.ackedAt = now;
    this.receivedAt = receivedAt;
    const there = receivedAt - newest.at;
    const back = now - receivedAt;
    // The peer may have waited, which is no part of the path: such a way back counts only where it is shorter than the
    // last.
    this.observe(bytes, there, newest.mayWait ? Math.min(back, this.backLatest) : back, now);
    if (this.probeEnd !== undefined && this.delivered >= this.probeEnd) this.endProbe(bytes, there, now);
    this.roundEnd ??= this.sent;
    if (this.delivered >= this.roundEnd && now - this.roundBegan >= MIN_ROUND_MS) this.endRound(now);
  }

  /** A record of so many bytes came from the peer, to be acknowledged. */
  handleReceived(bytes: number): void {
    this.received += bytes;
  }

  /** There is nothing to send: until the path is filled again, what arrives tells only what it carries at least. */
  handleIdle(_now: number): void {
    this.idle = true;
    this.roundLimited = true;
    this.limitedUntil = this.sent;
  }

  /** Sent and not acknowledged. */
  get inFlightBytes(): number {
    return this.sent - this.delivered;
  }

  /** Bytes that may be in flight: send while there are less. */
  allowance(now: number): number {
    return this.bestRate > 0 && this.isDraining(now) ? this.probeBytes() : this.urgentAllowance();
  }

  /** The same for what is little and waited for: it does not wait while the path is emptied for a measurement. */
  urgentAllowance(): number {
    const { config } = this;
    if (this.bestRate === 0) return config.initialBytes;
    return Math.min(config.maxInFlightBytes, Math.max(1.5 * this.meantFrameBytes(), this.gain * this.fullBytes()));
  }

  /**
   * Largest DATA payload for the next frame, bytes: such that the allowance and most of one record are a whole number
   * of records. Else what is in flight, the allowance rounded up to whole records, would by chance have up to one more
   * or less of the queue that is meant.
   */
  frameBytes(): number {
    const { minFrameBytes, maxFrameBytes, headerBytes } = this.config;
    const meant = this.meantFrameBytes();
    if (this.bestRate === 0 || meant <= minFrameBytes || meant >= maxFrameBytes) return meant;
    const allowance = this.urgentAllowance();
    const last = this.isCrowded ? CROWDED_LAST_RECORD_SHARE : LAST_RECORD_SHARE;
    const count = Math.round(allowance / (meant + headerBytes) + last);
    const bytes = Math.floor(allowance / (count - last)) - headerBytes;
    return Math.max(minFrameBytes, Math.min(maxFrameBytes, bytes));
  }

  /** What the path carries, bytes a millisecond; undefined before the first round is over. */
  get rate(): number | undefined {
    return this.bestRate > 0 ? this.bestRate : undefined;
  }

  /** Smoothed as in RFC 6298, ms. */
  get roundTripMs(): number | undefined {
    return this.smoothed;
  }

  /** Of the empty path, ms. */
  get lowestRoundTripMs(): number | undefined {
    return this.smoothed === undefined ? undefined : this.lowestRoundTrip();
  }

  /** There without a queue of ours, and back at its quickest. */
  private lowestRoundTrip(): number {
    return Math.max(0, this.lowest + Math.min(this.backLowest, this.backBefore));
  }

  // ── how much ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A frame that takes the path `frameMs`, within the bounds of frames, bytes. */
  private meantFrameBytes(): number {
    const { minFrameBytes, maxFrameBytes, frameMs } = this.config;
    if (this.bestRate === 0) return Math.min(FIRST_FRAME_BYTES, maxFrameBytes);
    // What measures the empty path must not take long itself: the rate may be a tenth of what it was.
    if (this.questioned && this.probeEnd === undefined) return minFrameBytes;
    return Math.floor(Math.max(minFrameBytes, Math.min(maxFrameBytes, this.bestRate * frameMs)));
  }

  private get gain(): number {
    if (this.startup) return this.isQueued ? STARTUP_GROWTH : STARTUP_GAIN;
    return GROWTH_GAINS[Math.min(this.quietRounds, GROWTH_GAINS.length - 1)] ?? 1;
  }

  /** Of late, there was a queue: asked in the middle of a round, because start-up fills a path within one. */
  private get isQueued(): boolean {
    return this.smoothedThere - this.lowest > this.queueBudget() + this.lowestRoundTrip() / 8;
  }

  /** Noise hides whether there is a queue: try for more from time to time. */
  private get isBlind(): boolean {
    return this.noiseMs > 2 * this.queueBudget() && this.roundsSinceGrowth >= RATE_ROUNDS;
  }

  /** What keeps the path just full. */
  private fullBytes(): number {
    return this.bestRate * (this.lowestRoundTrip() + this.noiseMs + this.queueBudget());
  }

  /** The queue that we let stand, ms. */
  private queueBudget(): number {
    const { queueMs, queueShare } = this.config;
    return Math.max(queueMs, queueShare * this.lowestRoundTrip(), this.meantFrameBytes() / 2 / this.bestRate);
  }

  // ── round trips ────────────────────────────────────────────────────────────────────────────────────────────────────

  private observe(bytes: number, there: number, back: number, now: number): void {
    const weight = this.smoothed === undefined ? 1 : 1 / 8;
    this.smoothed = mix(this.smoothed ?? 0, Math.max(0, there + back), weight);
    this.smoothedThere = mix(this.smoothedThere, there, weight);
    this.backLatest = back;
    this.backLowest = Math.min(this.backLowest, back);
    if (there < this.lowest) this.lower(bytes, there, now);
    this.roundLowest = Math.min(this.roundLowest, there);
    this.roundLeast = Math.min(this.roundLeast, there - this.sizeMs(bytes));
    this.roundSum += there;
    this.roundCount += 1;
    this.spanLowest = Math.min(this.spanLowest, there);
    this.spanSum += there;
    this.spanBackLowest = Math.min(this.spanBackLowest, back);
    this.spanBackSum += back;
    this.spanCount += 1;
    if (!this.startup && this.smoothedThere - this.lowest > this.severeQueue()) this.question(now);
  }

  private lower(bytes: number, there: number, now: number): void {
    this.lowest = there;
    this.lowestBytes = bytes;
    // What comes first by a shorter path has still the queue of all that the longer one held before it.
    if (!this.startup && this.measured - there > this.changeMs()) this.question(now);
  }

  /** A way there that differs by more than this is that of another path, ms. */
  private changeMs(): number {
    return this.lowestRoundTrip() / 4 + this.config.queueMs;
  }

  /** A queue that no error of measurement explains, ms: the path has become slower or longer. */
  private severeQueue(): number {
    return this.lowestRoundTrip() + 4 * (this.queueBudget() + this.noiseMs) + this.sizeMs(this.meantFrameBytes());
  }

  /**
   * What a record takes longer than the one that the lowest way there was seen of, ms, because it is larger. That is
   * neither queue nor length, though it looks like both where a keystroke measured the path; on a slow path it is more
   * than either.
   */
  private sizeMs(bytes: number): number {
    return this.bestRate > 0
      ? Math.max(0, Math.min(bytes, this.meantFrameBytes()) - this.lowestBytes) / this.bestRate
      : 0;
  }

  // ── measuring the empty path ───────────────────────────────────────────────────────────────────────────────────────

  private probeInterval(): number {
    return Math.max(this.config.probeIntervalMs, this.config.probeIntervalRoundTrips * this.lowestRoundTrip());
  }

  /** From when on the path is to be emptied for a measurement. */
  private get drainFrom(): number {
    if (this.questioned) return this.questionedAt;
    return this.startup ? Number.POSITIVE_INFINITY : this.probedAt + this.probeInterval();
  }

  /** Given up after some round trips: quiet streams, which need not wait, could keep the path full and bulk waiting. */
  private isDraining(now: number): boolean {
    const since = now - this.drainFrom;
    return this.probeEnd === undefined && since >= 0 && since < DRAIN_PATIENCE * ((this.smoothed ?? 0) + MIN_ROUND_MS);
  }

  /**
   * May the record that goes out now measure the lowest round trip? A path that is empty by itself saves us emptying
   * it.
   */
  private canMeasure(now: number): boolean {
    if (this.sent === 0 || this.probeEnd !== undefined) return false;
    const isDue = this.questioned || now - this.probedAt >= this.probeInterval() / 2;
    return isDue && (this.inFlightBytes < this.probeBytes() || (now >= this.drainFrom && !this.isDraining(now)));
  }

  private probeBytes(): number {
    if (this.questioned) return this.meantFrameBytes();
    // Where a record takes long, a gap as long as one is worth avoiding.
    const longer = Math.max(0, this.sizeMs(this.meantFrameBytes()) - this.config.frameMs);
    return Math.max(1, PROBE_SHARE * this.bestRate * (this.lowestRoundTrip() + longer) - this.meantFrameBytes());
  }

  private endProbe(bytes: number, there: number, now: number): void {
    this.probeEnd = undefined;
    this.probedRounds = 2;
    this.probedAt = now;
    this.backBefore = this.questioned ? this.backLatest : this.backLowest;
    this.backLowest = this.backLatest;
    if (this.questioned) this.answerQuestion(bytes, there, now);
    else this.believe(bytes, there, now);
    this.measured = this.lowest;
  }

  /** Longer by little is believed as it is seen; longer by more may be a queue. */
  private believe(bytes: number, there: number, now: number): void {
    const longerMs = there - this.sizeMs(bytes) - this.lowest - this.noiseMs;
    if (longerMs > this.queueBudget()) this.question(now);
    else this.lowest += Math.max(0, longerMs);
  }

  private question(now: number): void {
    if (this.questioned) return;
    this.questioned = true;
    // A record that is on its way to measure has all of what is questioned before it.
    this.probeEnd = undefined;
    this.questionedAt = now;
    this.drainStart = this.delivered;
  }

  /** At what rate did the path empty itself? Undefined if there was too little in it to tell. */
  private measureDrain(): number | undefined {
    const drained = this.delivered - this.drainStart;
    const elapsed = this.ackedAt - this.questionedAt;
    if (elapsed <= 0 || drained < (this.bestRate * this.lowestRoundTrip()) / 2) return undefined;
    return Math.min(this.bestRate, drained / elapsed);
  }

  /** With the path empty: is it the same, so that only its rate has fallen, or is it a longer one? */
  private answerQuestion(bytes: number, there: number, now: number): void {
    this.questioned = false;
    this.trouble = 0;
    if (this.drainRate !== undefined) this.replaceSamples(this.drainRate);
    const lowest = Math.max(this.lowest, there - this.sizeMs(bytes));
    const isLonger = lowest - this.lowest > this.changeMs();
    this.quietRounds = 0;
    if (isLonger) this.beginStartup();
    this.lowest = lowest;
    this.smoothedThere = there;
    this.beginRound(now, this.sent, this.delivered < this.limitedUntil);
  }

  private beginStartup(): void {
    this.startup = true;
    this.startupRate = 0;
    this.startupRounds = 0;
  }

  // ── rounds ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private beginRound(now: number, end: number | undefined, limited: boolean): void {
    this.roundEnd = end;
    this.roundBegan = now;
    this.roundDelivered = this.delivered;
    this.roundSentAt = end === undefined ? now : this.newestSentAt;
    this.roundReceivedAt = end === undefined ? undefined : this.receivedAt;
    this.roundSum = 0;
    this.roundCount = 0;
    this.roundLowest = Number.POSITIVE_INFINITY;
    this.roundLeast = Number.POSITIVE_INFINITY;
    this.roundLimited = limited;
  }

  private endRound(now: number): void {
    // Records may leave, arrive and be acknowledged squeezed together: no path is faster than the slowest of these.
    const arrived = this.roundReceivedAt === undefined ? now - this.roundBegan : this.receivedAt - this.roundReceivedAt;
    const elapsed = Math.max(arrived, this.newestSentAt - this.roundSentAt, MIN_ROUND_MS);
    const sample = (this.delivered - this.roundDelivered) / elapsed;
    const full = !this.roundLimited && !this.questioned;
    if (full || sample > this.bestRate) this.addSample(sample);
    if (full) this.judgeRound(sample, now);
    this.beginRound(now, this.sent, this.delivered < this.limitedUntil);
  }

  private addSample(sample: number): void {
    this.samples[this.sampleCount % RATE_ROUNDS] = sample;
    this.sampleCount += 1;
    this.bestRate = Math.max(...this.samples);
  }

  private replaceSamples(rate: number): void {
    this.samples.fill(0);
    this.addSample(rate);
  }

  private judgeRound(sample: number, now: number): void {
    const queue = this.roundLowest - this.lowest;
    const budget = this.queueBudget() + this.noiseMs;
    if (this.startup) return this.judgeStartup(sample, queue > budget);
    if (this.probedRounds > 0) {
      this.probedRounds -= 1;
      return this.beginSpan();
    }
    this.observeNoise();
    const mean = this.roundSum / this.roundCount - this.lowest;
    this.roundsSinceGrowth += 1;
    if (mean < budget / 2) this.quietRounds += 1;
    else this.quietRounds = queue < budget / 2 || this.isBlind ? 1 : 0;
    if (this.quietRounds > 0) this.roundsSinceGrowth = 0;
    this.observeTrouble(sample, this.roundLeast - this.lowest, budget, now);
  }

  private observeTrouble(sample: number, queue: number, budget: number, now: number): void {
    const isIdle = queue > budget && sample < BUSY_SHARE * this.bestRate;
    if (queue <= 1.5 * budget && !isIdle) this.trouble = 0;
    else this.trouble += isIdle || queue > 2 * budget + this.lowestRoundTrip() / 4 ? 3 : 1;
    if (this.trouble >= TROUBLE_LIMIT) this.question(now);
  }

  private judgeStartup(sample: number, queued: boolean): void {
    if (sample >= STARTUP_GROWTH * this.startupRate) {
      this.startupRate = sample;
      this.startupRounds = 0;
      return;
    }
    this.startupRounds += queued ? STARTUP_PATIENCE : 1;
    if (this.startupRounds < STARTUP_PATIENCE) return;
    this.startup = false;
    this.measured = this.lowest;
  }

  /** What varies within a few rounds does so for reasons of the path: our own queue is about the same throughout. */
  private observeNoise(): void {
    this.spanRounds += 1;
    if (this.spanRounds < NOISE_ROUNDS) return;
    // Records of different sizes take different times, which is no noise.
    const sizes = this.meantFrameBytes() / this.bestRate / 2;
    const spread = Math.max(0, this.spanSum / this.spanCount - this.spanLowest - sizes);
    const spreadBack = this.spanBackSum / this.spanCount - this.spanBackLowest;
    const { queueMs } = this.config;
    const lowest = this.lowestRoundTrip();
    this.isCrowded = this.received - this.spanReceived > CROWDED_SHARE * (this.delivered - this.spanDelivered);
    const noise = this.isCrowded
      ? Math.min(spread, CROWDED_NOISE_MS) + Math.min(spreadBack, queueMs)
      : Math.min(spread, 10 + lowest / 2) + Math.min(spreadBack, queueMs + lowest / 2);
    this.noiseMs = mix(this.noiseMs, noise, 1 / 4);
    this.beginSpan();
  }

  private beginSpan(): void {
    this.spanReceived = this.received;
    this.spanDelivered = this.delivered;
    this.spanRounds = 0;
    this.spanLowest = Number.POSITIVE_INFINITY;
    this.spanSum = 0;
    this.spanBackLowest = Number.POSITIVE_INFINITY;
    this.spanBackSum = 0;
    this.spanCount = 0;
  }
}

function mix(old: number, latest: number, weight: number): number {
  return old + (latest - old) * weight;
}
