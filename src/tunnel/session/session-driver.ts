/**
 * Drives one session over its MessageLinks: feeds it records and time, sends what it has to say, and shows its streams
 * as Duplexes. It decides nothing about streams, targets or links: it reports a lost link, and is given the next one.
 *
 * It flushes once a turn of the event loop, so that small frames of many sockets share a record, without a wait.
 */
import { type Clock, systemClock } from '../../clock.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';
import type { MuxConfig, StallTimes } from '../../mux/config.ts';
import type { MuxEvent } from '../../mux/events.ts';
import type { ResumeConfig } from '../../mux/links/resume-config.ts';
import type { RetransmitMemory } from '../../mux/links/retransmit-store.ts';
import type { SessionLink as LinkState } from '../../mux/links/session-link.ts';
import { ResumableSession } from '../../mux/resumable-session.ts';
import type { MuxSession } from '../../mux/session.ts';
import type { Logger } from '../../observability/logger.ts';
import type { ToldRelays } from '../../protocol/relays.ts';
import type { OpenRequest } from '../../protocol/services.ts';
import type { LinkCloseReason, Message, MessageLink } from '../../transport/message-link.ts';
import type { EndedLink, LinkEnd, LinkUse } from '../reconnect/link-limits.ts';
import type { MuxStream } from '../stream/mux-stream.ts';
import type { SessionServices } from '../stream/services.ts';
import type { StreamAcceptor, Target, TunnelStream } from '../stream/stream.ts';
import { CarryingLink, type CarryingLinkOwner } from './carrying-link.ts';
import { endedLink, isStaying, quickestOf, type RoundTrip } from './link-facts.ts';
import { LinkSupervisor, type SupervisorOwner } from './link-supervisor.ts';
import type { StreamsOwner, Transferred } from './open-streams.ts';
import { PendingStreams } from './pending-streams.ts';
import { SessionPings } from './session-pings.ts';

/** The same for many sessions. */
export interface SessionOptions {
  readonly mux: MuxConfig;
  readonly resume: ResumeConfig;
  /** Shared by all sessions of the process. */
  readonly replayMemory: RetransmitMemory;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  /** Takes the peer's offers; a client's end has none, and takes what its listeners accept. */
  readonly acceptor?: StreamAcceptor;
}

/** Of one session. */
export interface SessionOwner {
  /** The name of the access entry at the other end, if this is an exit's end. */
  readonly peer?: string;
  /** Once, when the session is over and all streams were told. */
  onEnd(fault: WireFaultName): void;
  /** The last link is lost; streams wait for the next one. Not called after the end. */
  onLinkLost?(): void;
  /** There is one link more or less, at least one is left, or the peer wants to be without one. Only at a client. */
  onLinkCount?(): void;
  /** A link has ended that was still wanted. Only at a client. */
  onLinkEnded?(link: EndedLink): void;
  /** So many links are of use, to this end or to the peer. Only at a client. */
  onLinksWanted?(wanted: number): void;
  /** Bytes are on their way and nothing comes back: another link should be tried beside this one. Once a link. */
  onLinkStalled?(): void;
  /** Once, when the peer's HELLO was received. */
  onEstablished?(): void;
  /** The exit knows these relays, which were not checked. Only at a client. */
  onRelays?(told: ToldRelays): void;
  /** The session can open no more streams: the peer drains, or the ids are used up. Open streams go on. */
  onNoMoreStreams?(): void;
}

/** How far both ends are when a new link begins (docs/protocol.md §10). */
export interface LinkStart {
  /** Numbered records of ours that the peer has. */
  readonly peerReceived: number;
  /** Numbered records of the peer that we have said we have. */
  readonly saidReceived: number;
}

/** Of the time after which silent connections are cut: something is sent so often, and not more often than this, ms. */
const PING_SHARE = 0.5;
const LEAST_PING_MS = 2_000;

/** A link that the peer leaves with so much of what it may carry has carried enough. */
const SPENT_SHARE = 0.8;

export class SessionDriver implements CarryingLinkOwner, StreamsOwner, SupervisorOwner {
  readonly clock: Clock;
  readonly supervisor: LinkSupervisor;
  private readonly session: ResumableSession;
  private readonly mux: MuxSession;
  /** Undefined until the first stream: an idle session should cost little. */
  private pending: PendingStreams | undefined;
  private whenIdle: (() => void)[] | undefined;
  /** Undefined until the first one. */
  private pings: SessionPings | undefined;
  private links: readonly CarryingLink[] = [];
  private lastRemote = 'no link';
  /** How many links are of use to this end, and to the peer. */
  private wantedHere = 1;
  private wantedByPeer = 1;
  /** The peer is not to send more on a link, bytes; 0: any number. */
  private maxReceivedBytes = 0;
  private flushScheduled = false;
  private handlingEvents = false;
  private endedWith: WireFaultName | undefined;
  private tornDown = false;

  constructor(
    private readonly options: SessionOptions,
    private readonly owner: SessionOwner,
  ) {
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.session = new ResumableSession(options.mux, options.resume, options.replayMemory, clock.now());
    this.mux = this.session.mux;
    this.supervisor = new LinkSupervisor(this.session, owner.onLinkStalled !== undefined, this);
  }

  /** The other end of the link, or of the last one, for logs. */
  get remote(): string {
    return this.lastRemote;
  }

  /** Of the latest ping, ms. */
  get roundTripMs(): number | undefined {
    return this.mux.roundTripMs;
  }

  /** Of the link with the shortest one now, else of the latest ping. */
  get quickestRoundTrip(): RoundTrip | undefined {
    const pinged = this.roundTripMs;
    return quickestOf(this.linkStates) ?? (pinged === undefined ? undefined : { now: pinged, min: pinged });
  }

  /** The round trip of a ping that is sent now, ms. Rejects with `ping-lost` or the fault of the session's end. */
  ping(limitMs: number, signal: AbortSignal): Promise<number> {
    if (signal.aborted) return Promise.reject(new WstunError('dial-cancelled'));
    this.pings ??= new SessionPings(this.clock);
    const answered = this.pings.add(limitMs, signal);
    this.mux.pingNow();
    this.scheduleFlush();
    return answered;
  }

  /** Those that are open now, the oldest first. */
  get openStreams(): Iterable<MuxStream> {
    return this.pending?.streams.all ?? [];
  }

  /** Payload of all its streams so far. */
  get transferred(): Transferred {
    return this.pending?.transferred() ?? { sent: 0, received: 0 };
  }

  /** The oldest of its links that it is not leaving, if there is one. */
  get oldestLink(): MessageLink | undefined {
    return (this.links.find(({ state }) => isStaying(state)) ?? this.links[0])?.link;
  }

  get streamCount(): number {
    return this.pending?.streams.size ?? 0;
  }

  get associationCount(): number {
    return this.pending?.associationCount ?? 0;
  }

  get isOver(): boolean {
    return this.mux.isOver;
  }

  get isAttached(): boolean {
    return this.session.isAttached;
  }

  /** Streams that the end of the session has reset. */
  get streamsAborted(): number {
    return this.pending?.streams.abortedCount ?? 0;
  }

  /** Numbered records of the peer that were received, for the request or answer on a new link. */
  get received(): number {
    return this.session.received;
  }

  /** As of ResumableSession. */
  fits(peerReceived: number): boolean {
    return this.session.fits(peerReceived);
  }

  holdAcknowledgements(): void {
    this.session.holdAcknowledgements();
  }

  releaseAcknowledgements(): void {
    this.session.releaseAcknowledgements();
    this.scheduleFlush();
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes the link's handler, and aborts all old links. False, and the session is over, where the ends do not fit. */
  attachLink(link: MessageLink, { peerReceived, saidReceived }: LinkStart): boolean {
    if (this.supervisor.isStalled) for (const old of this.links) this.reportEnded(old, 'froze');
    for (const old of this.takeLinks()) old.abort();
    this.pending?.handleLinkChanged();
    const state = this.session.attach(peerReceived, saidReceived, this.clock.now());
    if (state !== undefined) this.addLink(link, state);
    this.scheduleFlush();
    return state !== undefined;
  }

  /** As of ResumableSession. */
  mayJoin(peerReceived: number): boolean {
    return this.session.mayJoin(peerReceived);
  }

  /** One more link, whose handler it takes. False where `mayJoin` is. @param way as of CarryingLink */
  joinLink(link: MessageLink, peerReceived: number, way?: string): boolean {
    const state = this.session.join(peerReceived, this.clock.now());
    if (state === undefined) return false;
    this.addLink(link, state, way);
    this.scheduleFlush();
    this.owner.onLinkCount?.();
    return true;
  }

  /** The same, and the session goes on with this link alone, without a gap: it leaves all others. */
  moveToLink(link: MessageLink, peerReceived: number): boolean {
    const state = this.session.join(peerReceived, this.clock.now());
    if (state === undefined) return false;
    this.addLink(link, state);
    this.leaveAllBut(link);
    this.owner.onLinkCount?.();
    return true;
  }

  private addLink(link: MessageLink, state: LinkState, way?: string): void {
    // Without room to grow, which would cost an idle session 130 bytes.
    this.links = this.links.concat(new CarryingLink(link, state, this, way));
    this.lastRemote = link.remote;
    this.supervisor.handleLink();
  }

  get linkCount(): number {
    return this.links.length;
  }

  /** The oldest first. */
  get eachLink(): readonly MessageLink[] {
    return this.links.map(({ link }) => link);
  }

  /**
   * The way of each link that is likely to stay: neither end wants to be without it, and it is not as old as
   * `maxAgeMs`.
   */
  stayingWays(maxAgeMs: number): readonly string[] {
    const now = this.clock.now();
    return this.links.filter(({ state }) => state.isFresh && now - state.beganAt < maxAgeMs).map(({ way }) => way);
  }

  /** When the next link is as old as that, by the clock. */
  nextAgedAt(maxAgeMs: number): number {
    return Math.min(...this.links.filter(({ state }) => isStaying(state)).map(({ state }) => state.beganAt + maxAgeMs));
  }

  /** Goes on without links that are as old as that. */
  leaveAged(maxAgeMs: number): void {
    const now = this.clock.now();
    for (const { state } of this.links) if (now - state.beganAt >= maxAgeMs) this.session.leave(state);
    this.scheduleFlush();
  }

  /** What this network lets links carry: nothing more is sent on them, here or by the peer. */
  limitLinks({ received, sent, idleMs }: LinkUse): void {
    this.maxReceivedBytes = Number.isFinite(received) ? Math.floor(received) : 0;
    this.session.limitLinks(sent, received);
    this.session.pingEvery(Math.max(LEAST_PING_MS, idleMs * PING_SHARE));
    this.mux.wantLinks(this.wantedHere, this.maxReceivedBytes);
    this.scheduleFlush();
  }

  /** Both ends know how to use several links. */
  get knowsLinks(): boolean {
    return this.mux.mayHaveLinks;
  }

  /** Whether it can have one more link: both ends know how, and it has fewer than it may. */
  get canJoin(): boolean {
    return this.session.canJoin;
  }

  /** Aborts the link on which nothing has come for the longest time, if that is more than `ms`. */
  dropSilentLink(ms: number): void {
    const now = this.clock.now();
    const [quietest] = [...this.links].sort((a, b) => a.state.heardAt - b.state.heardAt);
    if (quietest !== undefined && now - quietest.state.heardAt > ms) this.dropLink(quietest);
  }

  /** Goes on without the newest link, of this way or of all, without a gap, unless it is the only one. */
  leaveNewestLink(way?: string): void {
    const newest = this.links.findLast((link) => !link.state.isUnwanted && (way === undefined || link.way === way));
    if (newest !== undefined) this.session.leave(newest.state);
    this.scheduleFlush();
  }

  /** Goes on with this link only, without a gap. */
  leaveAllBut(kept: MessageLink): void {
    for (const link of this.links) if (link.link !== kept) this.session.leave(link.state);
    this.scheduleFlush();
  }

  /** What is known of the links that carry it now. */
  get linkStates(): readonly LinkState[] {
    return this.links.map(({ state }) => state);
  }

  /** As of MuxSession. */
  tellRelays(told: ToldRelays): void {
    this.mux.tellRelays(told);
    this.scheduleFlush();
  }

  /** As of ResumableSession. */
  hurry(times: StallTimes | undefined): void {
    this.session.hurry(times);
    this.scheduleFlush();
  }

  /** Aborts all links, if there are any. */
  dropLinks(): void {
    for (const link of [...this.links]) this.dropLink(link);
  }

  private dropLink(link: CarryingLink): void {
    this.remove(link);
    link.abort();
    this.handleLinkLost(link);
  }

  private reportEnded({ state }: CarryingLink, how: LinkEnd): void {
    if (isStaying(state) || how === 'slowed') this.owner.onLinkEnded?.(endedLink(state, how, this.clock.now()));
  }

  private remove(link: CarryingLink): void {
    this.links = this.links.filter((other) => other !== link);
  }

  private takeLinks(): readonly CarryingLink[] {
    const { links } = this;
    this.links = [];
    for (const link of links) link.ignore();
    return links;
  }

  // ── CarryingLinkOwner ──────────────────────────────────────────────────────────────────────────────────────────────

  handleLinkMessage(link: CarryingLink, message: Message): void {
    const now = this.clock.now();
    this.supervisor.handleMessage(message, now);
    const { state } = link;
    const wasFresh = state.isFresh;
    const wasStaying = !wasFresh && isStaying(state);
    const hasRoom = this.session.handleMessage(state, message, now);
    if ((wasFresh || wasStaying) && state.isPeerLeaving) this.handlePeerLeaving(link);
    this.handleEvents();
    if (!hasRoom) this.dropLink(link);
    if (wasFresh && !state.isFresh) this.owner.onLinkCount?.();
    this.scheduleFlush();
  }

  private handlePeerLeaving(link: CarryingLink): void {
    const isSpent = this.maxReceivedBytes > 0 && link.state.receivedBytes >= this.maxReceivedBytes * SPENT_SHARE;
    if (!isSpent) this.reportEnded(link, 'slowed');
    this.owner.onLinkCount?.();
  }

  private checkLinksWanted(): void {
    const { linksWanted } = this.session;
    if (linksWanted === this.wantedHere) return;
    this.wantedHere = linksWanted;
    if (this.options.mux.role === 'exit') this.mux.wantLinks(linksWanted, 0);
    else this.reportLinksWanted();
  }

  private reportLinksWanted(): void {
    this.owner.onLinksWanted?.(Math.max(this.wantedHere, this.wantedByPeer));
  }

  handleLinkClose(link: CarryingLink, reason: LinkCloseReason): void {
    this.options.logger.debug({ remote: link.remote, ...reason }, 'link closed');
    // An exit drops it as soon as another one is asked for.
    this.reportEnded(link, this.supervisor.isStalled ? 'froze' : 'lost');
    this.remove(link);
    this.handleLinkLost(link);
  }

  private handleLinkLost({ state }: CarryingLink): void {
    this.session.detach(state, this.clock.now());
    if (!this.session.isAttached) this.pending?.handleLinkChanged();
    this.flush();
    if (this.mux.isOver) return;
    if (this.session.isAttached) this.owner.onLinkCount?.();
    else this.owner.onLinkLost?.();
  }

  // ── SupervisorOwner ────────────────────────────────────────────────────────────────────────────────────────────────

  handleLinkDead(): void {
    this.options.logger.info({ remote: this.lastRemote }, 'the link stopped answering');
    this.dropLinks();
  }

  handleLinksStalled(stalled: readonly LinkState[]): void {
    for (const link of this.links.filter(({ state }) => stalled.includes(state))) {
      this.options.logger.debug({ remote: link.remote }, 'one of several links stopped answering');
      this.reportEnded(link, 'froze');
      this.dropLink(link);
    }
  }

  handleLinkStalled(): void {
    this.options.logger.debug({ remote: this.lastRemote }, 'the link may have stalled');
    this.owner.onLinkStalled?.();
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** As `StreamOpener.open`, on this session. */
  open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    return this.pendingStreams.open(target, signal);
  }

  /** What it carries beside TCP connections that this end asks for. */
  get services(): SessionServices {
    return this.pendingStreams;
  }

  /** Gives up all streams that have no answer yet. */
  cancelOpens(fault: WireFaultName): void {
    this.pending?.cancelOpens(fault);
  }

  private get pendingStreams(): PendingStreams {
    this.pending ??= new PendingStreams(this.mux, this.supervisor, this);
    return this.pending;
  }

  handleOutOfIds(): void {
    this.handleNoMoreStreams();
  }

  private handleNoMoreStreams(): void {
    this.owner.onNoMoreStreams?.();
    if (this.options.mux.role === 'client') this.pending?.endServices();
  }

  /** No more streams; resolves when the open ones have ended, or the session has. The caller sets the limit. */
  drain(): Promise<void> {
    this.mux.drain();
    this.scheduleFlush();
    return new Promise((resolve) => {
      this.whenIdle ??= [];
      this.whenIdle.push(resolve);
      this.checkIdle();
    });
  }

  /** Ends the session at once: the peer is told, all streams are reset. */
  end(fault: WireFaultName): void {
    this.mux.fail(fault);
    this.flush();
  }

  // ── flushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  scheduleFlush(): void {
    // Also after the end: GO_AWAY must still be sent, and the link closed.
    if (this.flushScheduled || this.tornDown) return;
    this.flushScheduled = true;
    setImmediate(SessionDriver.endTurn, this);
  }

  /** Static: an idle session needs no closure for it. */
  private static endTurn(driver: SessionDriver): void {
    driver.flushScheduled = false;
    driver.flush();
  }

  flush(): void {
    this.checkLinksWanted();
    this.sendAll();
    this.handleEvents();
    if (this.mux.isOver) this.tearDown();
    else this.supervisor.schedule();
    this.checkIdle();
  }

  private sendAll(): void {
    if (this.links.length === 0) return;
    const now = this.clock.now();
    for (let next = this.session.poll(now); next !== undefined; next = this.session.poll(now)) {
      const { link, message } = next;
      this.carrierOf(link)?.send(message);
    }
    if (this.links.length > 1) this.closeLeft();
  }

  private carrierOf(state: LinkState): CarryingLink | undefined {
    const [first] = this.links;
    return first?.state === state ? first : this.links.find((link) => link.state === state);
  }

  /** Both ends go on without them, if not all. The client closes them; the exit only if that takes too long. */
  private closeLeft(): void {
    if (this.options.mux.role !== 'client') return;
    for (const link of this.links) {
      if (this.links.length === 1 || !link.state.hasLeft) continue;
      this.remove(link);
      link.close();
      this.session.detach(link.state, this.clock.now());
      this.owner.onLinkCount?.();
    }
  }

  // ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private handleEvents(): void {
    if (this.handlingEvents) return;
    this.handlingEvents = true;
    for (let event = this.mux.pollEvent(); event; event = this.mux.pollEvent()) this.handleEvent(event);
    this.handlingEvents = false;
  }

  private handleEvent(event: MuxEvent): void {
    switch (event.type) {
      case 'data':
      case 'writable':
      case 'finish-sent':
        return this.pending?.streams.handleEvent(event);
      case 'finish':
        return this.pending?.handleFinish(event);
      case 'reset':
        return this.pending?.handleReset(event);
      case 'datagram':
        return this.pending?.handleDatagram(event);
      case 'opened':
        return this.pending?.handleOpened(event.stream, event.bound);
      case 'open-failed':
        return this.pending?.handleOpenFailed(event.stream, event.fault);
      case 'offer':
        return this.handleOffer(event.stream, event.request);
      case 'cancelled':
        return this.pending?.cancelOffer(event.stream);
      case 'established':
        // With a GO_AWAY right after the HELLO the session is over before anyone could use it.
        return this.mux.isOver ? undefined : this.owner.onEstablished?.();
      case 'links-wanted':
        return this.handleLinksWanted(event.wanted, event.maxBytes);
      case 'relays':
        return this.owner.onRelays?.(event.told);
      case 'pong':
        return this.pings?.handlePong(event.roundTripMs);
      case 'peer-draining':
        return this.handleNoMoreStreams();
      case 'ended':
        this.endedWith = event.fault;
    }
  }

  private handleOffer(id: number, request: OpenRequest): void {
    this.pendingStreams.handleOffer(id, request, this.owner.peer ?? '', this.options.acceptor);
  }

  private handleLinksWanted(wanted: number, maxBytes: number): void {
    this.wantedByPeer = wanted;
    if (this.options.mux.role === 'client') this.reportLinksWanted();
    else this.session.limitLinks(maxBytes || Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private tearDown(): void {
    const fault = this.endedWith;
    if (fault === undefined || this.tornDown) return;
    this.tornDown = true;
    this.supervisor.stop();
    for (const link of this.takeLinks()) link.close();
    // The peer will not ask for retransmissions any more.
    this.session.end(fault);
    this.pending?.end(fault);
    this.pings?.end(fault);
    this.owner.onEnd(fault);
  }

  private checkIdle(): void {
    const isDone = this.mux.isOver || (this.mux.isIdle && this.session.retransmitBytes === 0);
    if (this.whenIdle === undefined || !isDone) return;
    for (const resolve of this.whenIdle) resolve();
    this.whenIdle = undefined;
  }
}
