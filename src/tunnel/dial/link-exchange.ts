/** The few messages that a new link carries before it is handed on. What they mean is known to the caller. */
import { Deadline, type DeadlineEvents, type DeadlineOptions } from '../../async/abortable.ts';
import { WstunError } from '../../errors.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';

export interface LinkExchangeEvents {
  /** In the turn of the message; may call `succeed` or `fail`. */
  onMessage(message: Message): void;
  /** Once, with the link aborted: `link-slow`, `dial-cancelled`, what `fail` was given or `faultOfClose` returns. */
  onFailed(error: WstunError): void;
  faultOfClose(reason: LinkCloseReason): WstunError;
}

export class LinkExchange implements MessageLinkHandler, DeadlineEvents {
  private readonly deadline: Deadline;

  constructor(
    private readonly link: MessageLink,
    options: DeadlineOptions,
    private readonly events: LinkExchangeEvents,
  ) {
    this.deadline = new Deadline(options, this);
    link.setHandler(this);
    if (options.signal?.aborted) this.onAbort();
  }

  get isOver(): boolean {
    return this.deadline.isOver;
  }

  handleMessage(message: Message): void {
    if (!this.deadline.isOver) this.events.onMessage(message);
  }

  handleDrain(): void {}

  handleClose(reason: LinkCloseReason): void {
    this.fail(this.events.faultOfClose(reason));
  }

  onExpired(): void {
    this.fail(new WstunError('link-slow'));
  }

  onAbort(): void {
    this.fail(new WstunError('dial-cancelled'));
  }

  /** The link is handed on: its new owner sets its handler in this turn. */
  succeed(): void {
    this.deadline.end();
  }

  fail(error: WstunError): void {
    if (this.deadline.isOver) return;
    this.deadline.end();
    this.link.abort();
    this.events.onFailed(error);
  }
}
