/**
 * One end of a session: many streams over one frame stream (docs/protocol.md §6 to §9). A pure state machine: no
 * sockets, no timers, no clock; every `now` is in ms of one monotonic clock.
 *
 * Calling order. After anything that comes in (`handleRecord`, `handleTimeout`) and after any call of the owner
 * (`open`, `accept`, `write`, …): take all of `pollEvent`; send what `pollRecord` gives, until it gives nothing or the
 * link is full; call `handleTimeout` again at `nextTimeout`. Nothing in here calls out, so no call can come in while
 * another runs.
 *
 * It must not know what carries its records, who the peer is, or what a target means.
 */
import { faultOfSessionCode, faultOfStreamCode, type WireFaultName } from '../errors.ts';
import { type Piece, release } from '../memory/pieces.ts';
import { copiedIfSmall } from '../memory/small-parts.ts';
import { FrameDecoder, type FrameHandler, type Verdict } from '../protocol/frame-decoder.ts';
import {
  FEATURE_MAY_WAIT,
  MAX_CREDIT_BYTES,
  MAX_RECORD_BYTES,
  MAX_STREAM_ID,
  MIN_CREDIT_BYTES,
  PROTOCOL_VERSION,
  STREAMS_BEFORE_HELLO,
} from '../protocol/frames.ts';
import { encodeHost, type Target } from '../protocol/target.ts';
import { checkMuxConfig, type MuxConfig } from './config.ts';
import type { MuxEvent, Opened } from './events.ts';
import { GiveUps } from './give-ups.ts';
import { LateResets } from './late-resets.ts';
import { LazyMap, LazySet } from './lazy-collections.ts';
import { Liveness } from './liveness.ts';
import { LATE_FRAMES_OF_REFUSED, LATE_FRAMES_OF_STREAM, PeerBudgets } from './peer-budgets.ts';
import { ReceiveWindows } from './receive-windows.ts';
import { RecordWriter, type WriteScope } from './record-writer.ts';
import { Scheduler } from './scheduler.ts';
import { StreamState } from './stream-state.ts';

/** Each link begins with a ping of either end, so the peer sends one and answers one. */
const PINGS_OF_LINK = 2;

export class MuxSession implements FrameHandler {
  private readonly config: MuxConfig;
  private readonly decoder = new FrameDecoder();
  private readonly streams = new LazyMap<number, StreamState>();
  /** Streams that ended before their owner consumed all that came: they hold memory, so they keep their place. */
  private readonly unread = new LazyMap<number, StreamState>();
  /** Offers whose place is not free: the owner has not called `release`, or the stream lives on. */
  private readonly unreleased = new LazySet<number>();
  private readonly windows: ReceiveWindows;
  private readonly scheduler = new Scheduler();
  private readonly budgets: PeerBudgets;
  private readonly liveness: Liveness;
  private readonly writer: RecordWriter;
  private readonly lateResets: LateResets;
  private readonly giveUps: GiveUps;
  private events: MuxEvent[] = [];
  private nextEvent = 0;

  private lastLocalId: number;
  private lastPeerId = 0;
  private localStreams = 0;
  private peerMaxStreams = STREAMS_BEFORE_HELLO;
  private peerFeatures = 0;
  private draining = false;
  private peerDraining = false;
  private over = false;
  private hadLink = false;
  /** Of the call under way; frames are handled at the time of their record. */
  private now: number;

  constructor(config: MuxConfig, now: number) {
    this.config = checkMuxConfig(config);
    this.now = now;
    this.lastLocalId = config.role === 'client' ? -1 : 0;
    this.windows = new ReceiveWindows(config);
    this.budgets = new PeerBudgets(config, now);
    this.liveness = new Liveness(config, now);
    this.writer = new RecordWriter(config, this.scheduler, this.windows, this.liveness);
    this.lateResets = new LateResets(config.resetWaitMs);
    this.giveUps = new GiveUps(config.giveUpRate, now);
    this.writer.push({ type: 'hello', maxStreams: config.maxStreams });
  }

  get isOver(): boolean {
    return this.over;
  }

  /** The peer understands records whose acknowledgement may wait. */
  get peerKnowsMayWait(): boolean {
    return (this.peerFeatures & FEATURE_MAY_WAIT) !== 0;
  }

  /** Nothing is open, and nothing waits to be sent. */
  get isIdle(): boolean {
    return this.streams.size === 0 && this.unreleased.size === 0 && this.writer.isEmpty;
  }

  /** Of the latest ping, ms; undefined before the first pong. */
  get roundTripMs(): number | undefined {
    return this.liveness.roundTripMs;
  }

  /** Something waits that `pollUrgent` would give: ask before it is worth a call. */
  get hasUrgent(): boolean {
    return this.writer.hasUrgent;
  }

  // ── from the link ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The frames of a record, or any piece of them, in order. Takes the piece. */
  handleRecord(piece: Piece, now: number): void {
    if (this.over) return;
    this.now = now;
    const fault = this.decoder.decode(piece, this);
    if (fault !== undefined) this.fail(fault);
    else this.checkControlQueue();
  }

  /** Time has passed: call at or after `nextTimeout`, when everything that the link had was handed in. */
  handleTimeout(now: number): void {
    this.now = now;
    if (this.streams.size === 0) this.liveness.handleNoStreams();
    this.liveness.handleTimeout(now);
    for (const stream of this.lateResets.overdue(now)) this.resetNow(stream, 'target-reset');
    if (this.isIdle) this.writer.rest();
  }

  /** Something of the peer has come, whatever it was. */
  handleAlive(now: number): void {
    this.liveness.handleBytes(now);
  }

  /** A link carries the session from now on; before the first one, and between two, nobody is there to fall silent. */
  handleAttached(now: number): void {
    this.liveness.start(now);
    this.lateResets.restart(now);
    if (this.hadLink) this.budgets.pings.give(PINGS_OF_LINK);
    this.hadLink = true;
  }

  handleDetached(): void {
    this.liveness.stop();
    this.writer.rest();
  }

  /** The link has brought nothing for longer than its limit. */
  isPeerSilent(now: number): boolean {
    return this.liveness.isDead(now);
  }

  /** A round trip that was measured elsewhere, ms: receive windows grow by it. */
  handleRoundTrip(roundTripMs: number | undefined): void {
    if (roundTripMs === undefined) return;
    this.windows.roundTripMs = roundTripMs;
    this.liveness.pathRoundTripMs = roundTripMs;
  }

  /** Whether the peer answers where it was asked whether it is there. */
  get probing(): Pick<Liveness, 'unansweredAt' | 'heardAt'> {
    return this.liveness;
  }

  private noteTransfer(now: number): void {
    if (this.config.role === 'client') this.liveness.handleTransfer(now);
  }

  /** A record that held nothing. */
  handleUselessRecord(now: number): void {
    if (!this.over && !this.budgets.useless.take(now)) this.fail('peer-flood');
  }

  /** When to call `handleTimeout` and then `pollRecord`; Infinity when there is nothing to wait for. */
  nextTimeout(): number {
    if (this.over) return Number.POSITIVE_INFINITY;
    return Math.min(this.liveness.nextTimeout(), this.lateResets.nextTimeout());
  }

  // ── from the owner ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks the peer for a stream; `opened` or `open-failed` follows. */
  open(target: Target, now: number): Opened {
    if (this.over || this.draining || this.peerDraining) return { refused: 'shutting-down' };
    if (this.localStreams >= Math.min(this.peerMaxStreams, this.config.maxStreams)) return { refused: 'dial-busy' };
    if (this.lastLocalId + 2 > MAX_STREAM_ID) return { refused: 'out-of-ids' };
    if (!encodeHost(target)) return { refused: 'dial-bad-target' };
    if (!this.giveUps.take(now)) return { heldUntil: this.giveUps.retryAt(now) };
    this.lastLocalId += 2;
    this.localStreams += 1;
    const stream = new StreamState(this.lastLocalId, target, 'opening');
    this.streams.set(stream.id, stream);
    this.noteTransfer(now);
    this.writer.push({ type: 'open', stream: stream.id, credit: this.windows.admit(stream, now), target });
    return { stream: stream.id };
  }

  /** False if the offer is gone already. */
  accept(id: number, now: number): boolean {
    const stream = this.streams.get(id);
    if (stream?.phase !== 'offered') return false;
    stream.phase = 'open';
    this.writer.push({ type: 'opened', stream: id, credit: this.windows.admit(stream, now) });
    return true;
  }

  refuse(id: number, fault: WireFaultName): void {
    const stream = this.streams.get(id);
    if (stream?.phase !== 'offered') return;
    this.close(stream);
    this.writer.push({ type: 'open-failed', stream: id, fault });
  }

  /**
   * Nothing of an offered stream is left: no socket, no dial. Its place is free as soon as nothing is left of it here.
   */
  release(id: number): void {
    const stream = this.streams.get(id) ?? this.unread.get(id);
    if (stream) stream.released = true;
    else this.unreleased.delete(id);
  }

  /**
   * Takes the bytes in any case. False: enough is queued, wait for `writable`. Without effect on a stream that is gone.
   */
  write(id: number, bytes: Piece): boolean {
    const stream = this.streams.get(id);
    if (stream?.phase !== 'open' || stream.finishWanted || stream.resetWanted) return true;
    stream.queue.push(bytes);
    this.scheduler.add(stream);
    stream.ownerWaits = stream.queue.bytes >= this.sendQueueLimit;
    return !stream.ownerWaits;
  }

  /** No more writes; FINISH follows what is queued. */
  finish(id: number): void {
    const stream = this.streams.get(id);
    if (stream?.phase !== 'open' || stream.resetWanted) return;
    stream.finishWanted = true;
    this.scheduler.add(stream);
  }

  /**
   * Ends both directions of a stream in any state, and its owner hears no more of it. `target-reset`, the reset of a
   * socket, goes out behind what is queued; with any other fault that is lost.
   */
  reset(id: number, fault: WireFaultName, now: number): void {
    const stream = this.streams.get(id);
    if (!stream) return this.dropUnread(id);
    const isQueued = stream.phase === 'open' && (stream.queue.bytes > 0 || stream.owesFinish);
    if (fault !== 'target-reset' || !isQueued) return this.resetNow(stream, fault);
    if (stream.resetWanted) return;
    stream.resetWanted = true;
    stream.ownerWaits = false;
    this.lateResets.note(stream, now);
    this.scheduler.add(stream);
    this.consume(id, stream.held, now);
  }

  private resetNow(stream: StreamState, fault: WireFaultName): void {
    const { phase, granted, id } = stream;
    this.close(stream);
    if (phase === 'opening' && this.writer.retractOpen(id)) return this.giveUps.giveBack();
    if (phase === 'opening') this.giveUps.spend();
    this.budgets.allowLate(granted);
    this.writer.push({ type: phase === 'offered' ? 'open-failed' : 'reset', stream: id, fault });
  }

  /** So many bytes of `data` events have been used: they may be replaced. */
  consume(id: number, bytes: number, now: number): void {
    const stream = this.streams.get(id) ?? this.unread.get(id);
    if (!stream) return;
    this.windows.consume(stream, bytes, now);
    if (stream.phase === 'closed' && stream.held === 0) this.dropUnread(id);
    else if (this.windows.owes(stream)) this.writer.owesCredit(stream);
  }

  /** Takes no more streams; those that live go on (docs/protocol.md §6). */
  drain(): void {
    if (this.over || this.draining) return;
    this.draining = true;
    this.writer.push({ type: 'go-away', fault: 'shutting-down', lastStream: this.lastPeerId });
  }

  /** Ends the session from this side: one GO_AWAY, then nothing. All streams end uncleanly. */
  fail(fault: WireFaultName): void {
    if (this.over) return;
    this.writer.replaceAll({ type: 'go-away', fault, lastStream: this.lastPeerId });
    this.end(fault);
  }

  /** The link is gone: as `fail`, with nobody left to tell. */
  handleLinkLost(fault: WireFaultName): void {
    if (this.over) return;
    this.writer.clear();
    this.end(fault);
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  pollEvent(): MuxEvent | undefined {
    const event = this.events[this.nextEvent];
    this.nextEvent += 1;
    if (event !== undefined) return event;
    this.events = [];
    this.nextEvent = 0;
    return undefined;
  }

  /**
   * The next record to send, or undefined when there is nothing to say now. It is at most `maxBytes` long, at least
   * 512; a DATA frame has at most `frameBytes` of payload, at least 1: how long one stream may hold the link before the
   * next has its turn.
   */
  pollRecord(
    now: number,
    maxBytes = MAX_RECORD_BYTES,
    frameBytes = this.config.maxDataBytes,
  ): readonly Piece[] | undefined {
    return this.poll(now, maxBytes, frameBytes, 'all');
  }

  /**
   * As `pollRecord`, without bulk: what is worth sending although the path is full, because it is little and somebody
   * waits for it. How much of it, beyond what the path may hold, is the caller's to bound.
   */
  pollUrgent(
    now: number,
    maxBytes = MAX_RECORD_BYTES,
    frameBytes = this.config.maxDataBytes,
  ): readonly Piece[] | undefined {
    return this.poll(now, maxBytes, frameBytes, 'quiet');
  }

  private poll(now: number, maxBytes: number, frameBytes: number, share: WriteScope): readonly Piece[] | undefined {
    this.checkControlQueue();
    const { record, served } = this.writer.poll(now, maxBytes, frameBytes, this.over ? 'control' : share);
    if (served.size > 0) this.noteTransfer(now);
    for (const stream of served) this.afterSending(stream, now);
    return record;
  }

  /**
   * Asked where frames come in too: a peer that does not read keeps the link full, and then nobody polls for records.
   */
  private checkControlQueue(): void {
    if (this.writer.isFlooded) this.fail('peer-flood');
  }

  private afterSending(stream: StreamState, now: number): void {
    if (stream.phase === 'closed') return;
    if (stream.resetWanted) this.afterSendingLate(stream, now);
    else if (stream.finishSent) {
      this.events.push({ type: 'finish-sent', stream: stream.id });
      if (stream.finishReceived) this.closeWithUnread(stream);
    } else if (stream.ownerWaits && stream.queue.bytes * 2 <= this.sendQueueLimit) {
      stream.ownerWaits = false;
      this.events.push({ type: 'writable', stream: stream.id });
    }
  }

  private afterSendingLate(stream: StreamState, now: number): void {
    if (!stream.resetSent) return this.lateResets.note(stream, now);
    this.budgets.allowLate(stream.granted);
    this.close(stream);
  }

  /** Each stream has an equal share of the budget, so that streams without credit cannot stop the others. */
  private get sendQueueLimit(): number {
    const share = this.config.sendBudgetBytes / Math.max(1, this.streams.size);
    return Math.max(this.config.minSendQueueBytes, Math.min(this.config.maxSendQueueBytes, share));
  }

  // ── frames (called by the decoder) ─────────────────────────────────────────────────────────────────────────────────

  handleHello(version: number, maxStreams: number, features: number): Verdict {
    if (version !== PROTOCOL_VERSION) return 'bad-version';
    this.peerMaxStreams = maxStreams;
    this.peerFeatures = features;
    this.events.push({ type: 'established' });
    return undefined;
  }

  handleOpen(id: number, credit: number, target: Target | undefined): Verdict {
    const peerIsOdd = this.config.role === 'exit';
    if ((id % 2 === 1) !== peerIsOdd || id <= this.lastPeerId) return 'bad-stream-id';
    if (credit > MAX_CREDIT_BYTES) return 'credit-overflow';
    this.lastPeerId = id;
    if (this.config.role === 'client') return this.refuseOpen(id, 'dial-not-allowed');
    if (this.draining) return this.refuseOpen(id, 'shutting-down');
    const { opens, abandons } = this.budgets;
    const isBusy = !opens.take(this.now) || abandons.isEmpty(this.now);
    if (isBusy || this.unreleased.size >= this.config.maxStreams) return this.refuseOpen(id, 'dial-busy');
    if (!target) return this.refuseOpen(id, 'dial-bad-target');
    const stream = new StreamState(id, target, 'offered');
    stream.sendCredit = credit;
    this.streams.set(id, stream);
    this.unreleased.add(id);
    this.events.push({ type: 'offer', stream: id, target });
    return undefined;
  }

  /** Leaves nothing behind but the answer, and counts: a peer that heeds our HELLO hardly ever needs it. */
  private refuseOpen(id: number, fault: WireFaultName): Verdict {
    this.budgets.allowLateFrames(LATE_FRAMES_OF_REFUSED);
    this.writer.push({ type: 'open-failed', stream: id, fault });
    return this.countAbandoned();
  }

  private countAbandoned(): Verdict {
    const { abandons, refusals } = this.budgets;
    return abandons.take(this.now) || refusals.take(this.now) ? undefined : 'peer-flood';
  }

  handleOpened(id: number, credit: number): Verdict {
    const stream = this.streams.get(id);
    if (!stream) return this.judgeLate(id);
    if (stream.phase !== 'opening') return 'wrong-state';
    if (credit > MAX_CREDIT_BYTES) return 'credit-overflow';
    stream.phase = 'open';
    stream.sendCredit = credit;
    this.noteTransfer(this.now);
    this.giveUps.giveBack();
    this.events.push({ type: 'opened', stream: id });
    return undefined;
  }

  handleOpenFailed(id: number, code: number): Verdict {
    const stream = this.streams.get(id);
    if (!stream) return this.judgeLate(id);
    if (stream.phase !== 'opening') return 'wrong-state';
    this.giveUps.giveBack();
    this.close(stream);
    this.events.push({ type: 'open-failed', stream: id, fault: faultOfStreamCode(code) });
    return undefined;
  }

  handleDataHeader(id: number, length: number): Verdict {
    const stream = this.streams.get(id);
    if (!stream) return this.judgeLateData(id, length);
    if (stream.phase !== 'open' || stream.finishReceived) return 'wrong-state';
    if (length === 0) return this.countUseless();
    return this.windows.receive(stream, length) ? undefined : 'window-exceeded';
  }

  handleData(id: number, bytes: Piece): void {
    this.noteTransfer(this.now);
    const stream = this.streams.get(id);
    // The stream may have been reset by the owner between two pieces of one frame.
    const isWanted = stream !== undefined && !stream.resetWanted;
    if (isWanted) return void this.events.push({ type: 'data', stream: id, bytes: copiedIfSmall(bytes) });
    const { length } = bytes;
    release(bytes);
    if (stream !== undefined) this.consume(id, length, this.now);
  }

  handleCredit(id: number, increment: number): Verdict {
    if (increment === 0 || increment > MAX_CREDIT_BYTES) return 'credit-overflow';
    const stream = this.streams.get(id);
    // Late credit of a useful size is free, as on an open stream: how much of it is on its way, only the peer knows.
    if (!stream && increment >= MIN_CREDIT_BYTES && this.isSeen(id)) return undefined;
    if (!stream) return this.judgeLate(id);
    if (stream.phase !== 'open') return 'wrong-state';
    if (stream.sendCredit + increment > MAX_CREDIT_BYTES) return 'credit-overflow';
    stream.sendCredit += increment;
    this.scheduler.add(stream);
    return increment < MIN_CREDIT_BYTES ? this.countUseless() : undefined;
  }

  handleFinish(id: number): Verdict {
    const stream = this.streams.get(id);
    if (!stream) return this.judgeLate(id);
    if (stream.phase !== 'open' || stream.finishReceived) return 'wrong-state';
    stream.finishReceived = true;
    if (!stream.resetWanted) this.events.push({ type: 'finish', stream: id });
    if (stream.finishSent) this.closeWithUnread(stream);
    return undefined;
  }

  handleReset(id: number, code: number): Verdict {
    const stream = this.streams.get(id);
    if (!stream) return this.judgeLate(id);
    const { phase } = stream;
    if (phase === 'opening') return 'wrong-state';
    const fault = faultOfStreamCode(code);
    // What came before the reset of a socket is still to be delivered.
    if (phase === 'open' && fault === 'target-reset') this.closeWithUnread(stream);
    else this.close(stream);
    if (phase === 'open') {
      if (!stream.resetWanted) this.events.push({ type: 'reset', stream: id, fault });
      return undefined;
    }
    this.events.push({ type: 'withdrawn', stream: id, fault });
    return this.countAbandoned();
  }

  handlePing(opaque: Uint8Array): Verdict {
    if (!this.budgets.pings.take(this.now)) return 'peer-flood';
    this.writer.owesPong(opaque);
    return undefined;
  }

  handlePong(opaque: Uint8Array): Verdict {
    this.liveness.handlePong(opaque, this.now);
    this.windows.roundTripMs = this.liveness.roundTripMs ?? this.windows.roundTripMs;
    return this.budgets.pings.take(this.now) ? undefined : 'peer-flood';
  }

  handleGoAway(code: number, lastStream: number): Verdict {
    const fault = faultOfSessionCode(code);
    if (fault !== 'shutting-down') {
      this.writer.clear();
      this.end(fault);
      // What follows in the same record must not be handled any more: a verdict is what stops the decoder.
      return fault;
    }
    if (this.peerDraining) return this.countUseless();
    this.peerDraining = true;
    this.events.push({ type: 'peer-draining' });
    for (const stream of [...this.streams.values()]) {
      if (stream.phase === 'opening' && stream.id > lastStream) this.abandonOpening(stream, fault);
    }
    return undefined;
  }

  handleIgnorable(): Verdict {
    return this.countUseless();
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private countUseless(): Verdict {
    return this.budgets.useless.take(this.now) ? undefined : 'peer-flood';
  }

  /** A frame for a stream that is not in the table: it crossed our closing on the way, or it is a fault. */
  private judgeLate(id: number): Verdict {
    return this.isSeen(id) ? this.countUseless() : 'bad-stream-id';
  }

  private judgeLateData(id: number, length: number): Verdict {
    if (!this.isSeen(id)) return 'bad-stream-id';
    if (length === 0) return this.countUseless();
    return this.budgets.takeLate(length) ? undefined : 'window-exceeded';
  }

  private isSeen(id: number): boolean {
    return this.isLocal(id) ? id <= this.lastLocalId : id <= this.lastPeerId;
  }

  private isLocal(id: number): boolean {
    return (id % 2 === 1) === (this.config.role === 'client');
  }

  private abandonOpening(stream: StreamState, fault: WireFaultName): void {
    this.close(stream);
    this.giveUps.giveBack();
    this.writer.retractOpen(stream.id);
    this.events.push({ type: 'open-failed', stream: stream.id, fault });
  }

  /** Whatever its owner still holds of it is of no more use. */
  private close(stream: StreamState): void {
    this.leaveTable(stream);
    this.freePlace(stream);
  }

  /** Nothing more comes or goes. What the owner has not consumed yet is still memory of the session. */
  private closeWithUnread(stream: StreamState): void {
    this.leaveTable(stream);
    if (stream.held === 0) return this.freePlace(stream);
    this.windows.revoke(stream);
    this.unread.set(stream.id, stream);
  }

  private leaveTable(stream: StreamState): void {
    stream.phase = 'closed';
    stream.queue.clear();
    this.lateResets.delete(stream);
    this.streams.delete(stream.id);
    this.budgets.allowLateFrames(LATE_FRAMES_OF_STREAM);
  }

  private dropUnread(id: number): void {
    const stream = this.unread.get(id);
    if (!stream) return;
    this.unread.delete(id);
    this.freePlace(stream);
  }

  private freePlace(stream: StreamState): void {
    this.windows.forget(stream);
    if (this.isLocal(stream.id)) this.localStreams -= 1;
    else if (stream.released) this.unreleased.delete(stream.id);
  }

  private end(fault: WireFaultName): void {
    this.over = true;
    for (const stream of [...this.streams.values()]) {
      const { phase, id } = stream;
      this.close(stream);
      if (stream.resetWanted) continue;
      const type = phase === 'opening' ? 'open-failed' : phase === 'offered' ? 'withdrawn' : 'reset';
      this.events.push({ type, stream: id, fault });
    }
    for (const id of [...this.unread.keys()]) this.dropUnread(id);
    this.scheduler.clear();
    this.events.push({ type: 'ended', fault });
  }
}
