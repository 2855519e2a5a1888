/** A MessageLink that carries a session, alone or beside others: joins it with the session's view of it. */
import { releaseAll } from '../../memory/pieces.ts';
import type { SessionLink } from '../../mux/links/session-link.ts';
import type { LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';

export interface CarryingLinkOwner {
  handleLinkMessage(link: CarryingLink, message: Message): void;
  handleLinkClose(link: CarryingLink, reason: LinkCloseReason): void;
  /** Something may be sent again. */
  flush(): void;
}

/** For a link that does not carry the session any more: what still comes on it is dropped. */
const IGNORE: MessageLinkHandler = { handleMessage: releaseAll, handleDrain() {}, handleClose() {} };

export class CarryingLink implements MessageLinkHandler {
  /**
   * Takes the link's handler.
   * @param way by which it came: the name of one of several, or its other end
   */
  constructor(
    readonly link: MessageLink,
    readonly state: SessionLink,
    private readonly owner: CarryingLinkOwner,
    readonly way: string = link.remote,
  ) {
    link.setHandler(this);
  }

  get remote(): string {
    return this.link.remote;
  }

  send(message: Message): void {
    this.state.isFull = !this.link.send(message);
  }

  handleMessage(message: Message): void {
    this.owner.handleLinkMessage(this, message);
  }

  handleDrain(): void {
    this.state.isFull = false;
    this.owner.flush();
  }

  handleClose(reason: LinkCloseReason): void {
    this.owner.handleLinkClose(this, reason);
  }

  /** What still comes is dropped. */
  ignore(): void {
    this.link.setHandler(IGNORE);
  }

  abort(): void {
    this.ignore();
    this.link.abort();
  }

  /** Sends what is queued first. */
  close(): void {
    this.ignore();
    this.link.close();
  }
}
