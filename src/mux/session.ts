/**
 * One end of a session: many streams over one frame stream (docs/protocol.md §6 to §9). A pure state machine: no
 * sockets, no timers, no clock; every `now` is in ms of one monotonic clock.
 *
 * Calling order. After anything that comes in (`handleRecord`, `handleTimeout`) and after any call of the owner
 * (`open`, `accept`, `write`, …): take all of `pollEvent`; send what `pollRecord` returns, until it returns nothing or
 * the link is full; call `handleTimeout` again at `nextTimeout`. Nothing in here calls out, so no call can come in
 * while another runs.
 *
 * It must not know what carries its records, who the peer is, or what a target means.
 */
import type { WireFaultName } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import { addressBytes } from '../protocol/datagrams.ts';
import {
  FEATURE_DATAGRAMS,
  FEATURE_LINKS,
  FEATURE_MAY_WAIT,
  FEATURE_RELAYS,
  FEATURE_SERVICES,
  MAX_DATAGRAM_BYTES,
  MAX_RECORD_BYTES,
} from '../protocol/frames.ts';
import { encodeRelays, type ToldRelays } from '../protocol/relays.ts';
import { featuresFor, hasBytes, isConnected, type OpenRequest, type Service } from '../protocol/services.ts';
import { encodeHost, type Target } from '../protocol/target.ts';
import type { MuxConfig } from './config.ts';
import type { RecordRoom } from './datagram-writer.ts';
import type { MuxEvent, Opened } from './events.ts';
import { FrameReceiver } from './frame-receiver.ts';
import { LazySet } from './lazy-collections.ts';
import { LITTLE_BYTES } from './links/record-order.ts';
import type { Liveness } from './liveness.ts';
import type { WriteScope } from './record-writer.ts';
import { SessionParts } from './session-parts.ts';
import type { StreamState } from './stream-state.ts';

/** Each link begins with a ping of either end, so the peer sends one and answers one. */
const PINGS_OF_LINK = 2;

export class MuxSession {
  private readonly parts: SessionParts;
  private readonly receiver: FrameReceiver;
  private over = false;
  private hadLink = false;
  private sentData = false;
  /** Associations that end when their last datagram has gone. */
  private readonly ending = new LazySet<StreamState>();

  constructor(config: MuxConfig, now: number) {
    this.parts = new SessionParts(config, now);
    this.receiver = new FrameReceiver(this.parts);
    const always = FEATURE_MAY_WAIT | FEATURE_DATAGRAMS | FEATURE_SERVICES;
    const ofClients = config.role === 'client' ? FEATURE_RELAYS : 0;
    const features = always | ofClients | (config.maxLinks > 1 ? FEATURE_LINKS : 0);
    this.parts.writer.push({ type: 'hello', maxStreams: config.maxStreams, features });
  }

  get isOver(): boolean {
    return this.over;
  }

  get peerKnowsMayWait(): boolean {
    return (this.receiver.peerFeatures & FEATURE_MAY_WAIT) !== 0;
  }

  /** Both ends know how to use several links at once. */
  get mayHaveLinks(): boolean {
    return this.parts.config.maxLinks > 1 && (this.receiver.peerFeatures & FEATURE_LINKS) !== 0;
  }

  /** The peer's HELLO has come, and has not offered what the service needs. */
  lacks(service: Service): boolean {
    const needed = featuresFor(service);
    return this.receiver.isGreeted && (this.receiver.peerFeatures & needed) !== needed;
  }

  /** What has been received ends where a frame ends. */
  get isBetweenFrames(): boolean {
    return this.receiver.isBetweenFrames;
  }

  /** From now on `topics` has what the latest record was about, or no more. */
  trackTopics(isWanted: boolean): void {
    this.parts.writer.topics = isWanted ? new Set() : undefined;
  }

  /** What is sent again has taken a turn of bulk. */
  passTurn(): void {
    this.parts.scheduler.passTurn(({ queue }) => queue.bytes <= LITTLE_BYTES);
  }

  get topics(): ReadonlySet<number> | undefined {
    return this.parts.writer.topics;
  }

  /** The latest record has bytes of streams. */
  get hasSentData(): boolean {
    return this.sentData;
  }

  /** Tells the peer how many links this end could use, and how many bytes it can receive on each; 0: any number. */
  wantLinks(wanted: number, maxBytes: number): void {
    if (!this.over && this.mayHaveLinks) this.parts.writer.push({ type: 'links', wanted, maxBytes });
  }

  /** Tells a client of relays that lead here. No effect where its HELLO has not come, or does not offer it. */
  tellRelays(told: ToldRelays): void {
    if (this.over || (this.receiver.peerFeatures & FEATURE_RELAYS) === 0) return;
    this.parts.writer.push({ type: 'relays', payload: encodeRelays(told) });
  }

  /** Nothing is open, and nothing waits to be sent. */
  get isIdle(): boolean {
    const { streams, writer } = this.parts;
    return streams.size === 0 && streams.peerStreams === 0 && writer.isEmpty;
  }

  /** Of the latest ping, ms; undefined before the first pong. */
  get roundTripMs(): number | undefined {
    return this.parts.liveness.roundTripMs;
  }

  /** `pollUrgent` has something to send: ask before, because most calls would return nothing. */
  get hasUrgent(): boolean {
    return this.parts.writer.hasUrgent;
  }

  // ── from the link ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The frames of a record, or any piece of them, in order. Takes the piece. */
  handleRecord(piece: Piece, now: number): void {
    if (this.over) return;
    const fault = this.receiver.handleRecord(piece, now);
    if (fault === undefined) this.checkControlQueue();
    else if (this.receiver.isEndedByPeer) this.handleLinkLost(fault);
    else this.fail(fault);
  }

  /** Time has passed: call at or after `nextTimeout`, when everything that the link had was handed in. */
  handleTimeout(now: number): void {
    const { streams, liveness, lateResets } = this.parts;
    if (streams.size === 0) liveness.handleNoStreams();
    liveness.handleTimeout(now);
    for (const stream of lateResets.overdue(now)) this.resetNow(stream, 'target-reset');
  }

  /** A link carries the session from now on. While there is none, the silence of the peer means nothing. */
  handleAttached(now: number): void {
    this.parts.liveness.start(now);
    this.parts.lateResets.restart(now);
    if (this.hadLink) this.parts.budgets.pings.add(PINGS_OF_LINK);
    this.hadLink = true;
  }

  handleDetached(): void {
    this.parts.liveness.stop();
    this.parts.writer.releaseBuffers();
  }

  /** As often as configured, or so often, ms, if that is more often. */
  pingEvery(ms: number): void {
    this.parts.liveness.pingEvery(ms);
  }

  /** `pong` follows, unless the session loses its links or ends. The peer answers 20 a second. */
  pingNow(): void {
    if (!this.over) this.parts.liveness.pingNow();
  }

  /** A round trip that was measured elsewhere, ms: receive windows grow by it. */
  handleRoundTrip(roundTripMs: number | undefined): void {
    if (roundTripMs === undefined) return;
    this.parts.windows.roundTripMs = roundTripMs;
    this.parts.liveness.pathRoundTripMs = roundTripMs;
  }

  /** Tell it what comes from the peer; it knows whether the link is dead, and whether probes are answered. */
  get liveness(): Pick<Liveness, 'handleBytes' | 'isDead' | 'unansweredAt' | 'heardAt' | 'hurry'> {
    return this.parts.liveness;
  }

  handleNoOpRecord(now: number): void {
    if (!this.over && !this.parts.budgets.noOps.acquire(now)) this.fail('peer-flood');
  }

  /** When to call `handleTimeout` and then `pollRecord`; Infinity when there is nothing to wait for. */
  nextTimeout(): number {
    if (this.over) return Number.POSITIVE_INFINITY;
    return Math.min(this.parts.liveness.nextTimeout(), this.parts.lateResets.nextTimeout());
  }

  // ── from the owner ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks the peer for a stream; `opened` or `open-failed` follows. */
  open(target: Target, now: number, more: Omit<OpenRequest, 'target'> = { service: 'tcp' }): Opened {
    const { config, streams, windows, liveness, writer, rapidResets } = this.parts;
    const { isDraining, isPeerDraining, peerMaxStreams } = this.receiver;
    if (this.over || isDraining || isPeerDraining) return { refused: 'shutting-down' };
    if (streams.localStreams >= Math.min(peerMaxStreams, config.maxStreams)) return { refused: 'dial-busy' };
    if (!streams.hasIds) return { refused: 'out-of-ids' };
    if (!encodeHost(target)) return { refused: 'dial-bad-target' };
    const features = featuresFor(more.service);
    if ((this.receiver.peerFeatures & features) !== features) return { refused: 'service-unknown' };
    if (!rapidResets.acquire(now)) return { heldUntil: rapidResets.retryAt(now) };
    const request = { ...more, target };
    const stream = streams.openLocal(request);
    liveness.handleTransfer(now);
    const credit = hasBytes(more.service) ? windows.admit(stream, now) : 0;
    writer.push({ type: 'open', stream: stream.id, credit, request });
    // By a single link its datagrams follow it; another link could overtake it.
    if (stream.datagrams !== undefined) stream.datagrams.isReady = this.topics === undefined;
    return { stream: stream.id };
  }

  /** False if the offer is gone already. @param bound of a listener: where it listens */
  accept(id: number, now: number, bound?: Target): boolean {
    const stream = this.parts.streams.get(id);
    if (stream?.phase !== 'offered') return false;
    stream.phase = 'open';
    if (stream.datagrams !== undefined) stream.datagrams.isReady = true;
    const credit = hasBytes(stream.service) ? this.parts.windows.admit(stream, now) : 0;
    this.parts.writer.push({ type: 'opened', stream: id, credit, bound });
    return true;
  }

  /**
   * Takes the content. It is dropped where the association is gone, no record can hold it, or it waits for too long.
   * @param address where it goes, or came from; undefined where the association is connected
   */
  sendDatagram(id: number, content: Piece, address: Target | undefined, now: number): void {
    const stream = this.parts.streams.get(id);
    if (stream?.datagrams === undefined || stream.finishWanted || stream.phase === 'offered') return;
    if ((address === undefined) !== isConnected(stream.service, stream.target)) return;
    const headed = address === undefined ? 0 : addressBytes(address);
    const isTooLong = content.length + headed > MAX_DATAGRAM_BYTES;
    if (isTooLong || (address !== undefined && encodeHost(address) === undefined)) return;
    stream.datagrams.push({ address, content, at: now });
    if (stream.datagrams.sendable) this.parts.datagrams.add(stream.datagrams);
  }

  /** Datagrams wait: ask before `pollDatagrams`. */
  get hasDatagrams(): boolean {
    return this.parts.hasDatagrams;
  }

  /**
   * The next record of datagrams, which is not numbered; undefined where nothing is to be sent, or streams have their
   * turn before. @param isLast streams have nothing to send
   */
  pollDatagrams(now: number, room: RecordRoom, isLast: boolean): readonly Piece[] | undefined {
    // An OPEN may be among what waits.
    if (this.over || this.parts.writer.hasControl) return undefined;
    const record = this.parts.datagrams.poll(now, room, isLast);
    if (record !== undefined) this.parts.liveness.handleTransfer(now);
    for (const stream of this.ending) {
      if (stream.datagrams?.isEmpty === false) continue;
      this.ending.delete(stream);
      this.parts.scheduler.add(stream);
    }
    return record;
  }

  /** The frames of a record that is not numbered, only lent. */
  handleDatagrams(record: Buffer, now: number): void {
    if (!this.over && !this.receiver.handleDatagrams(record, now)) this.fail('bad-record');
  }

  refuse(id: number, fault: WireFaultName): void {
    const stream = this.parts.streams.get(id);
    if (stream?.phase !== 'offered') return;
    this.parts.streams.close(stream);
    this.parts.writer.push({ type: 'open-failed', stream: id, fault });
  }

  /** This end has asked for it, and waits for the answer. */
  isOpening(id: number): boolean {
    return this.parts.streams.get(id)?.phase === 'opening';
  }

  /** It is one of those with DATA. */
  hasStreamBytes(id: number): boolean {
    const stream = this.parts.streams.get(id);
    return stream === undefined || hasBytes(stream.service);
  }

  /** The peer asks for it, and waits for the answer. */
  isOffered(id: number): boolean {
    return this.parts.streams.get(id)?.phase === 'offered';
  }

  /** The owner has no socket and no dial of an offer any more. Its slot is free when it is closed here, too. */
  release(id: number): void {
    this.parts.streams.release(id);
  }

  /** Takes the bytes in any case. False: enough is queued, wait for `writable`. No effect on a closed stream. */
  write(id: number, bytes: Piece): boolean {
    const stream = this.parts.streams.get(id);
    if (stream?.phase !== 'open' || stream.finishWanted || stream.resetWanted) return true;
    stream.queue.push(bytes);
    this.parts.scheduler.add(stream);
    stream.ownerWaits = stream.queue.bytes >= this.sendQueueLimit;
    return !stream.ownerWaits;
  }

  /** No more writes and datagrams; FINISH follows what is queued. */
  finish(id: number): void {
    const stream = this.parts.streams.get(id);
    if (stream?.phase !== 'open' || stream.resetWanted) return;
    stream.finishWanted = true;
    if (stream.datagrams?.isEmpty === false) this.ending.add(stream);
    this.parts.scheduler.add(stream);
  }

  /** In any phase; no more events follow. `target-reset`, that of a socket, follows what is queued; others drop it. */
  reset(id: number, fault: WireFaultName, now: number): void {
    const { streams, lateResets, scheduler } = this.parts;
    const stream = streams.get(id);
    if (!stream) return streams.dropUnread(id);
    const isQueued = stream.phase === 'open' && (stream.queue.bytes > 0 || stream.hasPendingFinish);
    if (fault !== 'target-reset' || !isQueued) return this.resetNow(stream, fault);
    if (stream.resetWanted) return;
    stream.resetWanted = true;
    stream.ownerWaits = false;
    lateResets.note(stream, now);
    scheduler.add(stream);
    this.consume(id, stream.held, now);
  }

  private resetNow(stream: StreamState, fault: WireFaultName): void {
    const { streams, budgets, writer, rapidResets } = this.parts;
    const { phase, granted, id } = stream;
    streams.close(stream);
    if (phase === 'opening' && writer.retractOpen(id)) return rapidResets.release();
    if (phase === 'opening') rapidResets.spend();
    budgets.allowLateBytes(granted);
    writer.push({ type: phase === 'offered' ? 'open-failed' : 'reset', stream: id, fault });
  }

  /** So many bytes of `data` events have been used: the peer may send more. */
  consume(id: number, bytes: number, now: number): void {
    const due = this.parts.streams.consume(id, bytes, now);
    if (due) this.parts.writer.pushCredit(due);
  }

  /** Takes no more streams; live ones continue (docs/protocol.md §6). */
  drain(): void {
    if (this.over || this.receiver.isDraining) return;
    this.receiver.isDraining = true;
    this.parts.writer.push({ type: 'go-away', fault: 'shutting-down', lastStream: this.parts.streams.lastPeerId });
  }

  /** Ends the session from this side: one GO_AWAY, then nothing. All streams end uncleanly. */
  fail(fault: WireFaultName): void {
    if (this.over) return;
    this.parts.writer.replaceAll({ type: 'go-away', fault, lastStream: this.parts.streams.lastPeerId });
    this.end(fault);
  }

  /** As `fail`, but nothing can be sent to the peer any more. */
  handleLinkLost(fault: WireFaultName): void {
    if (this.over) return;
    this.parts.writer.clear();
    this.end(fault);
  }

  private end(fault: WireFaultName): void {
    const { streams, scheduler, events } = this.parts;
    this.over = true;
    for (const stream of streams.all()) {
      const { phase, id } = stream;
      streams.close(stream);
      if (stream.resetWanted) continue;
      const type = phase === 'opening' ? 'open-failed' : phase === 'offered' ? 'cancelled' : 'reset';
      events.push({ type, stream: id, fault });
    }
    streams.dropAllUnread();
    scheduler.clear();
    if (this.parts.hasDatagrams) this.parts.datagrams.clear();
    this.ending.clear();
    events.push({ type: 'ended', fault });
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  pollEvent(): MuxEvent | undefined {
    return this.parts.events.poll();
  }

  /**
   * The next record to send, or undefined when there is nothing to send now. It is at most `maxBytes` long, at least
   * 512; a DATA frame has at most `frameBytes` of payload, at least 1: how long one stream may hold the link before the
   * next has its turn.
   */
  pollRecord(
    now: number,
    maxBytes = MAX_RECORD_BYTES,
    frameBytes = this.parts.config.maxDataBytes,
  ): readonly Piece[] | undefined {
    return this.poll(now, maxBytes, frameBytes, 'all');
  }

  /** As `pollRecord`, without bulk: small frames that someone waits for. The caller limits what exceeds the window. */
  pollUrgent(now: number, maxBytes: number, frameBytes: number): readonly Piece[] | undefined {
    return this.poll(now, maxBytes, frameBytes, 'quiet');
  }

  private poll(now: number, maxBytes: number, frameBytes: number, scope: WriteScope): readonly Piece[] | undefined {
    this.checkControlQueue();
    const { writer, liveness } = this.parts;
    const { record, served } = writer.poll(now, maxBytes, frameBytes, this.over ? 'control' : scope);
    if (record === undefined && this.isIdle) writer.releaseBuffers();
    this.sentData = served.size > 0;
    if (this.sentData) liveness.handleTransfer(now);
    for (const stream of served) this.afterSending(stream, now);
    return record;
  }

  /** Called where frames come in, too: a peer that does not read keeps the link full, and then no record is polled. */
  private checkControlQueue(): void {
    if (this.parts.writer.isFlooded) this.fail('peer-flood');
  }

  private afterSending(stream: StreamState, now: number): void {
    if (stream.phase === 'closed') return;
    const { streams, events } = this.parts;
    if (stream.resetWanted) this.afterSendingLate(stream, now);
    else if (stream.finishSent) {
      events.push({ type: 'finish-sent', stream: stream.id });
      if (stream.finishReceived) streams.closeWithUnread(stream);
    } else if (stream.ownerWaits && stream.queue.bytes * 2 <= this.sendQueueLimit) {
      stream.ownerWaits = false;
      events.push({ type: 'writable', stream: stream.id });
    }
  }

  private afterSendingLate(stream: StreamState, now: number): void {
    if (!stream.resetSent) return this.parts.lateResets.note(stream, now);
    this.parts.budgets.allowLateBytes(stream.granted);
    this.parts.streams.close(stream);
  }

  /** Each stream has an equal share of the budget, so that streams without credit cannot stop the others. */
  private get sendQueueLimit(): number {
    const { config, streams } = this.parts;
    const share = config.sendBudgetBytes / Math.max(1, streams.size);
    return Math.max(config.minSendQueueBytes, Math.min(config.maxSendQueueBytes, share));
  }
}
