/**
 * The one interface between a network and everything above it: an ordered, reliable channel of whole binary messages. A
 * link is handed out open. Its owner sets the handler before the current turn of the event loop ends; nothing is
 * delivered before that. It ends exactly once, by either side or by a fault, with `handleClose`. After that nothing is
 * delivered, and `send` drops what it is given.
 */
import type { Lent, Piece } from '../memory/pieces.ts';

/**
 * One whole message, as the pieces of memory in which it lies; its receiver owns them (memory/pieces.ts). Where pieces
 * begin and end carries no meaning: a link may deliver other pieces than were sent, but never joins or splits messages.
 * Empty pieces and empty messages are allowed.
 */
export type Message = readonly Piece[];

/** The same, but the pieces remain the link's. */
export type LentMessage = readonly Lent[];

/** Keeps nothing of a message after `readMessage` returns, so the link may use the memory again. */
export interface MessageReader {
  readMessage(message: LentMessage): void;
}

export interface MessageLinkHandler {
  /** If there is one, it gets the messages in place of `handleMessage`. May change between messages. */
  readonly reader?: MessageReader | undefined;
  /** The receiver owns the pieces from here on. */
  handleMessage(message: Message): void;
  /** After `send` returned false: the queue has fallen below the link's low mark, and sending may go on. */
  handleDrain(): void;
  /** The last call. `reason` is for logs, not for decisions; `clean` is false where the network failed. */
  handleClose(reason: LinkCloseReason): void;
}

export interface LinkCloseReason {
  readonly clean: boolean;
  readonly text: string;
}

/** RFC 6455 §7.4.1: 1000, and 1001: this end stops. The other end only logs it, because it proves nothing. */
export type CloseCode = 'done' | 'going-away';

export interface MessageLink {
  /** The largest message that `send` takes and the peer may send, bytes. */
  readonly maxMessageBytes: number;
  /** What `send` has taken and the kernel has not, bytes. */
  readonly queuedBytes: number;
  /** Where the other end is, only for logs: an address, or `memory`. */
  readonly remote: string;
  setHandler(handler: MessageLinkHandler): void;
  /**
   * Takes the message in any case. False: the link has enough queued, wait for `handleDrain` before the next. The link
   * owns the pieces from here on, and releases them when the kernel, or their reader, has them.
   */
  send(message: Message): boolean;
  /** Stops delivery, after at most the messages of one read, so that the peer is slowed down. */
  pause(): void;
  resume(): void;
  /** Sends what is queued and a close frame, and ends; after 5 s without an answer it ends anyway. */
  close(code?: CloseCode): void;
  /** Ends at once; what is queued is lost. */
  abort(): void;
}
