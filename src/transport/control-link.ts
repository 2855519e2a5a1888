/** One end of an exit's control link. Ends the link of a peer that falls silent or sends what it may not. */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { type ControlMessage, decodeControl, encodeControl } from './control-messages.ts';
import type { CloseCode, LinkCloseReason, Message, MessageLink, MessageLinkHandler } from './message-link.ts';

/** No client reaches an exit whose control link is dead, so pings are frequent; one has 15 bytes. */
const PING_MS = 5_000;
/** Pings of the peer that are missed before the link counts as dead: a stall may swallow one. */
const MISSED_PINGS = 3;
/** Longest silence of a peer. It is lower once the peer pings more often than every 15 s (older builds do not). */
const SILENCE_LIMIT_MS = 45_000;
/** The longest announcement has 460 KB. A peer that leaves more unread does not read. */
const MAX_QUEUED_BYTES = 1024 * 1024;

export interface ControlHandler {
  /** Any message but pings. False: the peer may not send this here, and the link ends. */
  handleControl(message: ControlMessage): boolean;
  /** A ping arrived. False: too many, and the link ends. */
  handlePing?(): boolean;
  /** The last call; also after `end`. */
  handleEnd(reason: LinkCloseReason): void;
}

export class ControlLink implements MessageLinkHandler {
  private nextPing: Timer;
  private silence: Timer;
  private silenceMs = SILENCE_LIMIT_MS;
  /** When the peer's last message arrived, or the link began. */
  private heardAt: number;
  /** When the peer's last ping arrived, or the link began, and how long that was after the one before it. */
  private pingedAt: number;
  private hasPinged = false;
  private pingGapMs = 0;
  private ended: LinkCloseReason | undefined;

  /** Takes the link's handler. */
  constructor(
    private readonly link: MessageLink,
    private readonly handler: ControlHandler,
    private readonly clock: Clock = systemClock,
  ) {
    this.heardAt = clock.now();
    this.pingedAt = this.heardAt;
    this.nextPing = this.schedulePing();
    this.silence = this.awaitSilence(this.silenceMs);
    link.setHandler(this);
  }

  get remote(): string {
    return this.link.remote;
  }

  send(message: ControlMessage): void {
    if (this.ended !== undefined) return;
    this.link.send(encodeControl(message));
    if (this.link.queuedBytes > MAX_QUEUED_BYTES) this.break('the peer does not read');
  }

  /** Sends what is queued, and ends. After that only `handleEnd` is called. */
  end(code?: CloseCode): void {
    this.stop({ clean: true, text: 'closed here' });
    this.link.close(code);
  }

  /** Ends at once, without waiting for a path that may be dead. */
  abort(): void {
    this.break('aborted here');
  }

  handleMessage(bytes: Message): void {
    if (this.ended !== undefined) return;
    this.heardAt = this.clock.now();
    const message = decodeControl(bytes);
    if (message === undefined) return this.break('an invalid message');
    if (message.type === 'ping') this.handlePing();
    const isValid =
      message.type === 'ping' ? (this.handler.handlePing?.() ?? true) : this.handler.handleControl(message);
    if (!isValid) this.break('an invalid message');
  }

  /** The limit follows the longer of the last two gaps: a path that delays a ping now and then is not dead. */
  private handlePing(): void {
    const now = this.clock.now();
    const gapMs = now - this.pingedAt;
    this.pingedAt = now;
    const isFirst = !this.hasPinged;
    this.hasPinged = true;
    // The first one may come at once: that says nothing about the pauses to come.
    if (isFirst && gapMs < PING_MS / 2) return;
    const intervals = Math.round(Math.max(gapMs, this.pingGapMs) / PING_MS);
    this.pingGapMs = gapMs;
    const silenceMs = Math.min(MISSED_PINGS * PING_MS * Math.max(1, intervals), SILENCE_LIMIT_MS);
    if (silenceMs === this.silenceMs) return;
    this.silenceMs = silenceMs;
    this.clock.clearTimeout(this.silence);
    this.silence = this.awaitSilence(silenceMs);
  }

  private schedulePing(): Timer {
    const timer = this.clock.setTimeout(() => {
      this.nextPing = this.schedulePing();
      this.send({ type: 'ping' });
    }, PING_MS);
    timer.unref();
    return timer;
  }

  /** One timer for many messages: it looks at the time of the last one. */
  private awaitSilence(ms: number): Timer {
    const timer = this.clock.setTimeout(() => {
      const leftMs = this.heardAt + this.silenceMs - this.clock.now();
      if (leftMs > 0) this.silence = this.awaitSilence(Math.ceil(leftMs));
      else this.break('the peer stopped answering');
    }, ms);
    timer.unref();
    return timer;
  }

  handleDrain(): void {}

  handleClose(reason: LinkCloseReason): void {
    this.stop(reason);
    this.handler.handleEnd(this.ended ?? reason);
  }

  private break(text: string): void {
    this.stop({ clean: false, text });
    this.link.abort();
  }

  private stop(reason: LinkCloseReason): void {
    this.ended ??= reason;
    this.clock.clearTimeout(this.nextPing);
    this.clock.clearTimeout(this.silence);
  }
}
