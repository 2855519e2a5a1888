/**
 * The sender's model of the path beneath one link, fed by acknowledgements: how many bytes may be on their way, and how large a
 * frame may be, so that the path is full and no more than full. What lies in kernels and modems beyond that is out of the
 * scheduler's hands, and every keystroke waits behind it (docs/adr/0005-pacing.md). Pure: no timers, every `now` in ms of one
 * monotonic clock. It knows nothing of records, streams or links.
 *
 * Delivery rate, rounds and lowest round trip as in BBR (draft-cardwell-iccrg-bbr-congestion-control-02 §4.1), clocked by
 * acknowledgements alone: the kernel below paces packets, this only decides how much it is given.
 */

export interface PathConfig {
  /** In flight before anything is known of the path, bytes. */
  readonly initialBytes: number;
  /** Never more than this, bytes: what the session can keep until it is acknowledged. */
  readonly maxInFlightBytes: number;
  readonly minFrameBytes: number;
  readonly maxFrameBytes: number;
  /** A DATA frame takes the path so long, ms, within the two bounds above. */
  readonly frameMs: number;
  /** In flight: so many times rate × lowest round trip, and what arrives within so many ms on top. */
  readonly gain: number;
  readonly queueMs: number;
}

const KIB = 1024;

export const DEFAULT_PATH_CONFIG: PathConfig = {
  initialBytes: 32 * KIB,
  maxInFlightBytes: 8192 * KIB,
  minFrameBytes: 1 * KIB,
  maxFrameBytes: 48 * KIB,
  frameMs: 3,
  gain: 1.02,
  queueMs: 4,
};

/** What was so when a record went out. */
export interface SentStamp {
  readonly at: number;
  /** Bytes that had been acknowledged by then, and when the last of them was. */
  readonly delivered: number;
  readonly deliveredAt: number;
  /** When the record went out whose acknowledgement was the last by then. */
  readonly flightBegan: number;
  /** The sender had too little to fill the path. */
  readonly isLimited: boolean;
}

const STARTUP_GAIN = 2.5;
const STARTUP_GROWTH = 1.25;
const STARTUP_ROUNDS = 3;
/** The best of so many rounds is the rate. */
const RATE_ROUNDS = 8;
/** The lowest round trip is that of the last so many ms, and is measured anew that often by sending less for two round trips. */
const LOWEST_WINDOW_MS = 8_000;
const PROBE_INTERVAL_MS = 4_000;
const PROBE_GAIN = 0.6;
const PROBE_ROUNDS = 2;
/** On loopback a round trip is shorter than a turn of the event loop, and so is a measure of it. */
const MIN_SAMPLE_MS = 1;

export class PathModel {
  private readonly config: PathConfig;
  private sent = 0;
  private delivered = 0;
  private deliveredAt: number;
  private newestSentAt: number;
  private limitedUntil = 0;
  /** The round ends when a record is acknowledged that went out after so much had been delivered. */
  private roundEnd = 0;
  private roundBest = 0;
  private readonly bests: number[] = [];
  private bestRate = 0;
  private smoothed: number | undefined;
  private lowest: { readonly ms: number; readonly at: number }[] = [];
  private startup = true;
  private startupRate = 0;
  private startupRounds = 0;
  private probeRounds = 0;
  private probedAt: number;

  constructor(config: PathConfig, now: number) {
    this.config = config;
    this.deliveredAt = now;
    this.newestSentAt = now;
    this.probedAt = now;
  }

  /** A record of so many bytes went to the link. */
  handleSent(bytes: number, now: number): SentStamp {
    if (this.inFlightBytes === 0) {
      this.deliveredAt = now;
      this.newestSentAt = now;
    }
    const { delivered, deliveredAt, newestSentAt } = this;
    this.sent += bytes;
    return { at: now, delivered, deliveredAt, flightBegan: newestSentAt, isLimited: delivered < this.limitedUntil };
  }

  /** So many bytes more were acknowledged at once; `newest` is the stamp of the last record among them. */
  handleAcked(bytes: number, newest: SentStamp, now: number): void {
    this.delivered += bytes;
    this.deliveredAt = now;
    this.newestSentAt = newest.at;
    this.observeRoundTrip(now - newest.at, now);
    this.observeRate(newest, now);
    if (newest.delivered < this.roundEnd) return;
    this.roundEnd = this.delivered;
    this.endRound(now);
  }

  /** There is nothing to send: what arrives from here on tells only what the path carries at least. */
  handleIdle(_now: number): void {
    this.limitedUntil = this.delivered + this.inFlightBytes + 1;
  }

  /** Sent and not acknowledged. */
  get inFlightBytes(): number {
    return this.sent - this.delivered;
  }

  /** Bytes that may be in flight: send while there are less. */
  allowance(_now: number): number {
    const { config, bestRate } = this;
    if (bestRate === 0) return config.initialBytes;
    const held = bestRate * this.lowestMs;
    if (this.startup)
      return this.bounded(Math.max(config.initialBytes, STARTUP_GAIN * held + config.queueMs * bestRate));
    if (this.probeRounds > 0) return this.bounded(PROBE_GAIN * held);
    return this.bounded(config.gain * held + config.queueMs * bestRate);
  }

  private bounded(bytes: number): number {
    return Math.min(this.config.maxInFlightBytes, Math.max(bytes, 2 * this.frameBytes()));
  }

  /** Largest DATA payload for the next frame, bytes. */
  frameBytes(): number {
    const { minFrameBytes, maxFrameBytes, frameMs } = this.config;
    if (this.bestRate === 0) return 4 * KIB;
    return Math.floor(Math.max(minFrameBytes, Math.min(maxFrameBytes, this.bestRate * frameMs)));
  }

  /** What the path carries, bytes a millisecond; undefined before the first acknowledgement. */
  get rate(): number | undefined {
    return this.bestRate > 0 ? this.bestRate : undefined;
  }

  /** Smoothed as in RFC 6298 §2, ms. */
  get roundTripMs(): number | undefined {
    return this.smoothed;
  }

  private get lowestMs(): number {
    return this.lowest[0]?.ms ?? 0;
  }

  private observeRoundTrip(ms: number, now: number): void {
    this.smoothed = this.smoothed === undefined ? ms : this.smoothed + (ms - this.smoothed) / 8;
    // A window's minimum: what is higher and older than a new sample can never be it again.
    while ((this.lowest.at(-1)?.ms ?? -1) >= ms) this.lowest.pop();
    this.lowest.push({ ms, at: now });
    while (this.lowest.length > 1 && now - (this.lowest[0]?.at ?? now) > LOWEST_WINDOW_MS) this.lowest.shift();
  }

  /** Records may leave and arrive squeezed together: no path is faster than the slower of the two. */
  private observeRate(newest: SentStamp, now: number): void {
    const elapsed = Math.max(now - newest.deliveredAt, newest.at - newest.flightBegan, MIN_SAMPLE_MS);
    const rate = (this.delivered - newest.delivered) / elapsed;
    if (!newest.isLimited || rate > this.bestRate) this.roundBest = Math.max(this.roundBest, rate);
    if (rate > this.bestRate) this.bestRate = rate;
  }

  private endRound(now: number): void {
    if (this.roundBest > 0) {
      this.bests.push(this.roundBest);
      if (this.bests.length > RATE_ROUNDS) this.bests.shift();
      this.bestRate = Math.max(...this.bests);
    }
    this.roundBest = 0;
    if (this.startup) this.judgeStartup(now);
    else if (this.probeRounds > 0) this.probeRounds -= 1;
    else if (now - this.probedAt >= PROBE_INTERVAL_MS) {
      this.probeRounds = PROBE_ROUNDS;
      this.probedAt = now;
    }
  }

  private judgeStartup(now: number): void {
    if (this.delivered < this.limitedUntil) return;
    if (this.bestRate >= STARTUP_GROWTH * this.startupRate) {
      this.startupRate = this.bestRate;
      this.startupRounds = 0;
      return;
    }
    this.startupRounds += 1;
    if (this.startupRounds < STARTUP_ROUNDS) return;
    this.startup = false;
    this.probeRounds = PROBE_ROUNDS;
    this.probedAt = now;
  }
}
