/**
 * One end of an exit's control link: whole control messages in and out, a ping now and then, and an end to a peer that has
 * fallen silent or says what it may not. Does not know what the messages are for.
 */
import { type ControlMessage, decodeControl, encodeControl } from './control-messages.ts';
import type { Farewell, LinkCloseReason, Message, MessageLink, MessageLinkHandler } from './message-link.ts';

/** Proxies and NATs forget after 60 s. */
const PING_MS = 15_000;
/** Three pings: a stall may swallow one. */
const SILENCE_LIMIT_MS = 45_000;
/** The longest announcement has 460 KB; a peer that leaves more unread does not read. */
const MAX_QUEUED_BYTES = 1024 * 1024;

export interface ControlHandler {
  /** Any message but pings. False: the peer may not say this here, and the link ends. */
  handleControl(message: ControlMessage): boolean;
  /** A ping has come. False: too many, and the link ends. */
  handlePing?(): boolean;
  /** The last call; also after `end`. */
  handleEnd(reason: LinkCloseReason): void;
}

export class ControlLink implements MessageLinkHandler {
  readonly #link: MessageLink;
  readonly #handler: ControlHandler;
  readonly #pings: NodeJS.Timeout;
  #silence: NodeJS.Timeout;
  #ended: LinkCloseReason | undefined;

  /** Takes the link's handler. */
  constructor(link: MessageLink, handler: ControlHandler) {
    this.#link = link;
    this.#handler = handler;
    this.#pings = setInterval(() => this.send({ type: 'ping' }), PING_MS).unref();
    this.#silence = setTimeout(() => this.#break('the peer has fallen silent'), SILENCE_LIMIT_MS).unref();
    link.setHandler(this);
  }

  get remote(): string {
    return this.#link.remote;
  }

  send(message: ControlMessage): void {
    if (this.#ended !== undefined) return;
    this.#link.send(encodeControl(message));
    if (this.#link.queuedBytes > MAX_QUEUED_BYTES) this.#break('the peer does not read');
  }

  /** Sends what is queued, and ends; nothing is delivered any more but `handleEnd`. */
  end(farewell?: Farewell): void {
    this.#stop({ clean: true, text: 'closed here' });
    this.#link.close(farewell);
  }

  /** Ends at once: a path that is dead is not waited for. */
  abort(): void {
    this.#break('given up here');
  }

  handleMessage(bytes: Message): void {
    if (this.#ended !== undefined) return;
    this.#silence.refresh();
    const message = decodeControl(bytes);
    if (message === undefined) return this.#break('a message that cannot be');
    const isTaken =
      message.type === 'ping' ? (this.#handler.handlePing?.() ?? true) : this.#handler.handleControl(message);
    if (!isTaken) this.#break('a message that cannot be');
  }

  handleDrain(): void {}

  handleClose(reason: LinkCloseReason): void {
    this.#stop(reason);
    this.#handler.handleEnd(this.#ended ?? reason);
  }

  #break(text: string): void {
    this.#stop({ clean: false, text });
    this.#link.abort();
  }

  #stop(reason: LinkCloseReason): void {
    this.#ended ??= reason;
    clearInterval(this.#pings);
    clearTimeout(this.#silence);
  }
}
