/**
 * What both ends of an HTTP link have in common as a MessageLink: messages to blocks and back, the queue, pause, and
 * the orderly end. Knows neither requests nor answers: a client or a relay makes them, and calls `take` with what
 * arrived in order. Runs in a page too.
 */
import { type Lent, lend, type Piece, release, releaseAll } from '../../memory/pieces.ts';
import type { CloseCode, LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../message-link.ts';
import { BlockReader, type BlockSink } from './blocks.ts';
import { compact } from './compact.ts';
import {
  CLOSE_TIMEOUT_MS,
  HIGH_MARK_BYTES,
  LEAST_KEPT_BYTES,
  LOW_MARK_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_READY_BYTES,
} from './http-limits.ts';
import type { LinkClock, LinkTimer } from './http-requester.ts';
import { StreamSender } from './stream-sender.ts';

const CLOSE_STATUS: Readonly<Record<CloseCode, number>> = { done: 1000, 'going-away': 1001 };
const CLEAN_STATUS: ReadonlySet<number> = new Set(Object.values(CLOSE_STATUS));

export abstract class HttpLinkEnd implements MessageLink, BlockSink {
  readonly maxMessageBytes = MAX_MESSAGE_BYTES;
  protected readonly sender = new StreamSender();
  private readonly reader = new BlockReader(this);
  private handler: MessageLinkHandler | undefined;
  /** Arrived in order, not read yet: the owner has paused the link, or has set no handler. */
  private ready: Piece[] = [];
  private readyBytes = 0;
  private reading = false;
  private paused = false;
  /** `send` has returned false, and `handleDrain` is pending. */
  private blocked = false;
  /** The first cause of the end. From then on no message is sent or delivered. */
  private ending: LinkCloseReason | undefined;
  private over = false;
  private closeTimer: LinkTimer | undefined;

  /** @param remote where the other end is, for logs */
  protected constructor(
    readonly remote: string,
    protected readonly clock: LinkClock,
  ) {}

  /** Appended and not sent in any request or answer yet, bytes. */
  protected abstract get unsentBytes(): number;
  /** Something was appended: to be sent after this turn at the latest. */
  protected abstract handleAppended(): void;
  /** Whether what arrives may be read has changed: `wantsMore`. */
  protected abstract handleAppetite(): void;
  /** The other end has sent Close; ours is appended. */
  protected abstract handlePeerClosed(): void;
  /** The link has ended: everything of it is freed. @param isAbort at once, what is queued is lost */
  protected abstract handleOver(isAbort: boolean): void;

  get queuedBytes(): number {
    return this.over ? 0 : this.unsentBytes;
  }

  get isOver(): boolean {
    return this.over;
  }

  setHandler(handler: MessageLinkHandler): void {
    const isFirst = this.handler === undefined;
    this.handler = handler;
    if (!isFirst) return;
    if (this.over) this.deliverClose();
    else queueMicrotask(() => this.readOn());
  }

  send(message: Message): boolean {
    if (this.ending !== undefined) {
      releaseAll(message);
      return true;
    }
    let bytes = 0;
    for (const piece of message) bytes += piece.length;
    if (bytes > MAX_MESSAGE_BYTES) {
      this.fail(`a message of ${bytes} bytes is too long to send`);
      return true;
    }
    this.sender.appendMessage(message, bytes);
    this.handleAppended();
    this.blocked = this.unsentBytes >= HIGH_MARK_BYTES;
    return !this.blocked;
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.handleAppetite();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    queueMicrotask(() => this.readOn());
  }

  close(code: CloseCode = 'done'): void {
    if (this.ending !== undefined) return;
    this.beginClose({ clean: true, text: 'closed here' }, CLOSE_STATUS[code]);
    // Otherwise the peer's Close would stay unread.
    this.resume();
    queueMicrotask(() => this.readOn());
  }

  abort(): void {
    this.fail('aborted here');
  }

  // ── for the two kinds of ends ──────────────────────────────────────────────────────────────────────────────────────

  /** More may be read: the owner takes messages, or there is room for some. */
  protected get wantsMore(): boolean {
    return this.ending !== undefined || (this.isDelivering ? true : this.readyBytes < MAX_READY_BYTES);
  }

  /** No message is delivered at the moment, because the owner wants none. */
  protected get isPaused(): boolean {
    return !this.isDelivering;
  }

  /** Bytes of the peer's stream, in order; takes them. */
  protected take(bytes: Piece): void {
    if (this.over) return;
    const kept = this.isDelivering ? bytes : compact(bytes);
    this.ready.push(kept);
    this.readyBytes += costOf(kept);
    this.readOn();
    if (!this.wantsMore) this.handleAppetite();
  }

  /** More has been sent. */
  protected handleSent(): void {
    if (!this.blocked || this.ending !== undefined || this.unsentBytes > LOW_MARK_BYTES) return;
    this.blocked = false;
    this.handler?.handleDrain();
  }

  /** The first reason counts. Never calls the owner within its own call. */
  protected fail(text: string): void {
    if (this.over) return;
    if (this.ending === undefined || this.ending.clean) this.ending = { clean: false, text };
    this.finish(true);
  }

  /** After the Close of both ends, or when the other one needs ours no more. */
  protected finishClosed(): void {
    if (!this.over) this.finish(false);
  }

  protected get isClosing(): boolean {
    return this.ending?.clean === true;
  }

  /** Its last byte has been read. */
  protected hasPeerClosed = false;

  // ── BlockSink ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get readsOnly(): boolean {
    return this.handler?.reader !== undefined;
  }

  handleMessage(bytes: Piece): void {
    const { handler } = this;
    if (this.ending !== undefined || handler === undefined) return release(bytes);
    if (handler.reader === undefined) return handler.handleMessage([compact(bytes)]);
    this.readMessage(lend(bytes));
    release(bytes);
  }

  readMessage(bytes: Lent): void {
    if (this.ending === undefined) this.handler?.reader?.readMessage([bytes]);
  }

  handleClose(status: number): void {
    this.hasPeerClosed = true;
    this.beginClose({ clean: CLEAN_STATUS.has(status), text: `closed by the peer, code ${status}` }, 1000);
    this.handlePeerClosed();
  }

  private get isDelivering(): boolean {
    return this.ending !== undefined || (this.handler !== undefined && !this.paused);
  }

  private readOn(): void {
    // A handler may pause or resume within its call.
    if (this.reading || this.over) return;
    this.reading = true;
    const had = this.readyBytes;
    while (this.isDelivering && !this.over) {
      const next = this.ready.shift();
      if (next === undefined) break;
      this.readyBytes -= costOf(next);
      const fault = this.reader.read(next);
      if (fault !== undefined) this.fail(fault);
    }
    this.reading = false;
    if (!this.over && (had > 0 || this.isDelivering)) this.handleAppetite();
  }

  private beginClose(reason: LinkCloseReason, status: number): void {
    if (this.ending !== undefined) return;
    this.ending = reason;
    this.sender.appendClose(status);
    this.closeTimer = this.clock.setTimeout(() => this.finishClosed(), CLOSE_TIMEOUT_MS);
    this.handleAppended();
  }

  private finish(isAbort: boolean): void {
    this.over = true;
    this.clock.clearTimeout(this.closeTimer);
    this.ready = [];
    this.readyBytes = 0;
    this.handleOver(isAbort);
    if (this.handler !== undefined) this.deliverClose();
  }

  private deliverClose(): void {
    queueMicrotask(() => {
      if (this.ending !== undefined) this.handler?.handleClose(this.ending);
    });
  }
}

function costOf({ length }: Uint8Array): number {
  return Math.max(length, LEAST_KEPT_BYTES);
}
