/**
 * A link that a page carries: the near leg's WebSocket, and how much of what was sent has left the page
 * (docs/tether-protocol.md).
 *
 * A page cannot stop reading, so without this the laptop would fill the phone's memory as fast as the local network
 * allows. Looks into no message.
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
  FIRST_ON_THE_WAY_BYTES,
  MAX_ON_THE_WAY_BYTES,
  MIN_ON_THE_WAY_BYTES,
  ON_THE_WAY_MS,
  SPEED_SAMPLE_MS,
} from './tether-limits.ts';

/** A decimal number as the page writes it. */
const COUNT = /^(0|[1-9]\d{0,15})$/;

export interface TetherLinkEvents {
  /** With each message: the page is alive. */
  onHeard(): void;
  /** Once. */
  onEnd(): void;
}

export interface TetherLinkOptions {
  /** The URL to which the page was asked to open it. */
  readonly asked?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export class TetherLink implements MessageLink, MessageLinkHandler, MessageReader {
  /** The URL to which the page was asked to open it. */
  readonly asked: string;
  private readonly inner: MessageLink;
  private readonly events: TetherLinkEvents;
  private readonly clock: Clock;
  private handler: MessageLinkHandler | undefined;
  /** Since the link began, bytes of messages: handed to the near leg, and of these out of the page. */
  private sent = 0;
  private carried = 0;
  private blocked = false;
  private innerBlocked = false;
  private ended = false;
  /** What may be on the way; by the speed at which bytes left since `#sample`. */
  private allowance = FIRST_ON_THE_WAY_BYTES;
  private sample: { readonly at: number; readonly carried: number };

  constructor(
    inner: MessageLink,
    events: TetherLinkEvents,
    { asked = '', clock = systemClock }: TetherLinkOptions = {},
  ) {
    this.asked = asked;
    this.inner = inner;
    this.events = events;
    this.clock = clock;
    this.sample = { at: clock.now(), carried: 0 };
  }

  get maxMessageBytes(): number {
    return this.inner.maxMessageBytes;
  }

  get remote(): string {
    return this.inner.remote;
  }

  get reader(): MessageReader | undefined {
    return this.handler?.reader === undefined ? undefined : this;
  }

  /** Here, not at the page: what that holds only `send` and `handleDrain` tell. */
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
    this.blocked = this.innerBlocked || this.sent - this.carried >= this.allowance;
    return !this.blocked;
  }

  /** The page's word. One that cannot be ends the link. */
  handleText(text: string): void {
    this.events.onHeard();
    const carried = COUNT.test(text) ? Number(text) : -1;
    if (carried < this.carried || carried > this.sent) return this.inner.abort();
    this.carried = carried;
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
    this.events.onHeard();
    this.handler?.handleMessage(message);
  }

  readMessage(message: LentMessage): void {
    this.events.onHeard();
    this.handler?.reader?.readMessage(message);
  }

  handleDrain(): void {
    this.innerBlocked = false;
    this.unblock();
  }

  handleClose(reason: LinkCloseReason): void {
    this.ended = true;
    this.carried = this.sent;
    this.events.onEnd();
    this.handler?.handleClose(reason);
  }

  /** Only while there is a queue: a link with nothing to send is not a slow one. */
  private measure(): void {
    const now = this.clock.now();
    const elapsedMs = now - this.sample.at;
    if (elapsedMs < SPEED_SAMPLE_MS) return;
    const speed = (this.carried - this.sample.carried) / elapsedMs;
    this.sample = { at: now, carried: this.carried };
    if (!this.blocked) return;
    this.allowance = Math.min(MAX_ON_THE_WAY_BYTES, Math.max(MIN_ON_THE_WAY_BYTES, speed * ON_THE_WAY_MS));
  }

  /** At half of the bound, so that a drain is worth more than a few messages. */
  private unblock(): void {
    if (!this.blocked || this.innerBlocked || this.sent - this.carried > this.allowance / 2) return;
    this.blocked = false;
    this.handler?.handleDrain();
  }
}
