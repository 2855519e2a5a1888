/** A link's handler for tests: remembers what came, and lets a test wait for it by events instead of sleeps. */
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../../src/transport/message-link.ts';

export class LinkRecorder implements MessageLinkHandler {
  /** Each message joined to one buffer, and as it was delivered. */
  readonly messages: Buffer[] = [];
  readonly kept: Message[] = [];
  readonly closes: LinkCloseReason[] = [];
  bytes = 0;
  drains = 0;
  onMessage: ((message: Buffer) => void) | undefined;
  onDrain: (() => void) | undefined;
  private waiting: { holds: () => boolean; resolve: () => void }[] = [];

  constructor(link?: MessageLink) {
    link?.setHandler(this);
  }

  handleMessage(message: Message): void {
    const whole = Buffer.concat(message);
    this.messages.push(whole);
    this.kept.push(message);
    this.bytes += whole.length;
    this.onMessage?.(whole);
    this.wake();
  }

  handleDrain(): void {
    this.drains += 1;
    this.onDrain?.();
    this.wake();
  }

  handleClose(reason: LinkCloseReason): void {
    this.closes.push(reason);
    this.wake();
  }

  /** Resolves when `holds` does, looked at after each event. A test's own time limit is the bound. */
  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ holds, resolve }));
  }

  untilMessages(count: number): Promise<void> {
    return this.until(() => this.messages.length >= count);
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.closes.length > 0);
  }

  private wake(): void {
    const ready = this.waiting.filter(({ holds }) => holds());
    this.waiting = this.waiting.filter((entry) => !ready.includes(entry));
    for (const { resolve } of ready) resolve();
  }
}

/** Lets the event loop turn: enough for anything already under way on loopback to be noticed. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when `value` has stayed the same for `ms`: for what must stop moving, where no event says so. */
export async function untilStill(value: () => number, ms = 100): Promise<void> {
  for (let before = value(), since = Date.now(); Date.now() - since < ms; ) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (value() !== before) {
      before = value();
      since = Date.now();
    }
  }
}
