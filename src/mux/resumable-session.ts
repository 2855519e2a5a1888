/**
 * A session that outlives its links (docs/protocol.md §3, §10): numbers the records of a MuxSession, keeps them until
 * the peer has them, sends them again on the next link, and sends no more than the path holds. A pure state machine
 * like the one it holds.
 *
 * Calling order. `attach` when a new link stands and both ends have said how far they are; then, as for MuxSession,
 * after anything that comes in: all of `mux.pollEvent`, then `pollMessage` until it gives nothing or the link is full,
 * and `handleTimeout` at `nextTimeout`. `detach` when the link is lost. Calls about streams go to `mux` directly.
 *
 * It must not know what a link is, nor how another is found: `linkState` says when one is wanted.
 */
import type { WireFaultName } from '../errors.ts';
import { joinOwned, type Piece, releaseAll } from '../memory/pieces.ts';
import { FRAME_HEADER_BYTES } from '../protocol/frames.ts';
import {
  type Acknowledgement,
  behind,
  decodeRecordHeader,
  encodeRecordHeader,
  prependRecordHeader,
  RECEIPT_CLOCK_US,
  type RecordHeader,
} from '../protocol/record-header.ts';
import { Acknowledgements } from './acknowledgements.ts';
import type { MuxConfig, ResumeConfig } from './config.ts';
import { CongestionController } from './congestion/congestion-controller.ts';
import { RetransmitBuffer } from './retransmit-buffer.ts';
import type { RetransmitMemory } from './retransmit-store.ts';
import { MuxSession } from './session.ts';

/** What `MuxSession.pollRecord` needs at least. */
const LEAST_RECORD_BYTES = 512;

/**
 * What is worth sending although the path is full, because it is little and somebody waits for it (control frames,
 * quiet streams), up to so much beyond what the path may hold, or one frame.
 */
const URGENT_BYTES = 4 * 1024;

/**
 * `suspect`: bytes are on their way and nothing comes back, so another link should be tried beside it. `dead`: silence.
 */
export type LinkState = 'detached' | 'fine' | 'suspect' | 'dead';

export class ResumableSession {
  readonly mux: MuxSession;
  private readonly config: ResumeConfig;
  private readonly maxDataBytes: number;
  private readonly memory: RetransmitMemory;
  private readonly replay: RetransmitBuffer;
  private readonly acks: Acknowledgements;
  /** Of the present link; undefined while detached. */
  private path: CongestionController | undefined;
  private peerClock = new PeerClock();
  private detachedAt: number;
  /** When the peer last acknowledged something new, or the first byte after a rest went out. */
  private progressAt: number;
  private isLinkProven = false;

  constructor(mux: MuxConfig, config: ResumeConfig, memory: RetransmitMemory, now: number) {
    this.mux = new MuxSession(mux, now);
    this.config = config;
    this.maxDataBytes = mux.maxDataBytes;
    this.memory = memory;
    this.replay = new RetransmitBuffer(memory);
    this.acks = new Acknowledgements(config, now);
    // Nothing is lost by waiting for the first link.
    this.detachedAt = Number.POSITIVE_INFINITY;
    this.progressAt = now;
  }

  /** Numbered records that have come: what a request or answer on a new link says. */
  get received(): number {
    return this.acks.received;
  }

  get isAttached(): boolean {
    return this.path !== undefined;
  }

  /** Kept until the peer has it, bytes. */
  get retransmitBytes(): number {
    return this.replay.bytes;
  }

  /**
   * Whether a link could begin with what the peer says that it has of ours. A request that comes late says too little.
   */
  fits(peerReceived: number): boolean {
    return this.replay.fits(peerReceived);
  }

  /**
   * A request on a new link says now what has come, and counts until `releaseAcknowledgements` or `attach`: the peer
   * must not be told of more on the old link, or it would drop what the request still asks for.
   */
  holdAcknowledgements(): void {
    this.acks.hold();
  }

  releaseAcknowledgements(): void {
    this.acks.release();
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A new link carries the session from now on. @param peerReceived what the peer has of ours @param saidReceived what
   * it was told that we have of its records: it begins right behind. False: records in between are gone, and the
   * session is over.
   */
  attach(peerReceived: number, saidReceived: number, now: number): boolean {
    if (this.mux.isOver) return false;
    if (!this.replay.rewind(peerReceived)) {
      this.end('session-gap');
      return false;
    }
    this.path = new CongestionController(this.config.path, now);
    this.peerClock = new PeerClock();
    this.acks.begin(saidReceived, now);
    this.progressAt = now;
    this.isLinkProven = false;
    this.mux.handleAttached(now);
    return true;
  }

  /** The link is gone; streams wait for the next one. */
  detach(now: number): void {
    if (this.path === undefined) return;
    this.path = undefined;
    this.detachedAt = now;
    this.mux.handleDetached();
    if (this.config.resumeWindowMs === 0) this.end('link-lost');
  }

  linkState(now: number): LinkState {
    if (this.path === undefined) return 'detached';
    if (this.mux.isPeerSilent(now)) return 'dead';
    return now >= this.stallsAt() ? 'suspect' : 'fine';
  }

  /** The peer has acknowledged something that went out on this link: it carries something both ways. */
  get isProven(): boolean {
    return this.path !== undefined && this.isLinkProven;
  }

  /** Of a link that stalls: when something came through last. */
  get waitingSince(): number {
    const { probing } = this.mux;
    return probing.unansweredAt() < Number.POSITIVE_INFINITY ? probing.heardAt : this.progressAt;
  }

  /** Over without a word to the peer. */
  end(fault: WireFaultName): void {
    this.mux.handleLinkLost(fault);
    this.replay.clear();
  }

  // ── in ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A whole record of the present link, in order. Takes it. */
  handleMessage(message: readonly Piece[], now: number): void {
    if (this.mux.isOver) return;
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) return this.mux.fail('bad-record');
    const { isNumbered, mayWait, acknowledged } = decoded.header;
    this.mux.handleAlive(now);
    if (acknowledged !== undefined) this.handleAcknowledgement(acknowledged, isNumbered, now);
    else if (!isNumbered) this.mux.handleUselessRecord(now);
    const body = behind(message, decoded.bytes);
    if (isNumbered) this.handleNumbered(body, mayWait, now);
    else releaseAll(body);
  }

  /** One that comes alone and says nothing new is of no use, and counted. */
  private handleAcknowledgement({ count, receivedUs }: Acknowledgement, isNumbered: boolean, now: number): void {
    const taken = this.replay.acknowledge(count);
    if (taken === undefined) return this.mux.fail('bad-record');
    if (taken.records === 0) return isNumbered ? undefined : this.mux.handleUselessRecord(now);
    this.progressAt = now;
    this.isLinkProven = true;
    if (taken.newest === undefined) return;
    this.path?.onAcked(taken.bytes, taken.newest, now, this.peerClock.unwrap(receivedUs));
    this.mux.handleRoundTrip(this.path?.smoothedRttMs);
  }

  private handleNumbered(body: readonly Piece[], mayWait: boolean, now: number): void {
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    if (bytes === 0) this.mux.handleUselessRecord(now);
    this.path?.onReceived(bytes);
    if (!this.acks.note(bytes, mayWait, now)) return releaseAll(body);
    for (const piece of body) this.mux.handleRecord(piece, now);
  }

  /** Time has passed: call at or after `nextTimeout`, when everything that the link had was handed in. */
  handleTimeout(now: number): void {
    if (this.path !== undefined) this.mux.handleTimeout(now);
    else if (now >= this.expiresAt()) this.end('session-expired');
  }

  nextTimeout(): number {
    if (this.mux.isOver) return Number.POSITIVE_INFINITY;
    return this.path === undefined ? this.expiresAt() : this.mux.nextTimeout();
  }

  /**
   * When to poll again for an acknowledgement that is owed; Infinity while none is. Apart from `nextTimeout`, as it
   * comes that often.
   */
  acknowledgementAt(): number {
    return this.path === undefined ? Number.POSITIVE_INFINITY : this.acks.dueAt;
  }

  /** When `linkState` turns `suspect` unless something comes; Infinity while nothing is on its way. */
  stallsAt(): number {
    const { path } = this;
    if (path === undefined || path.inFlightBytes === 0) return Number.POSITIVE_INFINITY;
    const { stallMs, stallRoundTrips } = this.config;
    const ownAt = this.progressAt + Math.max(stallMs, stallRoundTrips * (path.smoothedRttMs ?? 0));
    return Math.min(ownAt, this.mux.probing.unansweredAt());
  }

  private expiresAt(): number {
    return this.detachedAt + this.config.resumeWindowMs;
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The next record for the present link, or undefined when there is nothing to say now. */
  pollMessage(now: number): readonly Piece[] | undefined {
    const { path } = this;
    if (path === undefined) return undefined;
    return this.pollRetransmit(path, now) ?? this.pollNew(path, now) ?? this.pollAcknowledgement(now);
  }

  private pollRetransmit(path: CongestionController, now: number): readonly Piece[] | undefined {
    const record = this.replay.waiting;
    // Behind the last of them goes GO_AWAY, if the session is over.
    const mayGo = record !== undefined && (this.mux.isOver || path.inFlightBytes < path.window(now));
    if (!mayGo) return undefined;
    const mayWait = this.mayWait(path, record.bytes, now);
    this.noteSending(path, now);
    this.replay.markSent(path.onSent(record.bytes, now, mayWait));
    // A copy: a peer may acknowledge what it has not read, and the slab is then another session's.
    return [joinOwned([encodeRecordHeader(this.numberedHeader(mayWait, now)), ...record.stored.pieces])];
  }

  private pollNew(path: CongestionController, now: number): readonly Piece[] | undefined {
    // In order: nothing new before all that the peer lacks.
    if (this.replay.waiting !== undefined) return undefined;
    const pieces = this.pollFrames(path, now);
    if (pieces === undefined) return undefined;
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const mayWait = this.mayWait(path, bytes, now);
    this.noteSending(path, now);
    this.replay.push(pieces, bytes, path.onSent(bytes, now, mayWait));
    return prependRecordHeader(this.numberedHeader(mayWait, now), pieces);
  }

  /** A record is no longer than the path carries in the time of one frame: the next keystroke waits for no more. */
  private pollFrames(path: CongestionController, now: number): readonly Piece[] | undefined {
    const { mux } = this;
    const frameBytes = Math.min(path.frameBytes(), this.maxDataBytes);
    // One full frame and no more: room behind it would be filled with a sliver of the next stream's.
    const recordBytes = Math.max(LEAST_RECORD_BYTES, frameBytes + FRAME_HEADER_BYTES);
    const { inFlightBytes } = path;
    if (mux.isOver || (inFlightBytes < path.window(now) && this.mayKeepMore)) {
      const pieces = mux.pollRecord(now, recordBytes, frameBytes);
      if (pieces === undefined) path.onAppLimited();
      return pieces;
    }
    const mayPass = inFlightBytes < path.urgentWindow() + Math.max(URGENT_BYTES, frameBytes);
    return mux.hasUrgent && mayPass && this.mayKeepMore ? mux.pollUrgent(now, recordBytes, frameBytes) : undefined;
  }

  private get mayKeepMore(): boolean {
    const { retransmitBytes, minRetransmitBytes } = this.config;
    const { bytes } = this.replay;
    return bytes < minRetransmitBytes || (bytes < retransmitBytes && this.memory.used < this.memory.limit);
  }

  private pollAcknowledgement(now: number): readonly Piece[] | undefined {
    if (!this.acks.isDue(now)) return undefined;
    return [encodeRecordHeader({ isNumbered: false, mayWait: false, acknowledged: this.acks.take(now) })];
  }

  /** What is owed goes along with what is sent anyway. */
  private numberedHeader(mayWait: boolean, now: number): RecordHeader {
    return { isNumbered: true, mayWait, acknowledged: this.acks.isOwed ? this.acks.take(now) : undefined };
  }

  private mayWait(path: CongestionController, bytes: number, now: number): boolean {
    return this.mux.peerKnowsMayWait && path.mayWait(bytes, now);
  }

  private noteSending(path: CongestionController, now: number): void {
    if (path.inFlightBytes === 0) this.progressAt = now;
  }
}

/** Times of the peer's clock, which come round, as ms that only rise. */
class PeerClock {
  private last = 0;
  private rounds = 0;

  unwrap(us: number): number {
    // Half a round back is none: acknowledgements come in order.
    if (us < this.last - RECEIPT_CLOCK_US / 2) this.rounds += 1;
    this.last = us;
    return (this.rounds * RECEIPT_CLOCK_US + us) / 1000;
  }
}
