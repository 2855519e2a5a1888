/**
 * Two links joined message by message, so that a relay carries a session that it cannot read. Looks into no byte,
 * copies none.
 */
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../transport/message-link.ts';

/** What the legs leave behind of their work: a bit, so that a message costs no clock. */
export interface Activity {
  /** A message has passed. */
  hasMoved: boolean;
}

/**
 * Joins two open links; takes the handlers of both. What one sends leaves the other whole and in order; a side that
 * takes no more stops the other from being read. They end together: a goodbye is passed on behind what came before it,
 * anything else at once. `onEnd` is called when both have ended.
 *
 * Memory: a link's high mark and one read in each direction.
 */
export function splice(first: MessageLink, second: MessageLink, activity: Activity, onEnd: () => void): void {
  let open = 2;
  const onClose = (): void => {
    open -= 1;
    if (open === 0) onEnd();
  };
  first.setHandler(new Leg(first, second, activity, onClose));
  second.setHandler(new Leg(second, first, activity, onClose));
  // Links that had to wait for each other have been held back so far.
  first.resume();
  second.resume();
}

class Leg implements MessageLinkHandler {
  private readonly from: MessageLink;
  private readonly to: MessageLink;
  private readonly activity: Activity;
  private readonly onClose: () => void;

  constructor(from: MessageLink, to: MessageLink, activity: Activity, onClose: () => void) {
    this.from = from;
    this.to = to;
    this.activity = activity;
    this.onClose = onClose;
  }

  handleMessage(message: Message): void {
    this.activity.hasMoved = true;
    if (!this.to.send(message)) this.from.pause();
  }

  /** This side takes more again. */
  handleDrain(): void {
    this.to.resume();
  }

  handleClose({ clean }: LinkCloseReason): void {
    if (clean) this.to.close();
    else this.to.abort();
    this.onClose();
  }
}
