/**
 * Two links joined in memory, for tests of what stands on links: the promises of MessageLink (order, back-pressure, one
 * end, nothing within the caller's turn) without a network or its timing. It behaves like a link whose kernel holds
 * nothing: all that the other end has not been handed counts as queued.
 */
import { type Clock, systemClock, type Timer } from '../../../src/clock.ts';
import { own, releaseAll } from '../../../src/memory/pieces.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../../src/transport/message-link.ts';
import {
  CLOSE_TIMEOUT_MS,
  HIGH_MARK_BYTES,
  MAX_MESSAGE_BYTES,
} from '../../../src/transport/websocket/websocket-limits.ts';

export interface MemoryLinkOptions {
  /** Bytes; default as a WebSocket's. */
  readonly maxMessageBytes?: number;
  /** `send` returns false from here on, bytes; default as a WebSocket's. */
  readonly highMarkBytes?: number;
  /** `handleDrain` comes at or below this, bytes; default 0, as a WebSocket's. */
  readonly lowMarkBytes?: number;
  /** Bytes handed over in one turn, as one read of a socket would be; at least one message. Default 64 KiB. */
  readonly readBytes?: number;
  /** Runs a task in a later turn; default setImmediate. Tests in virtual time pass their own. */
  readonly defer?: (task: () => void) => void;
  /** For the time limit of `close`; default: the system's. */
  readonly clock?: Clock;
}

const READ_BYTES = 64 * 1024;

/** Both ends of one new link. */
export function memoryLinkPair(options: MemoryLinkOptions = {}): [MessageLink, MessageLink] {
  const settled = {
    maxMessageBytes: MAX_MESSAGE_BYTES,
    highMarkBytes: HIGH_MARK_BYTES,
    lowMarkBytes: 0,
    readBytes: READ_BYTES,
    defer: (task: () => void): void => void setImmediate(task),
    clock: systemClock,
    ...options,
  };
  const first = new MemoryLink(settled);
  const second = new MemoryLink(settled);
  first.join(second);
  second.join(first);
  return [first, second];
}

/** `closing`: said goodbye, its own queue still goes out. `ended`: `handleClose` has run or is about to. */
type Phase = 'open' | 'closing' | 'ended';

class MemoryLink implements MessageLink {
  readonly maxMessageBytes: number;
  readonly remote = 'memory';
  private readonly options: Required<MemoryLinkOptions>;
  private peer: MemoryLink | undefined;
  private handler: MessageLinkHandler | undefined;
  private phase: Phase = 'open';
  private queue: { message: Message; bytes: number }[] = [];
  private queued = 0;
  private blocked = false;
  private paused = false;
  private turnPending = false;
  private reason: LinkCloseReason | undefined;
  private closeTimer: Timer | undefined;

  constructor(options: Required<MemoryLinkOptions>) {
    this.options = options;
    this.maxMessageBytes = options.maxMessageBytes;
  }

  get queuedBytes(): number {
    return this.queued;
  }

  join(peer: MemoryLink): void {
    this.peer = peer;
  }

  setHandler(handler: MessageLinkHandler): void {
    this.handler = handler;
    this.options.defer(() => this.deliverClose());
    this.peer?.wake();
  }

  send(message: Message): boolean {
    if (this.phase !== 'open') return true;
    let bytes = 0;
    for (const piece of message) bytes += piece.byteLength;
    if (bytes > this.maxMessageBytes) {
      this.break(`a message of ${bytes} bytes is too long to send`);
      return true;
    }
    this.queue.push({ message: message.map((piece) => own(new Uint8Array(piece))), bytes });
    releaseAll(message);
    this.queued += bytes;
    this.wake();
    this.blocked = this.queued >= this.options.highMarkBytes;
    return !this.blocked;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.peer?.wake();
  }

  close(): void {
    if (this.phase !== 'open') return;
    this.phase = 'closing';
    this.closeTimer = this.options.clock.setTimeout(() => this.break('no close frame in time'), CLOSE_TIMEOUT_MS);
    this.wake();
  }

  abort(): void {
    this.break('aborted here');
  }

  /** Sees to it that the queue moves in a later turn. */
  wake(): void {
    if (this.turnPending) return;
    this.turnPending = true;
    this.options.defer(() => this.turn());
  }

  /** Hands over as much as one read would bring, then drains, then says goodbye if nothing is left. */
  private turn(): void {
    this.turnPending = false;
    const peer = this.peer;
    if (peer === undefined || !peer.reads) return;
    let budget = this.options.readBytes;
    while (budget > 0 && peer.reads) {
      const next = this.queue.shift();
      if (next === undefined) break;
      budget -= Math.max(1, next.bytes);
      this.queued -= next.bytes;
      if (peer.phase === 'open') peer.handler?.handleMessage(next.message);
    }
    this.drain();
    if (this.queue.length > 0) this.wake();
    else if (this.phase === 'closing') this.bothEnd(peer);
  }

  /** An end that has said goodbye takes everything, so that the other's goodbye can come through. */
  private get reads(): boolean {
    return this.phase !== 'open' || (this.handler !== undefined && !this.paused);
  }

  private drain(): void {
    if (!this.blocked || this.phase !== 'open' || this.queued > this.options.lowMarkBytes) return;
    this.blocked = false;
    this.handler?.handleDrain();
  }

  private bothEnd(peer: MemoryLink): void {
    this.end({ clean: true, text: 'closed here' });
    peer.end({ clean: true, text: 'closed by the peer' });
  }

  private break(text: string): void {
    if (this.phase === 'ended') return;
    this.end({ clean: false, text });
    this.peer?.end({ clean: false, text: 'the connection ended without a close frame' });
  }

  end(reason: LinkCloseReason): void {
    if (this.phase === 'ended') return;
    this.phase = 'ended';
    this.options.clock.clearTimeout(this.closeTimer);
    this.queue = [];
    this.queued = 0;
    this.reason = reason;
    this.options.defer(() => this.deliverClose());
  }

  /** Waits for a handler; the reason is cleared, so it comes once. */
  private deliverClose(): void {
    const reason = this.reason;
    if (reason === undefined || this.handler === undefined) return;
    this.reason = undefined;
    this.handler.handleClose(reason);
  }
}
