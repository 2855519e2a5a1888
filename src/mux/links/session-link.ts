/**
 * One link of a session: what is in flight on it, what came by it, its congestion control and round trip
 * (docs/protocol.md §10). It knows nothing of frames and of other links. Pure.
 */
import { type Acknowledgement, RECEIPT_CLOCK_US } from '../../protocol/record-header.ts';
import { CongestionController, type SentStamp } from '../congestion/congestion-controller.ts';
import { Acknowledgements } from './acknowledgements.ts';
import type { KeptRecords, RecordPart } from './kept-records.ts';
import type { ResumeConfig } from './resume-config.ts';

/** Before the first round trip is known, ms. */
const UNKNOWN_ROUND_TRIP_MS = 100;

/**
 * A record is late when it takes so many round trips, and so many ms beyond one: a lost segment was sent again by then,
 * or TCP waits for its timer.
 */
const LATE_ROUND_TRIPS = 2.5;
const LATE_MS = 60;
/**
 * And so many ms more where packets were lost before: TCP's own timer (RFC 6298, 200 ms on Linux) repairs what it can.
 * What others send instead arrives twice, and most of it was in order.
 */
const LOSSY_LATE_MS = 200;
/** The round trip counts up to so many times that of the empty path. */
const MOST_USUAL_ROUND_TRIPS = 2;

/**
 * A hole: nothing arrived for this share of the round trip, and for so many ms, and then so many records at once, which
 * are this share of all that was in flight.
 */
const HOLE_ROUND_TRIPS = 0.6;
const HOLE_MS = 25;
/** On shorter paths, ms, TCP repairs losses within a pause of an event loop. */
const HOLE_LEAST_RTT_MS = 5;
const HOLE_RECORDS = 3;
/** The same where frames are long (congestion-config.ts). */
const HOLE_LONG_RECORDS = 2;
const HOLE_SHARE = 1 / 4;

/** Of what a link may carry: with more the next one is opened, which takes some round trips. */
const FRESH_SHARE = 0.5;

/** What a record has beyond its frames, about, bytes: headers and tag. */
const RECORD_BYTES = 40;

/** Removed entries at the front of the list before it is cut. */
const COMPACT_AT = 256;

interface InFlight {
  /** Undefined: datagrams, which are not sent again. */
  readonly part: RecordPart | undefined;
  /** bytes */
  readonly length: number;
  readonly stamp: SentStamp;
}

/** The network stops connections that carry more, bytes: so no more is to be sent on a link, here and by the peer. */
export interface ByteLimits {
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export const UNLIMITED: ByteLimits = { sentBytes: Number.POSITIVE_INFINITY, receivedBytes: Number.POSITIVE_INFINITY };

/** How a link begins: the positions after which it goes on, both ways. */
export interface LinkPositions {
  readonly sent: number;
  readonly received: number;
  /** Of the last record before `received`; undefined where the link joined. */
  readonly lastNumber: number | undefined;
}

export class SessionLink {
  readonly congestion: CongestionController;
  readonly acks: Acknowledgements;
  /** Of the newest record that was sent on it: the next number needs no placement. Undefined on a link that joined. */
  lastSent: number | undefined;
  /** The same, of the newest record that was received. */
  lastReceived: number | undefined;
  /** Its queue has enough. Set by the owner. */
  isFull = false;
  /** The peer has acknowledged something that went out on it: it carries something both ways. */
  isProven = false;
  /** The session wants to be without it; the peer has been told, and wants it, too. */
  isUnwanted = false;
  private leavingSince: number | undefined;
  isPeerLeaving = false;
  private stalled = false;
  private isForBulk = false;
  /** How often it was late so far; and what was acknowledged on it, bytes. */
  lateTimes = 0;
  ackedBytes = 0;
  /** Of datagrams, bytes: no other link is of use for them. */
  datagramBytesInFlight = 0;
  /** Signs of lost packets so far (link-demand.ts). */
  holes = 0;
  private newestReceivedMs = Number.NaN;
  /** Whole ms of the clock: fractions cost memory. */
  heardAt: number;
  sentAt: number;
  readonly beganAt: number;
  /** Of messages since the session uses it, bytes. */
  receivedBytes = 0;
  sentBytes = 0;
  limits = UNLIMITED;
  /** When the peer last acknowledged something new, or the first byte with nothing in flight was sent. */
  progressAt: number;
  private readonly peerClock = new PeerClock();
  private inFlight: InFlight[] = [];
  private first = 0;
  /** Position of the entry at `first`. */
  private firstPosition: number;

  constructor(
    private readonly config: ResumeConfig,
    private readonly kept: KeptRecords,
    start: LinkPositions,
    now: number,
  ) {
    const { initialBytes, laterInitialBytes } = config.congestion;
    const isFirst = start.sent === 0 && start.received === 0 && start.lastNumber !== undefined;
    this.congestion = new CongestionController(config.congestion, now, isFirst ? initialBytes : laterInitialBytes);
    this.acks = new Acknowledgements(config, start.received, now);
    this.lastReceived = start.lastNumber;
    this.lastSent = start.lastNumber === undefined ? undefined : start.sent;
    this.firstPosition = start.sent + 1;
    this.heardAt = Math.floor(now);
    this.sentAt = Math.floor(now);
    this.beganAt = Math.floor(now);
    this.progressAt = now;
  }

  get hasInFlight(): boolean {
    return this.first < this.inFlight.length;
  }

  /** What it has in flight was given to other links, and nothing has come back since. */
  get isStalled(): boolean {
    return this.stalled;
  }

  /** For how long its oldest record is in flight, ms. */
  ageMs(now: number): number {
    const oldest = this.inFlight[this.first];
    return oldest === undefined ? 0 : now - oldest.stamp.at;
  }

  get roundTripMs(): number {
    return this.congestion.smoothedRttMs ?? UNKNOWN_ROUND_TRIP_MS;
  }

  // ── sent ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The part goes out now. */
  onSent(part: RecordPart, now: number, mayWait: boolean): SentStamp {
    part.copies += 1;
    this.lastSent = part.record.number;
    return this.putInFlight(part, part.length, now, mayWait);
  }

  /** A record of datagrams goes out now: it has a position, and no number. */
  onDatagramsSent(bytes: number, now: number, mayWait: boolean): SentStamp {
    this.datagramBytesInFlight += bytes;
    return this.putInFlight(undefined, bytes, now, mayWait);
  }

  private putInFlight(part: RecordPart | undefined, length: number, now: number, mayWait: boolean): SentStamp {
    if (!this.hasInFlight) {
      this.progressAt = now;
      // Nothing was on its way, so nothing could arrive.
      this.newestReceivedMs = Number.NaN;
    }
    const stamp = this.congestion.onSent(length, now, mayWait);
    this.inFlight.push({ part, length, stamp });
    this.sentAt = Math.floor(now);
    this.sentBytes += length + RECORD_BYTES;
    return stamp;
  }

  /** How many parts are acknowledged now that were not before; undefined where the link has not carried so many. */
  onAcknowledged({ position, receivedUs }: Acknowledgement, now: number): number | undefined {
    const count = position - this.firstPosition + 1;
    if (count > this.inFlight.length - this.first) return undefined;
    if (count <= 0) return 0;
    this.endStall();
    let bytes = 0;
    let newest: SentStamp | undefined;
    for (let index = this.first; index < this.first + count; index++) {
      const sent = this.inFlight[index];
      if (sent === undefined) break;
      newest = sent.stamp;
      bytes += sent.length;
      if (sent.part === undefined) this.datagramBytesInFlight -= sent.length;
      else this.takeAcked(sent.part);
    }
    this.forget(count);
    this.progressAt = now;
    this.isProven = true;
    this.ackedBytes += bytes;
    const receivedMs = this.peerClock.unwrap(receivedUs);
    this.countHole(count, receivedMs, now);
    if (newest !== undefined) this.congestion.onAcked(bytes, newest, now, receivedMs);
    return count;
  }

  private countHole(count: number, receivedMs: number, now: number): void {
    const gapMs = receivedMs - this.newestReceivedMs;
    this.newestReceivedMs = receivedMs;
    const { minRttMs = 0 } = this.congestion;
    const isLong = minRttMs >= HOLE_LEAST_RTT_MS && gapMs > Math.max(HOLE_MS, HOLE_ROUND_TRIPS * minRttMs);
    const leastRecords = this.congestion.hasLongFrames ? HOLE_LONG_RECORDS : HOLE_RECORDS;
    const isBurst = count >= leastRecords && count >= HOLE_SHARE * (count + this.inFlight.length - this.first);
    if (!isLong || !isBurst || this.congestion.isAppLimited) return;
    this.holes += 1;
    if (this.isForBulk) this.congestion.onLoss(now);
  }

  /** It is one of several links, and no quiet stream sends: throughput counts, and no delay. */
  setForBulk(isForBulk: boolean): void {
    this.isForBulk = isForBulk;
    if (!isForBulk) this.congestion.forgetLosses();
    this.congestion.setLongFrames(isForBulk);
  }

  private takeAcked(part: RecordPart): void {
    part.copies -= 1;
    this.kept.acknowledge(part);
  }

  private forget(count: number): void {
    this.first += count;
    this.firstPosition += count;
    if (this.first < this.inFlight.length && this.first < COMPACT_AT) return;
    // A new list where it is empty: one that has grown costs an idle session 150 bytes.
    this.inFlight = this.first < this.inFlight.length ? this.inFlight.slice(this.first) : [];
    this.first = 0;
  }

  /** The link is gone: what no other link has in flight is to be sent again. */
  giveUp(): void {
    if (!this.stalled) this.giveToOthers();
    this.inFlight = [];
    this.first = 0;
  }

  /** It is late: others are to send what it has in flight, which may still arrive by it, too. */
  handOver(): void {
    this.giveToOthers();
    this.stalled = true;
    this.lateTimes += 1;
  }

  /** What it has in flight counts again. */
  endStall(): void {
    if (this.stalled) for (const { part } of this.inFlight.slice(this.first)) if (part !== undefined) part.copies += 1;
    this.stalled = false;
  }

  private giveToOthers(): void {
    for (const { part } of this.inFlight.slice(this.first)) {
      if (part === undefined) continue;
      part.copies -= 1;
      if (part.copies === 0) this.kept.requeue(part);
    }
  }

  /** It has carried all that it may. */
  get isSpent(): boolean {
    return this.sentBytes >= this.limits.sentBytes;
  }

  /** It is to carry much more: another one need not take its place yet. */
  get isFresh(): boolean {
    const { limits } = this;
    const isUnused =
      this.sentBytes < FRESH_SHARE * limits.sentBytes && this.receivedBytes < FRESH_SHARE * limits.receivedBytes;
    return isUnused && !this.isUnwanted && !this.isLeaving && !this.isPeerLeaving;
  }

  /** The peer has been told that this end wants to be without it. */
  get isLeaving(): boolean {
    return this.leavingSince !== undefined;
  }

  setLeaving(isLeaving: boolean, now: number): void {
    this.leavingSince = isLeaving ? (this.leavingSince ?? Math.floor(now)) : undefined;
  }

  /** The peer does not answer that. */
  isLeavingFor(ms: number, now: number): boolean {
    return this.leavingSince !== undefined && now - this.leavingSince >= ms;
  }

  /** Both ends have agreed to be without it, and nothing is on its way from here. */
  get hasLeft(): boolean {
    return this.isLeaving && this.isPeerLeaving && !this.hasInFlight;
  }

  // ── waiting ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** When what it has in flight is late enough for other links; Infinity where nothing is. */
  get lateAt(): number {
    const oldest = this.inFlight[this.first];
    if (oldest === undefined || this.stalled) return Number.POSITIVE_INFINITY;
    // While acknowledgements come it is only slow, as when a burst has filled it before its rate is known.
    return Math.max(oldest.stamp.at + this.lateMs, this.progressAt + LATE_MS);
  }

  private get lateMs(): number {
    // That of a link that was slowed down says nothing.
    const usualMs = Math.min(this.roundTripMs, MOST_USUAL_ROUND_TRIPS * (this.congestion.minRttMs ?? this.roundTripMs));
    const repairMs =
      this.isForBulk && this.holes > 0 && this.limits.sentBytes === Number.POSITIVE_INFINITY ? LOSSY_LATE_MS : 0;
    return Math.max(LATE_ROUND_TRIPS * usualMs, usualMs + LATE_MS) + repairMs;
  }

  /** When it stalls unless something comes; Infinity while nothing is in flight. */
  get stallsAt(): number {
    return this.silentAt(this.config.stallMs, this.congestion.smoothedRttMs ?? 0);
  }

  /** The same after `stallMs`, where a round trip is known. @param usualMs that of the session, if this one has none */
  stallsAfter(stallMs: number, usualMs: number | undefined): number {
    const roundTripMs = this.congestion.smoothedRttMs ?? usualMs;
    return roundTripMs === undefined ? this.stallsAt : this.silentAt(stallMs, roundTripMs);
  }

  private silentAt(stallMs: number, roundTripMs: number): number {
    if (!this.hasInFlight) return Number.POSITIVE_INFINITY;
    return this.progressAt + Math.max(stallMs, this.config.stallRoundTrips * roundTripMs);
  }
}

/** Times of the peer's clock, which wrap around, as ms that only increase. */
class PeerClock {
  private last = 0;
  private wraps = 0;

  unwrap(us: number): number {
    // Half a period back is a wrap: acknowledgements come in order.
    if (us < this.last - RECEIPT_CLOCK_US / 2) this.wraps += 1;
    this.last = us;
    return (this.wraps * RECEIPT_CLOCK_US + us) / 1000;
  }
}
