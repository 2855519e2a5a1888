/** Two links joined message by message, so that a relay forwards a session that it cannot read. Copies no byte. */
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';

/** What a splice notes for the idle check: one bit, because reading a clock for each message would cost more. */
export interface Activity {
  /** A message has passed. */
  hasMoved: boolean;
  /** Who counts the bytes, if anyone does: to the first link, and from it. */
  readonly counter?: { sent: number; received: number };
}

/**
 * Joins two open links; takes their handlers. Messages leave whole and in order. While one side accepts no more, the
 * other is not read. Both end together: a close is passed on after what came before it, an abort at once. Memory: a
 * link's high mark and one read in each direction.
 */
export function splice(first: MessageLink, second: MessageLink, activity: Activity, onEnd: () => void): void {
  let open = 2;
  const onClose = (): void => {
    open -= 1;
    if (open === 0) onEnd();
  };
  first.setHandler(new SpliceSide(first, second, activity, 'received', onClose));
  second.setHandler(new SpliceSide(second, first, activity, 'sent', onClose));
  // A link that had to wait for the other is still paused.
  first.resume();
  second.resume();
}

class SpliceSide implements MessageLinkHandler {
  constructor(
    private readonly from: MessageLink,
    private readonly to: MessageLink,
    private readonly activity: Activity,
    private readonly counted: 'sent' | 'received',
    private readonly onClose: () => void,
  ) {}

  handleMessage(message: Message): void {
    const { activity, counted } = this;
    activity.hasMoved = true;
    if (activity.counter !== undefined) for (const { length } of message) activity.counter[counted] += length;
    if (!this.to.send(message)) this.from.pause();
  }

  handleDrain(): void {
    this.to.resume();
  }

  handleClose({ clean }: LinkCloseReason): void {
    if (clean) this.to.close();
    else this.to.abort();
    this.onClose();
  }
}
