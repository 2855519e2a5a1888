/**
 * A link that a page carries: the WebSocket of the local connection, and how much of what was sent has left the page
 * (docs/tether-protocol.md §6). A page cannot stop reading, so without this limit the laptop would fill the phone's
 * memory at the speed of the local network. Looks into no message.
 */
import { type Clock, systemClock } from '../../clock.ts';
import type {
  LentMessage,
  LinkCloseReason,
  Message,
  MessageLink,
  MessageLinkHandler,
  MessageReader,
} from '../../transport/message-link.ts';
import {
  IN_FLIGHT_MS,
  INITIAL_IN_FLIGHT_BYTES,
  MAX_IN_FLIGHT_BYTES,
  MIN_IN_FLIGHT_BYTES,
  SPEED_SAMPLE_MS,
} from './tether-limits.ts';

/** A report: a decimal number as the page writes it. */
const COUNT = /^(0|[1-9]\d{0,15})$/;

export interface TetherLinkEvents {
  /** At each message: the page is alive. */
  onAlive(): void;
  /** Once. */
  onEnd(): void;
}

export interface TetherLinkOptions {
  /** Of the page, for logs; default: that of the connection. */
  readonly remote?: string;
  /** The URL to which the page was asked to open it. */
  readonly asked?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export class TetherLink implements MessageLink, MessageLinkHandler, MessageReader {
  /** The URL to which the page was asked to open it. */
  readonly asked: string;
  readonly remote: string;
  private readonly clock: Clock;
  private handler: MessageLinkHandler | undefined;
  /** Bytes of messages since the link began: sent to the page, and reported as forwarded by it. */
  private sent = 0;
  private forwarded = 0;
  private blocked = false;
  private innerBlocked = false;
  private ended = false;
  private carried = false;
  /** How much may be in flight, by the speed since `sample`. */
  private maxInFlight = INITIAL_IN_FLIGHT_BYTES;
  private sample: { readonly at: number; readonly forwarded: number };

  constructor(
    private readonly inner: MessageLink,
    private readonly events: TetherLinkEvents,
    { asked = '', remote, clock = systemClock }: TetherLinkOptions = {},
  ) {
    this.asked = asked;
    this.remote = remote ?? inner.remote;
    this.clock = clock;
    this.sample = { at: clock.now(), forwarded: 0 };
  }

  /** Something has come from the relay. */
  get hasCarried(): boolean {
    return this.carried;
  }

  get maxMessageBytes(): number {
    return this.inner.maxMessageBytes;
  }

  get reader(): MessageReader | undefined {
    return this.handler?.reader === undefined ? undefined : this;
  }

  /** Bytes queued here. What the page holds is known only to `send` and `handleDrain`. */
  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  setHandler(handler: MessageLinkHandler): void {
    this.handler = handler;
    this.inner.setHandler(this);
  }

  send(message: Message): boolean {
    if (this.ended) return true;
    for (const piece of message) this.sent += piece.byteLength;
    this.innerBlocked = !this.inner.send(message);
    this.blocked = this.innerBlocked || this.sent - this.forwarded >= this.maxInFlight;
    return !this.blocked;
  }

  /** A report of the page. An impossible one ends the link. */
  handleText(text: string): void {
    this.events.onAlive();
    const forwarded = COUNT.test(text) ? Number(text) : -1;
    if (forwarded < this.forwarded || forwarded > this.sent) return this.inner.abort();
    this.forwarded = forwarded;
    this.measure();
    this.unblock();
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  close(): void {
    this.inner.close();
  }

  abort(): void {
    this.inner.abort();
  }

  handleMessage(message: Message): void {
    this.carried = true;
    this.events.onAlive();
    this.handler?.handleMessage(message);
  }

  readMessage(message: LentMessage): void {
    this.carried = true;
    this.events.onAlive();
    this.handler?.reader?.readMessage(message);
  }

  handleDrain(): void {
    this.innerBlocked = false;
    this.unblock();
  }

  handleClose(reason: LinkCloseReason): void {
    this.ended = true;
    this.forwarded = this.sent;
    this.events.onEnd();
    this.handler?.handleClose(reason);
  }

  /** Only while there is a queue: a link with nothing to send is not slow. */
  private measure(): void {
    const now = this.clock.now();
    const elapsedMs = now - this.sample.at;
    if (elapsedMs < SPEED_SAMPLE_MS) return;
    const speed = (this.forwarded - this.sample.forwarded) / elapsedMs;
    this.sample = { at: now, forwarded: this.forwarded };
    if (!this.blocked) return;
    this.maxInFlight = Math.min(MAX_IN_FLIGHT_BYTES, Math.max(MIN_IN_FLIGHT_BYTES, speed * IN_FLIGHT_MS));
  }

  /** At half of the limit, so that a drain makes room for more than a few messages. */
  private unblock(): void {
    if (!this.blocked || this.innerBlocked || this.sent - this.forwarded > this.maxInFlight / 2) return;
    this.blocked = false;
    this.handler?.handleDrain();
  }
}
