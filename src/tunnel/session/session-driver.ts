/**
 * Drives one session over one MessageLink at a time: feeds it records and time, sends what it has to say, and shows its
 * streams as Duplexes. It decides nothing about streams, targets or reconnecting: it reports the loss of its link, and
 * is given the next one.
 *
 * It flushes once a turn of the event loop: small frames of many sockets share a record, without a wait, because
 * `setImmediate` runs right after the sockets of the turn were read.
 */
import { type Clock, systemClock } from '../../clock.ts';
import type { WireFaultName } from '../../errors.ts';
import { releaseAll } from '../../memory/pieces.ts';
import type { MuxConfig, ResumeConfig } from '../../mux/config.ts';
import type { MuxEvent } from '../../mux/events.ts';
import { ResumableSession } from '../../mux/resumable-session.ts';
import type { RetransmitMemory } from '../../mux/retransmit-store.ts';
import type { MuxSession } from '../../mux/session.ts';
import type { Logger } from '../../observability/logger.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';
import type { StreamAcceptor, Target, TunnelStream } from '../stream/stream.ts';
import { LinkSupervisor, type SupervisorOwner } from './link-supervisor.ts';
import type { StreamsOwner } from './open-streams.ts';
import { PendingStreams } from './pending-streams.ts';

export interface SessionOptions {
  readonly mux: MuxConfig;
  readonly resume: ResumeConfig;
  /** Shared by all sessions of the process. */
  readonly replayMemory: RetransmitMemory;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  /** The name of the access entry at the other end, if this is an exit's end. */
  readonly peer?: string;
  /** Takes the peer's offers; a client's end has none, and refuses them. */
  readonly acceptor?: StreamAcceptor;
  /** Once, when the session is over and all streams were told. */
  onEnd(fault: WireFaultName): void;
  /** The link is lost; streams wait for the next one. Not called after the end. */
  onLinkLost?(): void;
  /** Bytes are on their way and nothing comes back: another link should be tried beside this one. Once a link. */
  onLinkStalled?(): void;
  /** Once, when the peer's HELLO was received. */
  onEstablished?(): void;
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

/** For a link that is not the current one any more: what still comes on it is dropped. */
const IGNORE: MessageLinkHandler = { handleMessage: releaseAll, handleDrain() {}, handleClose() {} };

export class SessionDriver implements MessageLinkHandler, StreamsOwner, SupervisorOwner {
  readonly clock: Clock;
  readonly supervisor: LinkSupervisor;
  private readonly session: ResumableSession;
  private readonly mux: MuxSession;
  /** Undefined until the first stream: an idle session should cost little. */
  private pending: PendingStreams | undefined;
  private whenIdle: (() => void)[] | undefined;
  private link: MessageLink | undefined;
  private lastRemote = 'no link';
  private linkFull = false;
  private flushScheduled = false;
  private handlingEvents = false;
  private endedWith: WireFaultName | undefined;
  private tornDown = false;

  constructor(private readonly options: SessionOptions) {
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.session = new ResumableSession(options.mux, options.resume, options.replayMemory, clock.now());
    this.mux = this.session.mux;
    this.supervisor = new LinkSupervisor(this.session, options.onLinkStalled !== undefined, this);
  }

  /** The other end of the link, or of the last one, for logs. */
  get remote(): string {
    return this.lastRemote;
  }

  /** Of the latest ping, ms. */
  get roundTripMs(): number | undefined {
    return this.mux.roundTripMs;
  }

  get streamCount(): number {
    return this.pending?.streams.size ?? 0;
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

  /** Takes the link's handler, and aborts the old link. False, and the session is over, where the ends do not fit. */
  attachLink(link: MessageLink, { peerReceived, saidReceived }: LinkStart): boolean {
    this.takeLink()?.abort();
    this.pending?.handleLinkChanged();
    const fits = this.session.attach(peerReceived, saidReceived, this.clock.now());
    if (fits) {
      this.link = link;
      this.lastRemote = link.remote;
      this.linkFull = false;
      this.supervisor.handleLink();
      link.setHandler(this);
    }
    this.scheduleFlush();
    return fits;
  }

  /** Aborts the link, if there is one. */
  dropLink(): void {
    const link = this.takeLink();
    if (link === undefined) return;
    link.abort();
    this.handleLinkLost();
  }

  private takeLink(): MessageLink | undefined {
    const { link } = this;
    this.link = undefined;
    link?.setHandler(IGNORE);
    return link;
  }

  // ── MessageLinkHandler ─────────────────────────────────────────────────────────────────────────────────────────────

  handleMessage(message: Message): void {
    const now = this.clock.now();
    this.supervisor.handleMessage(message, now);
    this.session.handleMessage(message, now);
    this.handleEvents();
    this.scheduleFlush();
  }

  handleDrain(): void {
    this.linkFull = false;
    this.flush();
  }

  handleClose(reason: LinkCloseReason): void {
    this.options.logger.debug({ remote: this.lastRemote, ...reason }, 'link closed');
    this.link = undefined;
    this.handleLinkLost();
  }

  private handleLinkLost(): void {
    this.session.detach(this.clock.now());
    this.pending?.handleLinkChanged();
    this.flush();
    if (!this.mux.isOver) this.options.onLinkLost?.();
  }

  // ── SupervisorOwner ────────────────────────────────────────────────────────────────────────────────────────────────

  handleLinkDead(): void {
    this.options.logger.info({ remote: this.lastRemote }, 'the link stopped answering');
    this.dropLink();
  }

  handleLinkStalled(): void {
    this.options.logger.debug({ remote: this.lastRemote }, 'the link may have stalled');
    this.options.onLinkStalled?.();
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** As `StreamOpener.open`, on this session. */
  open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    return this.pendingStreams.open(target, signal);
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
    this.options.onNoMoreStreams?.();
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
    this.sendAll();
    this.handleEvents();
    if (this.mux.isOver) this.tearDown();
    else this.supervisor.schedule(this.linkFull);
    this.checkIdle();
  }

  private sendAll(): void {
    const { link } = this;
    if (link === undefined) return;
    const now = this.clock.now();
    // GO_AWAY, the last frame, is sent even if the link is full.
    while (!this.linkFull || this.mux.isOver) {
      const message = this.session.pollMessage(now);
      if (!message) return;
      this.linkFull = !link.send(message);
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
      case 'finish':
      case 'finish-sent':
        return this.pending?.streams.handleEvent(event);
      case 'reset':
        this.pending?.streams.handleEvent(event);
        return this.pending?.cancelOffer(event.stream);
      case 'opened':
        return this.pending?.handleOpened(event.stream);
      case 'open-failed':
        return this.pending?.handleOpenFailed(event.stream, event.fault);
      case 'offer':
        return this.handleOffer(event.stream, event.target);
      case 'cancelled':
        return this.pending?.cancelOffer(event.stream);
      case 'established':
        // With a GO_AWAY right after the HELLO the session is over before anyone could use it.
        return this.mux.isOver ? undefined : this.options.onEstablished?.();
      case 'peer-draining':
        return this.options.onNoMoreStreams?.();
      case 'ended':
        this.endedWith = event.fault;
    }
  }

  private handleOffer(id: number, target: Target): void {
    const { acceptor, peer = '' } = this.options;
    if (acceptor === undefined) this.mux.refuse(id, 'dial-not-allowed');
    else this.pendingStreams.handleOffer(id, target, peer, acceptor);
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private tearDown(): void {
    const fault = this.endedWith;
    if (fault === undefined || this.tornDown) return;
    this.tornDown = true;
    this.supervisor.stop();
    this.takeLink()?.close();
    // The peer will not ask for retransmissions any more.
    this.session.end(fault);
    this.pending?.end(fault);
    this.options.onEnd(fault);
  }

  private checkIdle(): void {
    const isDone = this.mux.isOver || (this.mux.isIdle && this.session.retransmitBytes === 0);
    if (this.whenIdle === undefined || !isDone) return;
    for (const resolve of this.whenIdle) resolve();
    this.whenIdle = undefined;
  }
}
