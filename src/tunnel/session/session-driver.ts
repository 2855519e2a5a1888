/**
 * Joins one session to one MessageLink at a time: feeds it records and time, sends what it has to say, and shows its
 * streams as Duplexes. It decides nothing about streams, targets or reconnecting: it says when its link is lost, and is
 * given the next one.
 *
 * One flush a turn of the event loop: small frames of many sockets share a record, at the cost of no wait, because
 * `setImmediate` runs right after the sockets of the turn were read.
 */
import { performance } from 'node:perf_hooks';
import { type WireFaultName, WstunError } from '../../errors.ts';
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import type { MuxConfig, ResumeConfig } from '../../mux/config.ts';
import type { MuxEvent, Opened } from '../../mux/events.ts';
import { LazyMap } from '../../mux/lazy-collections.ts';
import { ResumableSession } from '../../mux/resumable-session.ts';
import type { RetransmitMemory } from '../../mux/retransmit-store.ts';
import type { MuxSession } from '../../mux/session.ts';
import type { Logger } from '../../observability/logger.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';
import { MuxStream, type StreamOwner } from '../stream/mux-stream.ts';
import { Offer } from '../stream/offer.ts';
import type { StreamAcceptor, Target, TunnelStream } from '../stream/stream.ts';
import { OpenQueue } from './open-queue.ts';

/** An exit that neither opens nor refuses: its dial and look-up limits add up to 15 s, and a slow path comes on top. */
const OPEN_ANSWER_MS = 20_000;
/**
 * For which a stream that is being opened waits for a link, or for a sign of life on it: as a connection does without a
 * session.
 */
const OPEN_LINK_MS = 10_000;

const STALL_CHECK_MS = 1_000;

export interface SessionOptions {
  readonly mux: MuxConfig;
  readonly resume: ResumeConfig;
  /** Shared by all sessions of the process. */
  readonly replayMemory: RetransmitMemory;
  readonly logger: Logger;
  /** The name of the access entry at the other end, if this is an exit's end. */
  readonly peer?: string;
  /** Takes the peer's offers; without one, none come (a client's end). */
  readonly acceptor?: StreamAcceptor;
  /** Once, when the session is over and all streams were told. */
  onEnd(fault: WireFaultName): void;
  /** The link is gone; streams wait for the next one. Not called behind the end. */
  onLinkLost?(): void;
  /** Bytes are on their way and nothing comes back: another link should be tried beside this one. Once a link. */
  onLinkStalled?(): void;
  /** Once, when the peer's HELLO has come. */
  onEstablished?(): void;
  /** The session can open no more streams: the peer drains, or the ids are used up. Those that live go on. */
  onNoMoreStreams?(): void;
}

interface PendingOpen {
  readonly target: Target;
  readonly since: number;
  /** The link went meanwhile. */
  interrupted: boolean;
  resolve(stream: TunnelStream): void;
  /** The exit's answer. */
  reject(error: WstunError): void;
  /** Without one. */
  giveUp(fault: WireFaultName): void;
}

/** How far both ends are when a new link begins (docs/protocol.md §10). */
export interface LinkStart {
  /** Numbered records of ours that the peer has. */
  readonly peerReceived: number;
  /** What we told the peer that we have of its own. */
  readonly saidReceived: number;
}

export class SessionDriver implements StreamOwner {
  private readonly options: SessionOptions;
  private readonly session: ResumableSession;
  private readonly mux: MuxSession;
  private readonly streams = new LazyMap<number, MuxStream>();
  private readonly opening = new LazyMap<number, PendingOpen>();
  private readonly offers = new LazyMap<number, Offer>();
  private readonly whenIdle: (() => void)[] = [];
  /** Only an end that opens streams has one. */
  private line: OpenQueue | undefined;
  private link: MessageLink | undefined;
  private lastRemote = 'no link';
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private linkFull = false;
  /** When the last record came. */
  private heardAt = 0;
  private stallTold = false;
  /** Undefined while nobody asks. */
  private longest: number | undefined;
  private ackTimer: NodeJS.Timeout | undefined;
  private ackAt = Number.POSITIVE_INFINITY;
  private cut = 0;
  private flushScheduled = false;
  private handlingEvents = false;
  private endedWith: WireFaultName | undefined;
  private tornDown = false;

  constructor(options: SessionOptions) {
    this.options = options;
    this.session = new ResumableSession(options.mux, options.resume, options.replayMemory, performance.now());
    this.mux = this.session.mux;
    this.setTimer();
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
    return this.streams.size;
  }

  get isOver(): boolean {
    return this.mux.isOver;
  }

  get isAttached(): boolean {
    return this.session.isAttached;
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

  /** Bytes are on their way, and nothing comes back. */
  get isStalled(): boolean {
    return this.session.linkState(performance.now()) === 'suspect';
  }

  /** The link carries something both ways, and does not stall. */
  get isFruitful(): boolean {
    return this.session.isProven && !this.isStalled;
  }

  /** As of ResumableSession. */
  get waitingSince(): number {
    return this.session.waitingSince;
  }

  /** From now on `longestBytes` is kept, until the next link. */
  watchLengths(): void {
    this.longest = 0;
  }

  /** Of a message of the present link, since `watchLengths`. */
  get longestBytes(): number {
    return this.longest ?? 0;
  }

  /** Streams that the end of the session has reset. */
  get streamsCut(): number {
    return this.cut;
  }

  /** Numbered records of the peer that have come, for the request or answer on a new link. */
  get received(): number {
    return this.session.received;
  }

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A new link carries the session from now on, and the old one, if there still is one, is let go. Takes the link's
   * handler. False, and the session is over, where the two ends do not fit together any more.
   */
  attachLink(link: MessageLink, { peerReceived, saidReceived }: LinkStart): boolean {
    const old = this.link;
    this.link = undefined;
    old?.abort();
    for (const pending of this.opening.values()) pending.interrupted = true;
    const fits = this.session.attach(peerReceived, saidReceived, performance.now());
    if (fits) {
      this.link = link;
      this.lastRemote = link.remote;
      this.linkFull = false;
      this.stallTold = false;
      this.longest = undefined;
      link.setHandler(this.portOf(link));
    }
    this.scheduleFlush();
    return fits;
  }

  /** Gives the link up, if there is one. */
  dropLink(): void {
    this.link?.abort();
    this.handleLinkGone();
  }

  /** What comes on a link that is not the present one any more is of no interest. */
  private portOf(link: MessageLink): MessageLinkHandler {
    return {
      handleMessage: (message) => {
        if (this.link === link) this.handleMessage(message);
        else releaseAll(message);
      },
      handleDrain: () => {
        if (this.link !== link) return;
        this.linkFull = false;
        this.flush();
      },
      handleClose: (reason) => {
        if (this.link === link) this.handleClose(reason);
      },
    };
  }

  private handleMessage(message: Message): void {
    this.heardAt = performance.now();
    if (this.longest !== undefined) this.longest = Math.max(this.longest, bytesOf(message));
    this.session.handleMessage(message, this.heardAt);
    this.handleEvents();
    this.scheduleFlush();
  }

  private handleClose(reason: LinkCloseReason): void {
    this.options.logger.debug({ remote: this.lastRemote, ...reason }, 'link closed');
    this.handleLinkGone();
  }

  private handleLinkGone(): void {
    if (this.link === undefined) return;
    this.link = undefined;
    this.session.detach(performance.now());
    for (const pending of this.opening.values()) pending.interrupted = true;
    this.flush();
    if (!this.mux.isOver) this.options.onLinkLost?.();
  }

  /** As `StreamOpener.open`, on this session. */
  async open(target: Target, signal: AbortSignal): Promise<TunnelStream> {
    if (signal.aborted) throw new WstunError('dial-cancelled');
    this.line ??= new OpenQueue((wanted) => this.tryOpen(wanted));
    const opened = this.line.open(target, signal);
    // Without a wait the answer is awaited in the same turn.
    const id = typeof opened === 'number' ? opened : await opened;
    return this.awaitAnswer(id, target, signal);
  }

  private tryOpen(target: Target): Opened {
    const opened = this.mux.open(target, performance.now());
    if ('refused' in opened && opened.refused === 'out-of-ids') this.options.onNoMoreStreams?.();
    this.scheduleFlush();
    return opened;
  }

  private awaitAnswer(id: number, target: Target, signal: AbortSignal): Promise<TunnelStream> {
    return new Promise((resolve, reject) => {
      const giveUp = (fault: WireFaultName) => {
        this.mux.reset(id, 'dial-cancelled', performance.now());
        this.line?.noteGivenUp(target);
        this.scheduleFlush();
        settle();
        reject(new WstunError(fault));
      };
      const onAbort = () => giveUp('dial-cancelled');
      const pending: PendingOpen = {
        target,
        since: performance.now(),
        interrupted: false,
        resolve: (stream) => [settle(), resolve(stream)],
        reject: (error) => [settle(), reject(error)],
        giveUp,
      };
      const check = () => {
        const now = performance.now();
        const fault = this.faultOfOpening(pending, now);
        if (fault !== undefined) return giveUp(fault);
        timer = setTimeout(check, this.nextOpenCheck(pending, now) - now);
      };
      let timer = setTimeout(check, OPEN_LINK_MS);
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.opening.delete(id);
      };
      signal.addEventListener('abort', onAbort);
      this.opening.set(id, pending);
    });
  }

  /**
   * Why a stream that has no answer yet is to be given up, if it is. The target is to blame only where the link was
   * there and alive all the time: the exit itself says so within 15 s.
   */
  private faultOfOpening({ since, interrupted }: PendingOpen, now: number): WireFaultName | undefined {
    const isFine = this.session.linkState(now) === 'fine';
    const silentMs = now - Math.max(since, this.heardAt);
    if (!isFine && silentMs >= OPEN_LINK_MS) return 'not-connected';
    if (now - since < OPEN_ANSWER_MS) return undefined;
    if (!isFine) return 'not-connected';
    return interrupted ? 'link-lost' : 'dial-timed-out';
  }

  /** Where the link has been heard since, its silence counts from then on. */
  private nextOpenCheck({ since }: PendingOpen, now: number): number {
    const silentAt = Math.max(since, this.heardAt) + OPEN_LINK_MS;
    return Math.min(silentAt > now ? silentAt : since + OPEN_ANSWER_MS, since + OPEN_ANSWER_MS);
  }

  /** Gives up all streams that have no answer yet. */
  refuseOpening(fault: WireFaultName): void {
    for (const pending of [...this.opening.values()]) pending.giveUp(fault);
  }

  /** No more streams; resolves when those that live have ended, or the session has. The caller sets the limit. */
  drain(): Promise<void> {
    this.mux.drain();
    this.scheduleFlush();
    return new Promise((resolve) => {
      this.whenIdle.push(resolve);
      this.checkIdle();
    });
  }

  /** Ends the session at once: the peer is told, all streams are reset. */
  end(fault: WireFaultName): void {
    this.mux.fail(fault);
    this.flush();
  }

  // ── StreamOwner ────────────────────────────────────────────────────────────────────────────────────────────────────

  write(id: number, bytes: Piece): boolean {
    const more = this.mux.write(id, bytes);
    this.scheduleFlush();
    return more;
  }

  finish(id: number): void {
    this.mux.finish(id);
    this.scheduleFlush();
  }

  consume(id: number, bytes: number): void {
    this.mux.consume(id, bytes, performance.now());
    this.scheduleFlush();
  }

  forget(id: number, fault: WireFaultName): void {
    if (!this.streams.delete(id)) return;
    this.mux.reset(id, fault, performance.now());
    this.scheduleFlush();
  }

  // ── flushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private scheduleFlush(): void {
    // After the end too: GO_AWAY is still to be sent, and the link to be closed.
    if (this.flushScheduled || this.tornDown) return;
    this.flushScheduled = true;
    setImmediate(SessionDriver.endTurn, this);
  }

  /** Static, as the others that timers call: an idle session has no need of a closure for each. */
  private static endTurn(driver: SessionDriver): void {
    driver.flushScheduled = false;
    driver.flush();
  }

  private flush(): void {
    this.sendAll();
    this.handleEvents();
    if (this.mux.isOver) this.tearDown();
    else {
      this.awaitAcknowledgement();
      this.setTimer();
    }
    this.checkIdle();
  }

  private sendAll(): void {
    const { link } = this;
    if (link === undefined) return;
    const now = performance.now();
    // The last word, GO_AWAY, goes out whatever is queued.
    while (!this.linkFull || this.mux.isOver) {
      const message = this.session.pollMessage(now);
      if (!message) return;
      this.linkFull = !link.send(message);
    }
  }

  /**
   * One timer serves all: only an earlier time needs a new one, and setting it anew in each turn would cost more than
   * it saves.
   */
  private awaitAcknowledgement(): void {
    const at = this.linkFull ? Number.POSITIVE_INFINITY : this.session.acknowledgementAt();
    if (at >= this.ackAt) return;
    clearTimeout(this.ackTimer);
    this.ackAt = at;
    this.ackTimer = setTimeout(SessionDriver.acknowledge, Math.ceil(at - performance.now()), this);
    this.ackTimer.unref();
  }

  private static acknowledge(driver: SessionDriver): void {
    driver.ackTimer = undefined;
    driver.ackAt = Number.POSITIVE_INFINITY;
    if (!driver.tornDown) driver.flush();
  }

  private setTimer(): void {
    const { session } = this;
    const at = Math.min(session.nextTimeout(), this.nextStallCheck());
    if (at === this.timerAt) return;
    // Only an earlier time needs a new timer: a later one is set when this one fires, so traffic costs no timers.
    if (this.timer && at > this.timerAt) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.timer = setTimeout(SessionDriver.handleTimer, Math.max(0, at - performance.now()), this);
    this.timer.unref();
  }

  private nextStallCheck(): number {
    if (this.options.onLinkStalled === undefined) return Number.POSITIVE_INFINITY;
    // Told once a stall: whether it has come to life again needs no hurry.
    return this.stallTold ? performance.now() + STALL_CHECK_MS : this.session.stallsAt();
  }

  /** What the kernel received while the loop was busy is read first: a blocked loop must not declare its peers dead. */
  private static handleTimer(driver: SessionDriver): void {
    driver.timer = undefined;
    driver.timerAt = Number.POSITIVE_INFINITY;
    setImmediate(() => driver.handleTimeout());
  }

  private handleTimeout(): void {
    if (this.tornDown) return;
    this.session.handleTimeout(performance.now());
    this.judgeLink();
    this.flush();
  }

  private judgeLink(): void {
    const state = this.session.linkState(performance.now());
    if (state === 'dead') {
      this.options.logger.info({ remote: this.lastRemote }, 'the link stopped answering');
      this.dropLink();
    } else if (state === 'fine') this.stallTold = false;
    else if (state === 'suspect' && !this.stallTold && this.options.onLinkStalled !== undefined) {
      this.stallTold = true;
      this.options.logger.debug({ remote: this.lastRemote }, 'the link may have stalled');
      this.options.onLinkStalled();
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
        return this.streams.get(event.stream)?.handleData(event.bytes);
      case 'writable':
        return this.streams.get(event.stream)?.handleWritable();
      case 'finish':
        return this.streams.get(event.stream)?.handleFinish();
      case 'finish-sent':
        return this.streams.get(event.stream)?.handleFinishSent();
      case 'opened':
        return this.handleOpened(event.stream);
      case 'open-failed':
        return this.opening.get(event.stream)?.reject(new WstunError(event.fault));
      case 'reset':
        return this.handleReset(event.stream, event.fault);
      case 'offer':
        return this.handleOffer(event.stream, event.target);
      case 'cancelled':
        return this.offers.get(event.stream)?.withdraw();
      case 'established':
        // With a GO_AWAY right behind the HELLO it never stood, and nobody is to be told that it did.
        return this.mux.isOver ? undefined : this.options.onEstablished?.();
      case 'peer-draining':
        return this.options.onNoMoreStreams?.();
      case 'ended':
        this.endedWith = event.fault;
    }
  }

  private handleOpened(id: number): void {
    const pending = this.opening.get(id);
    if (pending) pending.resolve(this.addStream(id, pending.target));
  }

  private handleReset(id: number, fault: WireFaultName): void {
    const stream = this.streams.get(id);
    if (stream !== undefined && this.mux.isOver) this.cut += 1;
    const isSocketsReset = fault === 'target-reset' && !this.mux.isOver;
    // Until its reader has taken what came before: each byte is consumed.
    if (!isSocketsReset) this.streams.delete(id);
    if (isSocketsReset) stream?.handleLateReset(fault);
    else stream?.handleReset(fault);
    this.offers.get(id)?.withdraw();
  }

  private handleOffer(id: number, target: Target): void {
    const { acceptor, peer = '' } = this.options;
    if (!acceptor) return this.mux.refuse(id, 'dial-not-allowed');
    const offer = new Offer(target, peer, {
      accept: () => this.acceptOffer(id, target),
      refuse: (fault) => {
        this.mux.refuse(id, fault);
        this.scheduleFlush();
      },
      release: () => {
        this.offers.delete(id);
        this.mux.release(id);
        this.scheduleFlush();
      },
    });
    this.offers.set(id, offer);
    acceptor.handleOffer(offer);
  }

  private acceptOffer(id: number, target: Target): TunnelStream {
    if (!this.mux.accept(id, performance.now())) {
      const gone = new MuxStream(this, id, target);
      gone.destroy();
      return gone;
    }
    this.scheduleFlush();
    return this.addStream(id, target);
  }

  private addStream(id: number, target: Target): MuxStream {
    const stream = new MuxStream(this, id, target);
    this.streams.set(id, stream);
    return stream;
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────

  private tearDown(): void {
    const fault = this.endedWith;
    if (fault === undefined || this.tornDown) return;
    this.tornDown = true;
    clearTimeout(this.timer);
    clearTimeout(this.ackTimer);
    this.timer = undefined;
    this.ackTimer = undefined;
    const { link } = this;
    this.link = undefined;
    link?.close();
    // What was kept for the peer is of no more use.
    this.session.end(fault);
    this.line?.close(new WstunError(fault));
    this.options.onEnd(fault);
  }

  private checkIdle(): void {
    const isDone = this.mux.isOver || (this.mux.isIdle && this.session.retransmitBytes === 0);
    if (this.whenIdle.length === 0 || !isDone) return;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }
}

function bytesOf(message: Message): number {
  return message.reduce((sum, piece) => sum + piece.byteLength, 0);
}
