/**
 * A session that outlives its links (docs/protocol.md §3, §10): numbers the records of a MuxSession, keeps them until
 * the peer has them, retransmits them, and sends no more than the congestion window of each link allows. One link
 * carries it, or several at once. A pure state machine around another one.
 *
 * Calling order. `attach` when a new link is established and both ends have exchanged how much they have received, or
 * `join` when it is one more; then, as for MuxSession, after anything that comes in: all of `mux.pollEvent`, then
 * `poll` until it returns nothing, and `handleTimeout` at `nextTimeout`. `detach` when a link is lost. Calls about
 * streams go to `mux` directly.
 *
 * It must not know what a link is, nor how another is found: `linkState` says when one is wanted.
 */
import type { WireFaultName } from '../errors.ts';
import { type Piece, releaseAll } from '../memory/pieces.ts';
import { type Acknowledgement, decodeRecordHeader, dropPrefix, type RecordHeader } from '../protocol/record-header.ts';
import type { MuxConfig, StallTimes } from './config.ts';
import { LinkDemand } from './links/link-demand.ts';
import { LinkSender, type Outgoing } from './links/link-sender.ts';
import { ReorderBuffer } from './links/reorder-buffer.ts';
import type { ResumeConfig } from './links/resume-config.ts';
import type { RetransmitMemory } from './links/retransmit-store.ts';
import { SessionLink } from './links/session-link.ts';
import { MuxSession } from './session.ts';

/** A link that the peer has not left so long after it was asked to, ms, is dropped. */
const LEAVE_MS = 10_000;

/** One of several links on which nothing comes for so many intervals of pings is lost. */
const SILENT_PINGS = 3;

/** With so much in flight, bytes, more than one link may be of use. */
const BULK_BYTES = 4 * 1024;

/** `suspect`: bytes are in flight and nothing comes back, so another link should be tried as well. `dead`: silence. */
export type LinkState = 'detached' | 'fine' | 'suspect' | 'dead';

export class ResumableSession {
  readonly mux: MuxSession;
  private readonly sender: LinkSender;
  private readonly order: ReorderBuffer;
  private readonly maxLinks: number;
  /** Undefined until much is sent: an idle session costs little. */
  private demand: LinkDemand | undefined;
  /** Undefined before the first link: nothing is lost until then, so there is no limit. */
  private detachedAt: number | undefined;
  /** When stalled links were looked for last: those of then need no timer. */
  private checkedAt = 0;
  /** A placed record has come. */
  private hasPlaced = false;
  /** What a request to resume has said, while its answer is awaited. */
  private saidReceived: number | undefined;

  constructor(
    mux: MuxConfig,
    private readonly config: ResumeConfig,
    memory: RetransmitMemory,
    now: number,
  ) {
    this.mux = new MuxSession(mux, now);
    this.maxLinks = mux.maxLinks;
    this.sender = new LinkSender(this.mux, mux.maxDataBytes, config, memory);
    this.order = new ReorderBuffer(config, memory);
  }

  /** Up to this number all records of the peer have been received: what a request or answer on a new link says. */
  get received(): number {
    return this.saidReceived ?? this.order.received;
  }

  get links(): readonly SessionLink[] {
    return this.sender.links;
  }

  get isAttached(): boolean {
    return this.links.length > 0;
  }

  /** Kept until the peer has it, bytes. */
  get retransmitBytes(): number {
    return this.sender.kept.bytes;
  }

  /** Whether a new link can continue after so many of our records. A request that comes late says too few. */
  fits(peerReceived: number): boolean {
    return this.sender.kept.fits(peerReceived);
  }

  /**
   * A request on a new link says now what has been received, which counts until `releaseAcknowledgements` or `attach`:
   * if more were acknowledged on another link, the peer would drop what the request still asks for. So no link joins
   * meanwhile, either.
   */
  holdAcknowledgements(): void {
    this.saidReceived = this.order.received;
    for (const { acks } of this.links) acks.hold();
  }

  releaseAcknowledgements(): void {
    this.saidReceived = undefined;
    for (const { acks } of this.links) acks.release();
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A new link carries the session from now on, and no other. Undefined: records in between are gone, and the session
   * is over.
   * @param peerReceived how many records of ours the peer has
   * @param saidReceived how many of its records we said that we have: it continues after them
   */
  attach(peerReceived: number, saidReceived: number, now: number): SessionLink | undefined {
    if (this.mux.isOver) return undefined;
    this.saidReceived = undefined;
    if (!this.sender.resumeAfter(peerReceived)) {
      this.end('session-gap');
      return undefined;
    }
    const positions = { sent: peerReceived, received: saidReceived, lastNumber: saidReceived };
    const link = new SessionLink(this.config, this.sender.kept, positions, now);
    this.sender.add(link, now);
    this.mux.handleAttached(now);
    return link;
  }

  /** Whether the session can have one more link now. */
  get canJoin(): boolean {
    const isResuming = this.saidReceived !== undefined;
    const { links, maxLinks, mux } = this;
    if (mux.isOver || isResuming || !mux.mayHaveLinks || links.length >= 2 * maxLinks) return false;
    return links.filter(({ isFresh }) => isFresh).length < maxLinks;
  }

  /** One more link may carry the session, whose peer has so many of our records. More may be acknowledged by now. */
  mayJoin(peerReceived: number): boolean {
    return this.canJoin && peerReceived <= this.sender.kept.lastNumber;
  }

  /** One more link carries the session. Undefined where `mayJoin` is false. */
  join(peerReceived: number, now: number): SessionLink | undefined {
    if (!this.mayJoin(peerReceived)) return undefined;
    this.sender.kept.acknowledgeUpTo(peerReceived);
    const wasAttached = this.isAttached;
    const positions = { sent: 0, received: 0, lastNumber: undefined };
    const link = new SessionLink(this.config, this.sender.kept, positions, now);
    this.sender.add(link, now);
    if (!wasAttached) this.mux.handleAttached(now);
    return link;
  }

  /** The link is gone. If it was the last one, streams wait for the next. */
  detach(link: SessionLink, now: number): void {
    if (!this.sender.remove(link) || this.isAttached) return;
    this.detachedAt = now;
    this.mux.handleDetached();
    if (this.config.resumeWindowMs === 0) this.end('link-lost');
  }

  /** The network cuts connections that are silent for longer: something is sent so often, ms. */
  pingEvery(ms: number): void {
    this.mux.pingEvery(ms);
    this.sender.pingMs = Math.min(ms, this.config.linkPingMs);
  }

  /** No more is to be sent on a link, here and by the peer, than so many bytes; Infinity: any number. */
  limitLinks(sentBytes: number, receivedBytes: number): void {
    this.sender.limitLinks({ sentBytes, receivedBytes });
  }

  /** How many links are of use for what this end sends. */
  get linksWanted(): number {
    return this.demand?.wanted ?? 1;
  }

  /** The session is to go on without this link, if there is another. */
  leave(link: SessionLink): void {
    if (this.links.some((other) => other !== link && !other.isUnwanted)) link.isUnwanted = true;
  }

  /** The links that stall while another one does not: they are to be dropped. */
  stalledLinks(now: number): readonly SessionLink[] {
    const stalled = this.links.filter((link) => this.isStalled(link, now));
    return stalled.length < this.links.length ? stalled : [];
  }

  /** Nothing comes back on it, or the peer does not answer that it is not wanted any more. */
  private isStalled(link: SessionLink, now: number): boolean {
    const silenceMs = SILENT_PINGS * this.config.linkPingMs;
    return now >= link.stallsAt || now - link.heardAt >= silenceMs || link.isLeavingFor(LEAVE_MS, now);
  }

  linkState(now: number): LinkState {
    if (!this.isAttached) return 'detached';
    if (this.mux.liveness.isDead(now)) return 'dead';
    return now >= this.stallsAt() ? 'suspect' : 'fine';
  }

  /** The peer has acknowledged something that went out on a link that does not stall: it carries both ways. */
  isProven(now: number): boolean {
    return this.links.some((link) => link.isProven && now < this.suspectAt(link));
  }

  /** Another link is at hand: a quiet one is left after these times. Undefined: after those that are configured. */
  hurry(times: StallTimes | undefined): void {
    this.mux.liveness.hurry = times;
  }

  /** When nothing has come back on it for so long that another link should be tried; Infinity: nothing is in flight. */
  private suspectAt(link: SessionLink): number {
    const { hurry } = this.mux.liveness;
    return hurry === undefined ? link.stallsAt : link.stallsAfter(hurry.stallMs, this.mux.roundTripMs);
  }

  /** Of a session whose links stall: when something last arrived. */
  get waitingSince(): number {
    const { liveness } = this.mux;
    if (liveness.unansweredAt() < Number.POSITIVE_INFINITY) return liveness.heardAt;
    return Math.max(...this.links.map(({ progressAt }) => progressAt));
  }

  /** Without notice to the peer. */
  end(fault: WireFaultName): void {
    this.mux.handleLinkLost(fault);
    this.sender.kept.clear();
    this.order.clear();
  }

  // ── in ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A whole record of the link, in order. Takes it. False: the link is to be dropped, for want of memory. */
  handleMessage(link: SessionLink, message: readonly Piece[], now: number): boolean {
    if (this.mux.isOver) return true;
    const decoded = decodeRecordHeader(message);
    if (decoded === undefined) return this.fail();
    const { header } = decoded;
    link.heardAt = Math.floor(now);
    for (const { length } of message) link.receivedBytes += length;
    this.mux.liveness.handleBytes(now);
    const body = dropPrefix(message, decoded.bytes);
    const isNoOp = !header.isNumbered && body.length === 0;
    if (header.acknowledged !== undefined) this.handleAcknowledgement(link, isNoOp, header.acknowledged, now);
    else if (isNoOp) this.mux.handleNoOpRecord(now);
    if (header.isNumbered && !this.mux.isOver) return this.handleNumbered(link, header, body, now);
    if (body.length > 0) this.handleDatagrams(link, header, body, now);
    releaseAll(body);
    return true;
  }

  private handleDatagrams(link: SessionLink, header: RecordHeader, body: readonly Piece[], now: number): void {
    const [only] = body;
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    link.congestion.onReceived(bytes);
    link.acks.onRecord(bytes, header.mayWait, now);
    const isWhole = only !== undefined && body.length === 1;
    this.mux.handleDatagrams(isWhole ? Buffer.from(only.buffer, only.byteOffset, bytes) : Buffer.concat(body), now);
  }

  private fail(): true {
    this.mux.fail('bad-record');
    return true;
  }

  /** One that comes alone and says nothing new is a no-op. */
  private handleAcknowledgement(link: SessionLink, isNoOp: boolean, ack: Acknowledgement, now: number): void {
    const { holes, congestion } = link;
    const { isAppLimited } = congestion;
    const streamBytes = streamBytesInFlight(link);
    const count = link.onAcknowledged(ack, now);
    if (count === undefined) return this.mux.fail('bad-record');
    if (count === 0) return isNoOp ? this.mux.handleNoOpRecord(now) : undefined;
    if (!isAppLimited && streamBytes >= BULK_BYTES) this.demand ??= new LinkDemand(now);
    if (this.demand !== undefined) {
      const isBusy = !isAppLimited && streamBytes >= BULK_BYTES;
      const seen = { holes: isBusy ? link.holes - holes : 0, isBusy };
      this.demand.onAcked(streamBytes - streamBytesInFlight(link), seen, this.links.length, now);
    }
    this.mux.handleRoundTrip(this.longestRoundTripMs());
  }

  private longestRoundTripMs(): number {
    let longestMs = 0;
    for (const { congestion } of this.links) longestMs = Math.max(longestMs, congestion.smoothedRttMs ?? 0);
    return longestMs;
  }

  private handleNumbered(link: SessionLink, header: RecordHeader, body: readonly Piece[], now: number): boolean {
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    if (bytes === 0) this.mux.handleNoOpRecord(now);
    const isForLinks = header.placement !== undefined || header.isLast === true;
    if (isForLinks && !this.mux.mayHaveLinks) return this.fail();
    link.congestion.onReceived(bytes);
    const number = header.placement?.number ?? (link.lastReceived ?? Number.NaN) + 1;
    link.lastReceived = number;
    link.isPeerLeaving = header.isLast === true;
    if (header.placement === undefined && this.order.receiveNext(number)) {
      link.acks.onRecord(bytes, header.mayWait, now);
      this.handleFrames(body, now);
      return true;
    }
    return this.handlePlaced(link, { header, number, bytes }, body, now);
  }

  private handleFrames(body: readonly Piece[], now: number): void {
    for (const piece of body) this.mux.handleRecord(piece, now);
    // Once records may overtake each other, none may begin or end within a frame.
    if (this.hasPlaced && !this.mux.isBetweenFrames) this.mux.fail('bad-record');
  }

  private handlePlaced(
    link: SessionLink,
    { header, number, bytes }: { header: RecordHeader; number: number; bytes: number },
    body: readonly Piece[],
    now: number,
  ): boolean {
    if (Number.isNaN(number)) return this.fail();
    const placement = header.placement ?? { number, floor: number - 1, followed: [] };
    this.hasPlaced ||= header.placement !== undefined;
    if (this.hasPlaced && !this.mux.isBetweenFrames) return this.fail();
    const { order } = this;
    let frames = body;
    let receipt =
      header.piece === undefined
        ? order.receive(placement, body, bytes)
        : order.receivePiece(placement, header.piece, body);
    if (header.piece !== undefined && receipt === 'ready') {
      frames = [order.assembled(number)];
      receipt = order.receive(placement, frames, header.piece.total);
    }
    if (receipt === 'bad-record') return this.fail();
    if (receipt === 'no-room') return false;
    link.acks.onRecord(bytes, header.mayWait, now);
    if (receipt !== 'ready') return true;
    this.handleFrames(frames, now);
    for (let next = order.next(); next !== undefined; next = order.next()) this.handleFrames(next, now);
    return true;
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Time has passed: call at or after `nextTimeout`, when everything that the links had was handed in. */
  handleTimeout(now: number): void {
    this.checkedAt = Math.floor(now);
    this.demand?.handleTimeout(this.links.length, now);
    if (this.isAttached) this.mux.handleTimeout(now);
    else if (now >= this.expiresAt()) this.end('session-expired');
  }

  nextTimeout(): number {
    if (this.mux.isOver) return Number.POSITIVE_INFINITY;
    if (!this.isAttached) return this.expiresAt();
    return Math.min(this.mux.nextTimeout(), this.sender.nextTimeout(), this.nextStall());
  }

  /** When the next of several links stalls. */
  private nextStall(): number {
    let at = Number.POSITIVE_INFINITY;
    if (this.links.length < 2) return at;
    for (const { stallsAt } of this.links) if (stallsAt > this.checkedAt + 1) at = Math.min(at, stallsAt);
    return at;
  }

  /** When to poll again for a pending acknowledgement, or Infinity. Not in `nextTimeout`, because it is so frequent. */
  acknowledgementAt(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const link of this.links) if (!link.isFull) at = Math.min(at, link.acks.dueAt);
    return at;
  }

  /** When `linkState` becomes `suspect` unless something comes; Infinity while nothing is in flight. */
  stallsAt(): number {
    if (!this.isAttached) return Number.POSITIVE_INFINITY;
    // Of several links the last one counts: while it does not stall, it sends what the others had.
    let ownAt = Number.NEGATIVE_INFINITY;
    for (const link of this.links) ownAt = Math.max(ownAt, this.suspectAt(link));
    return Math.min(ownAt, this.mux.liveness.unansweredAt());
  }

  private expiresAt(): number {
    return (this.detachedAt ?? Number.POSITIVE_INFINITY) + this.config.resumeWindowMs;
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The next record and its link, or undefined when there is nothing to send now. */
  poll(now: number): Outgoing | undefined {
    return this.sender.poll(now);
  }
}

/** Without datagrams, for which only one link is of use. */
function streamBytesInFlight({ congestion, datagramBytesInFlight }: SessionLink): number {
  return congestion.inFlightBytes - datagramBytesInFlight;
}
