/**
 * Sends the records of a session on its links (docs/protocol.md §10): what someone waits for first, then bulk, what is
 * to be sent again before what is new, each on the link that will deliver it first. It decides nothing about links.
 * Pure.
 */
import { joinOwned, type Piece } from '../../memory/pieces.ts';
import { FRAME_HEADER_BYTES } from '../../protocol/frames.ts';
import {
  encodeRecordHeader,
  type Placement,
  prependRecordHeader,
  type RecordHeader,
} from '../../protocol/record-header.ts';
import type { SentStamp } from '../congestion/congestion-controller.ts';
import { DatagramLink } from './datagram-link.ts';
import { KeptRecords, type RecordPart } from './kept-records.ts';
import { LateCopies } from './late-copies.ts';
import { fastestLink } from './link-choice.ts';
import { QuietLink } from './quiet-link.ts';
import { LITTLE_BYTES, RecordOrder } from './record-order.ts';
import type { ResumeConfig } from './resume-config.ts';
import type { RetransmitMemory } from './retransmit-store.ts';
import { type ByteLimits, type SessionLink, UNLIMITED } from './session-link.ts';
import { SlowLinks } from './slow-links.ts';

/** What `pollRecord` needs at least. */
const MIN_RECORD_BYTES = 512;

/** Of what a link may carry at all: a record is no larger. */
const LARGEST_SHARE = 1 / 4;

/** Links that may carry no more go on after this, ms, where no other one has come. */
const UNUSABLE_MS = 1_000;

/** Larger records are cut before they are sent again, where frames are smaller by now, bytes. */
const CUT_FROM_BYTES = 2 * 1024;

/** Of the window for datagrams: beyond that an acknowledgement must not wait (docs/protocol.md §10). */
const MAY_WAIT_SHARE = 1 / 2;

/** Control frames and quiet streams may go so much beyond the congestion window, or one frame if that is more. */
const URGENT_BYTES = 4 * 1024;

/** Datagrams on a new link, before its rate is known, bytes: the path may be another. */
const MOST_FIRST_DATAGRAM_BYTES = 16 * 1024;

/** A record of datagrams that takes longer on the path, ms, must fit into the window. */
const LONG_RECORD_MS = 20;

export interface Outgoing {
  readonly link: SessionLink;
  readonly message: readonly Piece[];
}

/** Makes the records: a MuxSession. */
export interface RecordSource {
  /** Only what it has still to say is to be sent. */
  readonly isOver: boolean;
  readonly peerKnowsMayWait: boolean;
  /** The peer understands several links, and pieces. */
  readonly mayHaveLinks: boolean;
  /** `pollUrgent` has something to send. */
  readonly hasUrgent: boolean;
  /** The latest record has bytes of streams. */
  readonly hasSentData: boolean;
  /** What the latest record was about; undefined unless that is wanted. */
  readonly topics: ReadonlySet<number> | undefined;
  trackTopics(isWanted: boolean): void;
  /** What is sent again has taken a turn of bulk. */
  passTurn(): void;
  pollRecord(now: number, maxBytes?: number, frameBytes?: number): readonly Piece[] | undefined;
  pollUrgent(now: number, maxBytes: number, frameBytes: number): readonly Piece[] | undefined;
  /** Datagrams wait. */
  readonly hasDatagrams: boolean;
  pollDatagrams(now: number, room: RecordRoom, isLast: boolean): readonly Piece[] | undefined;
}

interface RecordRoom {
  readonly maxBytes: number;
  readonly mayExceed: boolean;
  readonly frameBytes: number;
  readonly rate: { readonly leastPerMs: number; readonly steadyPerMs: number | undefined };
}

/** What only several links need. */
interface Several {
  /** By which datagrams go. */
  readonly datagrams: DatagramLink;
  readonly order: RecordOrder;
  readonly copies: LateCopies;
  readonly quiet: QuietLink;
  readonly slow: SlowLinks;
  /** What the links were told; undefined: one of them was not. */
  isForBulk: boolean | undefined;
}

export class LinkSender {
  /** A new list with each change: one that has grown costs an idle session 130 bytes. */
  links: readonly SessionLink[] = [];
  readonly kept: KeptRecords;
  private several: Several | undefined;
  /** What the link before had in flight of datagrams at most, bytes. */
  private knownDatagramBytes: number | undefined;
  /** On each of several links something is sent so often, ms. */
  pingMs: number;
  /** Since when no link may carry frames; undefined while one may. */
  private unusableSince: number | undefined;
  /** Of each link. */
  private limits = UNLIMITED;

  constructor(
    private readonly mux: RecordSource,
    private readonly maxDataBytes: number,
    private readonly config: ResumeConfig,
    private readonly memory: RetransmitMemory,
  ) {
    this.kept = new KeptRecords(memory);
    this.pingMs = config.linkPingMs;
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The network stops links that carry more, bytes. */
  limitLinks(limits: ByteLimits): void {
    this.limits = limits;
    for (const link of this.links) link.limits = limits;
  }

  add(link: SessionLink, now: number): void {
    link.limits = this.limits;
    // The path is likely to be that of the link before.
    if (this.knownDatagramBytes !== undefined) link.congestion.firstDatagramBytes = this.knownDatagramBytes;
    this.links = this.links.concat(link);
    if (this.links.length < 2) return;
    this.several ??= {
      datagrams: new DatagramLink(this.links[0], now),
      order: new RecordOrder(this.kept.lastNumber),
      copies: new LateCopies(),
      quiet: new QuietLink(),
      slow: new SlowLinks(now),
      isForBulk: undefined,
    };
    this.mux.trackTopics(true);
    this.several.isForBulk = undefined;
    // It measures the path, and proves the link, before anything needs it.
    link.sentAt = now - this.pingMs;
  }

  /** False: it was none of the links. */
  remove(link: SessionLink): boolean {
    if (!this.links.includes(link)) return false;
    this.links = this.links.filter((other) => other !== link);
    this.noteDatagramWindow(link);
    link.giveUp();
    this.handleFewer();
    return true;
  }

  /** All links are gone, and the peer has `received` records. False: it cannot be. */
  resumeAfter(received: number): boolean {
    if (!this.kept.acknowledgeUpTo(received)) return false;
    for (const link of this.links) this.noteDatagramWindow(link);
    this.links = [];
    this.kept.requeueAll();
    this.handleFewer();
    return true;
  }

  private noteDatagramWindow({ congestion }: SessionLink): void {
    if (congestion.deliveryRate === undefined) return;
    this.knownDatagramBytes = Math.min(congestion.datagramWindow(false, 0), MOST_FIRST_DATAGRAM_BYTES);
  }

  /** While no quiet stream sends, throughput counts. */
  private tellPurpose(several: Several, now: number): void {
    const isForBulk = !several.quiet.isActive(now);
    if (isForBulk === several.isForBulk) return;
    several.isForBulk = isForBulk;
    for (const link of this.links) link.setForBulk(isForBulk);
  }

  private handleFewer(): void {
    const [only, second] = this.links;
    if (second !== undefined) return;
    this.endSeveral(only);
    if (only === undefined) return;
    // The next record takes back that it is not wanted.
    only.isUnwanted = false;
    only.setForBulk(false);
    only.setLeaving(false, 0);
    only.endStall();
  }

  /**
   * One link is left, or none. While something is to be sent again, what someone waits for must not follow that. But a
   * link that is to be replaced is usable only as the only one.
   */
  private endSeveral(only: SessionLink | undefined): void {
    if (this.several === undefined) return;
    const isReplaced = only !== undefined && (only.isPeerLeaving || only.isSpent);
    if (this.kept.waiting !== undefined && !isReplaced) return;
    this.several = undefined;
    this.mux.trackTopics(false);
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  poll(now: number): Outgoing | undefined {
    const [only, second] = this.links;
    if (only === undefined) return undefined;
    if (second === undefined) this.endSeveral(only);
    return this.several === undefined ? this.pollOnly(only, now) : this.pollSeveral(this.several, now);
  }

  private pollOnly(link: SessionLink, now: number): Outgoing | undefined {
    // GO_AWAY, the last frame, is sent even if the link is full.
    if (link.isFull && !this.mux.isOver) return undefined;
    const { waiting } = this.kept;
    // Its next record asks for another link.
    link.setLeaving(link.isSpent && this.mux.mayHaveLinks, now);
    if (waiting !== undefined && !this.mayRetransmit(link, now)) return this.pollAcknowledgement(link, now);
    if (waiting !== undefined) return this.sendAgain(link, this.cutWaiting(link, waiting), now);
    return (
      this.pollDatagrams(link, now, false) ??
      this.pollNew(link, now) ??
      this.pollDatagrams(link, now, true) ??
      this.pollAcknowledgement(link, now)
    );
  }

  /** @param isLast nothing else is to be sent */
  private pollDatagrams(link: SessionLink, now: number, isLast: boolean): Outgoing | undefined {
    const { congestion } = link;
    const isBulk = link.datagramBytesInFlight > URGENT_BYTES;
    const window = this.mux.hasDatagrams ? congestion.datagramWindow(isBulk, now) : 0;
    const spareBytes = window - congestion.inFlightBytes;
    if (spareBytes <= 0) return undefined;
    const { frameBytes, recordBytes } = this.sizesOf(link);
    // Where a record takes long, one that goes beyond the window would delay the next by as much.
    const isTight = recordBytes > (congestion.deliveryRate ?? 0) * LONG_RECORD_MS;
    const room = {
      maxBytes: isTight ? Math.min(recordBytes, spareBytes) : recordBytes,
      // Not only on an empty path: small datagrams of others would keep a large one waiting for ever.
      mayExceed: !isTight || congestion.inFlightBytes <= window / 2,
      frameBytes,
      rate: { leastPerMs: congestion.deliveryRate ?? 0, steadyPerMs: congestion.steadyRate },
    };
    const pieces = this.mux.pollDatagrams(now, room, isLast);
    if (pieces === undefined) return undefined;
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const mayWait =
      this.several === undefined &&
      this.mux.peerKnowsMayWait &&
      // Their window grows by what is acknowledged.
      congestion.inFlightBytes + bytes <= window * MAY_WAIT_SHARE &&
      congestion.mayWait(bytes, now);
    link.onDatagramsSent(bytes, now, mayWait);
    const acknowledged = link.acks.isPending ? link.acks.take(now) : undefined;
    return { link, message: prependRecordHeader({ isNumbered: false, mayWait, acknowledged }, pieces) };
  }

  /** If the session is over, GO_AWAY follows the last of them. */
  private mayRetransmit({ congestion }: SessionLink, now: number): boolean {
    return this.mux.isOver || congestion.inFlightBytes < congestion.window(now);
  }

  /** A record is one frame long: the next keystroke waits for no more. */
  private pollNew(link: SessionLink, now: number): Outgoing | undefined {
    const { mux } = this;
    const { congestion } = link;
    const { frameBytes, recordBytes } = this.sizesOf(link);
    const { inFlightBytes } = congestion;
    if (mux.isOver || (inFlightBytes < congestion.window(now) && this.mayKeepMore)) {
      const pieces = mux.pollRecord(now, recordBytes, frameBytes);
      if (pieces !== undefined) return this.sendNew(link, pieces, undefined, now);
      if (mux.hasDatagrams) congestion.onDatagramLimited();
      else congestion.onAppLimited();
      return undefined;
    }
    if (!mux.hasUrgent || !this.mayPass(link, frameBytes) || !this.mayKeepMore) return undefined;
    const pieces = mux.pollUrgent(now, recordBytes, frameBytes);
    return pieces === undefined ? undefined : this.sendNew(link, pieces, undefined, now);
  }

  private mayPass({ congestion }: SessionLink, frameBytes: number): boolean {
    return congestion.inFlightBytes < congestion.urgentWindow() + Math.max(URGENT_BYTES, frameBytes);
  }

  private sizesOf(link: SessionLink): { frameBytes: number; recordBytes: number } {
    const frameBytes = Math.min(link.congestion.frameBytes(), this.maxDataBytes, this.largestOn(link));
    // One full frame and no more: further room would be filled with a tiny frame of the next stream.
    return { frameBytes, recordBytes: Math.max(MIN_RECORD_BYTES, frameBytes + FRAME_HEADER_BYTES) };
  }

  /** A link that may carry little is not to be left with a record that is too large for it, or for what is left. */
  private largestOn({ limits, sentBytes }: SessionLink): number {
    const most = limits.sentBytes;
    // To a peer that knows one link only, nothing could go elsewhere: tiny records would only be slow.
    if (!this.mux.mayHaveLinks) return this.maxDataBytes;
    const share = most * LARGEST_SHARE;
    const left = most - sentBytes;
    return Math.max(MIN_RECORD_BYTES, Math.floor(left > 0 ? Math.min(share, left) : share));
  }

  private get mayKeepMore(): boolean {
    const { retransmitBytes, minRetransmitBytes } = this.config;
    const { bytes } = this.kept;
    return bytes < minRetransmitBytes || (bytes < retransmitBytes && this.memory.used < this.memory.limit);
  }

  // ── several links ──────────────────────────────────────────────────────────────────────────────────────────────────

  private pollSeveral(several: Several, now: number): Outgoing | undefined {
    if (this.mux.isOver) return this.pollLast(several, now);
    this.checkUsable(now);
    this.tellPurpose(several, now);
    for (const link of several.slow.find(this.links, now)) if (this.hasOther(link)) link.isUnwanted = true;
    for (const link of this.links) if (now >= link.lateAt && this.hasOther(link)) link.handOver();
    return (
      this.pollWaiting(several, now) ??
      this.pollDatagramsOfSeveral(several, now, false) ??
      this.pollUrgent(several, now) ??
      this.pollCopy(several, now) ??
      this.pollBulk(several, now) ??
      this.pollDatagramsOfSeveral(several, now, true) ??
      this.pollHousekeeping(now)
    );
  }

  private pollDatagramsOfSeveral({ datagrams }: Several, now: number, isLast: boolean): Outgoing | undefined {
    if (!this.mux.hasDatagrams) return undefined;
    const link = datagrams.choose(this.links, isUsable, now);
    const outgoing = link && !link.isFull ? this.pollDatagrams(link, now, isLast) : undefined;
    if (outgoing !== undefined) datagrams.use(outgoing.link, now);
    return outgoing;
  }

  private hasOther(link: SessionLink): boolean {
    return this.links.some((other) => other !== link && isUsable(other));
  }

  /** What is left of links goes on, rather than nothing: the one that replaces them may not come. */
  private checkUsable(now: number): void {
    if (this.links.some((link) => isUsable(link) || link.isFull)) this.unusableSince = undefined;
    else this.unusableSince ??= now;
    if (this.unusableSince === undefined || now < this.unusableSince + UNUSABLE_MS) return;
    this.unusableSince = undefined;
    for (const link of this.links) {
      link.limits = { ...link.limits, sentBytes: Number.POSITIVE_INFINITY };
      link.endStall();
      link.isUnwanted = false;
      link.isPeerLeaving = false;
      // Else each of its records would stop the peer again.
      link.setLeaving(false, now);
    }
  }

  /** Something waits for it at the peer, so it goes before all else; bulk only after what is new and urgent. */
  private pollWaiting(several: Several, now: number): Outgoing | undefined {
    const { waiting } = this.kept;
    if (waiting === undefined) return undefined;
    const goesFirst = waiting.record.isUrgent || !this.mayOvertake;
    return (goesFirst ? undefined : this.pollUrgent(several, now)) ?? this.pollAgain(waiting, now);
  }

  /** A peer without memory drops the link for what follows a missing record: so the only link begins with those. */
  private get mayOvertake(): boolean {
    const [first, second] = this.links;
    return second !== undefined || first?.isProven === true;
  }

  private pollAgain(part: RecordPart, now: number): Outgoing | undefined {
    const mayCarry = (one: SessionLink) =>
      part.record.isUrgent ? this.mayCarryUrgent(one) : isUsable(one) && this.mayRetransmit(one, now);
    const link = fastestLink(this.links, now, mayCarry);
    if (link === undefined) return undefined;
    if (!part.record.isUrgent) this.mux.passTurn();
    return this.sendAgain(link, this.cutWaiting(link, part), now);
  }

  private mayCarryUrgent(link: SessionLink): boolean {
    return isUsable(link) && this.mayPass(link, this.sizesOf(link).frameBytes);
  }

  private pollUrgent({ order, copies, quiet }: Several, now: number): Outgoing | undefined {
    const { mux } = this;
    if (!mux.hasUrgent || !this.mayKeepMore) return undefined;
    const link = fastestLink(this.links, now, (one) => this.mayCarryUrgent(one));
    if (link === undefined) return undefined;
    const { frameBytes, recordBytes } = this.sizesOf(link);
    const pieces = mux.pollUrgent(now, recordBytes, frameBytes);
    if (pieces === undefined) return undefined;
    const outgoing = this.sendNew(link, pieces, this.placeNext(order), now, true);
    const { newest } = this.kept;
    if (newest === undefined) return outgoing;
    if (mux.hasSentData) quiet.note(newest.length, now);
    copies.watch(newest, link, now);
    return outgoing;
  }

  private pollCopy({ copies }: Several, now: number): Outgoing | undefined {
    if (now < copies.dueAt) return undefined;
    // Those that no other link can carry are not late any more: nothing must be due for ever.
    for (let late = copies.take(now); late !== undefined; late = copies.take(now)) {
      const { link: slow, part } = late;
      const link = fastestLink(this.links, now, (one) => one !== slow && isUsable(one));
      if (link !== undefined) return this.sendAgain(link, part, now);
    }
    return undefined;
  }

  private pollBulk({ order, quiet }: Several, now: number): Outgoing | undefined {
    const reserved = quiet.choose(this.links, now);
    const hasRoom = (one: SessionLink) =>
      one !== reserved && isUsable(one) && one.congestion.inFlightBytes < one.congestion.window(now);
    const link = this.mayKeepMore ? fastestLink(this.links, now, hasRoom) : undefined;
    if (link === undefined) return undefined;
    const { frameBytes, recordBytes } = this.sizesOf(link);
    const pieces = this.mux.pollRecord(now, recordBytes, frameBytes);
    if (pieces !== undefined) return this.sendNew(link, pieces, this.placeNext(order), now);
    for (const one of this.links) if (hasRoom(one)) one.congestion.onAppLimited();
    return undefined;
  }

  /** The session is over: what is to be sent again, then GO_AWAY, even if the link is full. */
  private pollLast({ order }: Several, now: number): Outgoing | undefined {
    const link = this.links.find(isUsable) ?? this.links[0];
    if (link === undefined) return undefined;
    const { waiting } = this.kept;
    if (waiting !== undefined) return this.sendAgain(link, waiting, now);
    const pieces = this.mux.pollRecord(now);
    return pieces && this.sendNew(link, pieces, this.placeNext(order), now);
  }

  private placeNext(order: RecordOrder): Placement {
    return order.place(this.kept.lastNumber + 1, this.mux.topics ?? new Set(), this.kept.ackedUpTo);
  }

  private pollHousekeeping(now: number): Outgoing | undefined {
    for (const link of this.links) {
      const outgoing = link.isFull ? undefined : this.pollAcknowledgement(link, now);
      if (outgoing !== undefined) return outgoing;
    }
    const silent = this.links.find((link) => mayPing(link) && now >= this.pingAt(link));
    if (silent === undefined) return undefined;
    silent.setLeaving(silent.isUnwanted || silent.isPeerLeaving || silent.isSpent, now);
    return this.sendNew(silent, [], this.pingPlacement(), now);
  }

  /** When a record without frames is due, which keeps the link open or says that it is not wanted any more. */
  private pingAt(link: SessionLink): number {
    const mustTell = (link.isUnwanted || link.isPeerLeaving || link.isSpent) && !link.isLeaving;
    return mustTell ? Number.NEGATIVE_INFINITY : link.sentAt + this.pingMs;
  }

  /** Of a record without frames: it follows nothing. */
  private pingPlacement(): Placement {
    return { number: this.kept.lastNumber + 1, floor: this.kept.ackedUpTo, followed: [] };
  }

  /** When something is late, or a link silent. */
  nextTimeout(): number {
    if (this.several === undefined || this.links.length === 0 || this.mux.isOver) return Number.POSITIVE_INFINITY;
    let at = Math.min(this.several.copies.dueAt, (this.unusableSince ?? Number.POSITIVE_INFINITY) + UNUSABLE_MS);
    for (const link of this.links) {
      if (this.hasOther(link)) at = Math.min(at, link.lateAt);
      if (mayPing(link)) at = Math.min(at, this.pingAt(link));
    }
    return at;
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private sendNew(
    link: SessionLink,
    pieces: readonly Piece[],
    placement: Placement | undefined,
    now: number,
    isUrgent = false,
  ): Outgoing {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const isNext = link.lastSent === this.kept.lastNumber;
    const record = this.kept.push(pieces, bytes, placement, isUrgent && this.isUrgent(bytes, placement));
    const stamp = this.onSent(link, record, now);
    const header = this.headerOf(link, record, stamp, isNext, now);
    return { link, message: prependRecordHeader(header, pieces) };
  }

  /** Sent before others, it must not be held for them: where the peer has no memory, those would never come. */
  private isUrgent(bytes: number, placement: Placement | undefined): boolean {
    return bytes <= LITTLE_BYTES && placement !== undefined && this.kept.followsNoBulk(placement);
  }

  /** A record that was sent when the path was faster may be more than a link carries before it freezes. */
  private cutWaiting(link: SessionLink, waiting: RecordPart): RecordPart {
    const { frameBytes } = this.sizesOf(link);
    const isLarge = waiting.length > Math.max(CUT_FROM_BYTES, 2 * frameBytes);
    if (!isLarge || !this.mux.mayHaveLinks || this.mux.isOver) return waiting;
    this.kept.cutWaiting(Math.max(CUT_FROM_BYTES, frameBytes));
    return this.kept.waiting ?? waiting;
  }

  private sendAgain(link: SessionLink, part: RecordPart, now: number): Outgoing {
    this.kept.unqueue(part);
    const isNext = link.lastSent === part.record.number - 1;
    const stamp = this.onSent(link, part, now);
    const header = this.headerOf(link, part, stamp, isNext, now);
    // A copy: a peer may acknowledge what it has not read, and then another session uses the slab.
    return { link, message: [joinOwned([encodeRecordHeader(header), ...cut(part)])] };
  }

  private onSent(link: SessionLink, part: RecordPart, now: number): SentStamp {
    this.several?.copies.onSent(part.length);
    // With several links, what is late is soon sent again.
    const mayWait =
      this.several === undefined && this.mux.peerKnowsMayWait && link.congestion.mayWait(part.length, now);
    return link.onSent(part, now, mayWait);
  }

  private headerOf(
    link: SessionLink,
    { record, offset, length }: RecordPart,
    { mayWait }: SentStamp,
    isNext: boolean,
    now: number,
  ): RecordHeader {
    const acknowledged = link.acks.isPending ? link.acks.take(now) : undefined;
    const { isLeaving: isLast } = link;
    const needsPlacement = record.placement !== undefined || !isNext || length < record.length;
    if (!needsPlacement) return { isNumbered: true, mayWait, isLast, acknowledged };
    const placement = record.placement ?? { number: record.number, floor: record.number - 1, followed: [] };
    const piece = length < record.length ? { offset, total: record.length } : undefined;
    return { isNumbered: true, mayWait, isLast, acknowledged, placement, piece };
  }

  private pollAcknowledgement(link: SessionLink, now: number): Outgoing | undefined {
    if (!link.acks.isDue(now)) return undefined;
    const header = { isNumbered: false, mayWait: false, acknowledged: link.acks.take(now) };
    return { link, message: [encodeRecordHeader(header)] };
  }
}

/** It may carry frames. */
function isUsable(link: SessionLink): boolean {
  return !link.isFull && !link.isUnwanted && !link.isPeerLeaving && !link.isStalled && !link.isSpent;
}

function mayPing(link: SessionLink): boolean {
  return !link.isFull && !link.isStalled;
}

/** The bytes of the part. */
function cut({ record, offset, length }: RecordPart): readonly Uint8Array[] {
  const { pieces } = record.stored;
  if (length === record.length) return pieces;
  return [Buffer.concat(pieces).subarray(offset, offset + length)];
}
