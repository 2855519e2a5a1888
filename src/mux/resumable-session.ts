/**
 * A session that outlives its links (docs/protocol.md §3, §10): numbers the records of a MuxSession, keeps them until
 * the peer has them, retransmits them on the next link, and sends no more than the congestion window allows. A pure
 * state machine around another one.
 *
 * Calling order. `attach` when a new link is established and both ends have exchanged how much they have received;
 * then, as for MuxSession, after anything that comes in: all of `mux.pollEvent`, then `pollMessage` until it returns
 * nothing or the link is full, and `handleTimeout` at `nextTimeout`. `detach` when the link is lost. Calls about
 * streams go to `mux` directly.
 *
 * It must not know what a link is, nor how another is found: `linkState` says when one is wanted.
 */
import type { WireFaultName } from '../errors.ts';
import { joinOwned, type Piece, releaseAll } from '../memory/pieces.ts';
import { FRAME_HEADER_BYTES } from '../protocol/frames.ts';
import {
  type Acknowledgement,
  decodeRecordHeader,
  dropPrefix,
  encodeRecordHeader,
  prependRecordHeader,
  RECEIPT_CLOCK_US,
  type RecordHeader,
} from '../protocol/record-header.ts';
import { Acknowledgements } from './acknowledgements.ts';
import type { MuxConfig, ResumeConfig } from './config.ts';
import { CongestionController, type SentStamp } from './congestion/congestion-controller.ts';
import { RetransmitBuffer } from './retransmit-buffer.ts';
import type { RetransmitMemory } from './retransmit-store.ts';
import { MuxSession } from './session.ts';

/** What `MuxSession.pollRecord` needs at least. */
const MIN_RECORD_BYTES = 512;

/** Control frames and quiet streams may go so much beyond the congestion window, or one frame if that is more. */
const URGENT_BYTES = 4 * 1024;

/** `suspect`: bytes are in flight and nothing comes back, so another link should be tried as well. `dead`: silence. */
export type LinkState = 'detached' | 'fine' | 'suspect' | 'dead';

export class ResumableSession {
  readonly mux: MuxSession;
  private readonly maxDataBytes: number;
  private readonly retransmits: RetransmitBuffer;
  private readonly acks: Acknowledgements;
  /** Of the current link; undefined while detached. */
  private congestion: CongestionController | undefined;
  private peerClock = new PeerClock();
  private detachedAt: number;
  /** When the peer last acknowledged something new, or the first byte with nothing in flight was sent. */
  private progressAt: number;
  private isLinkProven = false;

  constructor(
    mux: MuxConfig,
    private readonly config: ResumeConfig,
    private readonly memory: RetransmitMemory,
    now: number,
  ) {
    this.mux = new MuxSession(mux, now);
    this.maxDataBytes = mux.maxDataBytes;
    this.retransmits = new RetransmitBuffer(memory);
    this.acks = new Acknowledgements(config, now);
    // Nothing is lost before the first link, so there is no limit.
    this.detachedAt = Number.POSITIVE_INFINITY;
    this.progressAt = now;
  }

  /** Numbered records that have been received: what a request or answer on a new link says. */
  get received(): number {
    return this.acks.received;
  }

  get isAttached(): boolean {
    return this.congestion !== undefined;
  }

  /** Kept until the peer has it, bytes. */
  get retransmitBytes(): number {
    return this.retransmits.bytes;
  }

  /** Whether a new link can continue after so many of our records. A request that comes late says too few. */
  fits(peerReceived: number): boolean {
    return this.retransmits.fits(peerReceived);
  }

  /**
   * A request on a new link says now what has been received, which counts until `releaseAcknowledgements` or `attach`:
   * if more were acknowledged on the old link, the peer would drop what the request still asks for.
   */
  holdAcknowledgements(): void {
    this.acks.hold();
  }

  releaseAcknowledgements(): void {
    this.acks.release();
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A new link carries the session from now on. False: records in between are gone, and the session is over.
   * @param peerReceived how many records of ours the peer has
   * @param saidReceived how many of its records we said that we have: it continues after them
   */
  attach(peerReceived: number, saidReceived: number, now: number): boolean {
    if (this.mux.isOver) return false;
    if (!this.retransmits.resumeAfter(peerReceived)) {
      this.end('session-gap');
      return false;
    }
    this.congestion = new CongestionController(this.config.congestion, now);
    this.peerClock = new PeerClock();
    this.acks.begin(saidReceived, now);
    this.progressAt = now;
    this.isLinkProven = false;
    this.mux.handleAttached(now);
    return true;
  }

  /** The link is gone; streams wait for the next one. */
  detach(now: number): void {
    if (this.congestion === undefined) return;
    this.congestion = undefined;
    this.detachedAt = now;
    this.mux.handleDetached();
    if (this.config.resumeWindowMs === 0) this.end('link-lost');
  }

  linkState(now: number): LinkState {
    if (this.congestion === undefined) return 'detached';
    if (this.mux.liveness.isDead(now)) return 'dead';
    return now >= this.stallsAt() ? 'suspect' : 'fine';
  }

  /** The peer has acknowledged something that went out on this link: it carries something both ways. */
  get isProven(): boolean {
    return this.congestion !== undefined && this.isLinkProven;
  }

  /** Of a link that stalls: when something last arrived. */
  get waitingSince(): number {
    const { liveness } = this.mux;
    return liveness.unansweredAt() < Number.POSITIVE_INFINITY ? liveness.heardAt : this.progressAt;
  }

  /** Without notice to the peer. */
  end(fault: WireFaultName): void {
    this.mux.handleLinkLost(fault);
    this.retransmits.clear();
  }

  // ── in ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A whole record of the current link, in order. Takes it. */
  handleMessage(message: readonly Piece[], now: number): void {
    if (this.mux.isOver) return;
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) return this.mux.fail('bad-record');
    const { isNumbered, mayWait, acknowledged } = decoded.header;
    this.mux.liveness.handleBytes(now);
    if (acknowledged !== undefined) this.handleAcknowledgement(acknowledged, isNumbered, now);
    else if (!isNumbered) this.mux.handleNoOpRecord(now);
    const body = dropPrefix(message, decoded.bytes);
    if (isNumbered) this.handleNumbered(body, mayWait, now);
    else releaseAll(body);
  }

  /** One that comes alone and says nothing new is a no-op. */
  private handleAcknowledgement({ count, receivedUs }: Acknowledgement, isNumbered: boolean, now: number): void {
    const taken = this.retransmits.acknowledge(count);
    if (taken === undefined) return this.mux.fail('bad-record');
    if (taken.records === 0) return isNumbered ? undefined : this.mux.handleNoOpRecord(now);
    this.progressAt = now;
    this.isLinkProven = true;
    if (taken.newest === undefined) return;
    this.congestion?.onAcked(taken.bytes, taken.newest, now, this.peerClock.unwrap(receivedUs));
    this.mux.handleRoundTrip(this.congestion?.smoothedRttMs);
  }

  private handleNumbered(body: readonly Piece[], mayWait: boolean, now: number): void {
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    if (bytes === 0) this.mux.handleNoOpRecord(now);
    this.congestion?.onReceived(bytes);
    if (!this.acks.onRecord(bytes, mayWait, now)) return releaseAll(body);
    for (const piece of body) this.mux.handleRecord(piece, now);
  }

  /** Time has passed: call at or after `nextTimeout`, when everything that the link had was handed in. */
  handleTimeout(now: number): void {
    if (this.congestion !== undefined) this.mux.handleTimeout(now);
    else if (now >= this.expiresAt()) this.end('session-expired');
  }

  nextTimeout(): number {
    if (this.mux.isOver) return Number.POSITIVE_INFINITY;
    return this.congestion === undefined ? this.expiresAt() : this.mux.nextTimeout();
  }

  /** When to poll again for a pending acknowledgement, or Infinity. Not in `nextTimeout`, because it is so frequent. */
  acknowledgementAt(): number {
    return this.congestion === undefined ? Number.POSITIVE_INFINITY : this.acks.dueAt;
  }

  /** When `linkState` becomes `suspect` unless something comes; Infinity while nothing is in flight. */
  stallsAt(): number {
    const { congestion } = this;
    if (congestion === undefined || congestion.inFlightBytes === 0) return Number.POSITIVE_INFINITY;
    const { stallMs, stallRoundTrips } = this.config;
    const ownAt = this.progressAt + Math.max(stallMs, stallRoundTrips * (congestion.smoothedRttMs ?? 0));
    return Math.min(ownAt, this.mux.liveness.unansweredAt());
  }

  private expiresAt(): number {
    return this.detachedAt + this.config.resumeWindowMs;
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The next record for the current link, or undefined when there is nothing to send now. */
  pollMessage(now: number): readonly Piece[] | undefined {
    const { congestion } = this;
    if (congestion === undefined) return undefined;
    return this.pollRetransmit(congestion, now) ?? this.pollNew(congestion, now) ?? this.pollAcknowledgement(now);
  }

  private pollRetransmit(congestion: CongestionController, now: number): readonly Piece[] | undefined {
    const record = this.retransmits.waiting;
    // If the session is over, GO_AWAY follows the last of them.
    const mayGo = record !== undefined && (this.mux.isOver || congestion.inFlightBytes < congestion.window(now));
    if (!mayGo) return undefined;
    const stamp = this.stampOf(congestion, record.bytes, now);
    this.retransmits.markSent(stamp);
    // A copy: a peer may acknowledge what it has not read, and then another session uses the slab.
    return [joinOwned([encodeRecordHeader(this.numberedHeader(stamp, now)), ...record.stored.pieces])];
  }

  private pollNew(congestion: CongestionController, now: number): readonly Piece[] | undefined {
    // In order: nothing new before all that is to be retransmitted.
    if (this.retransmits.waiting !== undefined) return undefined;
    const pieces = this.pollFrames(congestion, now);
    if (pieces === undefined) return undefined;
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const stamp = this.stampOf(congestion, bytes, now);
    this.retransmits.push(pieces, bytes, stamp);
    return prependRecordHeader(this.numberedHeader(stamp, now), pieces);
  }

  /** A record is one frame long: the next keystroke waits for no more. */
  private pollFrames(congestion: CongestionController, now: number): readonly Piece[] | undefined {
    const { mux } = this;
    const frameBytes = Math.min(congestion.frameBytes(), this.maxDataBytes);
    // One full frame and no more: further room would be filled with a tiny frame of the next stream.
    const recordBytes = Math.max(MIN_RECORD_BYTES, frameBytes + FRAME_HEADER_BYTES);
    const { inFlightBytes } = congestion;
    if (mux.isOver || (inFlightBytes < congestion.window(now) && this.mayKeepMore)) {
      const pieces = mux.pollRecord(now, recordBytes, frameBytes);
      if (pieces === undefined) congestion.onAppLimited();
      return pieces;
    }
    const mayPass = inFlightBytes < congestion.urgentWindow() + Math.max(URGENT_BYTES, frameBytes);
    return mux.hasUrgent && mayPass && this.mayKeepMore ? mux.pollUrgent(now, recordBytes, frameBytes) : undefined;
  }

  private get mayKeepMore(): boolean {
    const { retransmitBytes, minRetransmitBytes } = this.config;
    const { bytes } = this.retransmits;
    return bytes < minRetransmitBytes || (bytes < retransmitBytes && this.memory.used < this.memory.limit);
  }

  private pollAcknowledgement(now: number): readonly Piece[] | undefined {
    if (!this.acks.isDue(now)) return undefined;
    return [encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: this.acks.take(now) })];
  }

  private numberedHeader({ mayWait }: SentStamp, now: number): RecordHeader {
    return { isNumbered: true, mayWait, acknowledged: this.acks.isPending ? this.acks.take(now) : undefined };
  }

  private stampOf(congestion: CongestionController, bytes: number, now: number): SentStamp {
    const mayWait = this.mux.peerKnowsMayWait && congestion.mayWait(bytes, now);
    if (congestion.inFlightBytes === 0) this.progressAt = now;
    return congestion.onSent(bytes, now, mayWait);
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
