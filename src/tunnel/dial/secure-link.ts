/**
 * A MessageLink whose messages travel as sealed records over another (docs/protocol.md §2.4). Made by handshake.ts
 * only, when the keys are agreed on.
 *
 * A record that is not the next one in order, whole and genuine, aborts the link before a byte of it is delivered; the
 * layer above never sees that as a clean end. It does not know what the messages mean, nor who the peer is.
 */
import type { RecordOpener, RecordSealer } from '../../crypto/record-cipher.ts';
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import type {
  CloseCode,
  LentMessage,
  LinkCloseReason,
  Message,
  MessageLink,
  MessageLinkHandler,
  MessageReader,
} from '../../transport/message-link.ts';

const TAG_BYTES = 16;

/** Absent where encryption is off: both ends are authenticated, and TLS protects the rest. */
export interface RecordCiphers {
  readonly sealer: RecordSealer;
  readonly opener: RecordOpener;
}

export class SecureLink implements MessageLink, MessageLinkHandler, MessageReader {
  readonly maxMessageBytes: number;
  private handler: MessageLinkHandler | undefined;
  /** Received while there was no handler, in the same read as the message whose handler left: one read at most. */
  private early: Message[] | undefined;
  private closed: LinkCloseReason | undefined;

  constructor(
    /** Over which it goes. */
    readonly inner: MessageLink,
    private readonly ciphers: RecordCiphers | undefined,
  ) {
    this.maxMessageBytes = inner.maxMessageBytes - TAG_BYTES;
    inner.setHandler(this);
  }

  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  get remote(): string {
    return this.inner.remote;
  }

  /** Opened records are in memory of their own. */
  get reader(): MessageReader | undefined {
    return this.ciphers === undefined ? undefined : this;
  }

  setHandler(handler: MessageLinkHandler): void {
    this.handler = handler;
    if (this.early !== undefined || this.closed !== undefined) queueMicrotask(() => this.deliverEarly());
  }

  /** Messages are kept until another handler is set, which must be before the turn ends. */
  takeHandler(): void {
    this.handler = undefined;
  }

  /** A message that no record can hold, or the end of the nonces, aborts the link. */
  send(message: Message): boolean {
    try {
      return this.inner.send(this.seal(message));
    } catch {
      this.inner.abort();
      return true;
    }
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  close(code?: CloseCode): void {
    this.early = undefined;
    this.inner.close(code);
  }

  abort(): void {
    this.early = undefined;
    this.inner.abort();
  }

  // ── from the link below ────────────────────────────────────────────────────────────────────────────────────────────

  handleMessage(message: Message): void {
    if (this.ciphers !== undefined) {
      this.readMessage(message as readonly Piece[] as LentMessage);
      return releaseAll(message);
    }
    this.deliver(bytesOf(message) > this.maxMessageBytes ? undefined : message);
  }

  readMessage(message: LentMessage): void {
    this.deliver(this.ciphers?.opener.open(message));
  }

  /** Undefined: it was no record of the peer, or not the next one. */
  private deliver(opened: Message | undefined): void {
    if (opened === undefined) this.inner.abort();
    else if (this.handler !== undefined) this.handler.handleMessage(opened);
    else this.keepEarly(opened);
  }

  private keepEarly(message: Message): void {
    this.early ??= [];
    this.early.push(message);
  }

  handleDrain(): void {
    this.handler?.handleDrain();
  }

  handleClose(reason: LinkCloseReason): void {
    if (this.handler === undefined) this.closed = reason;
    else this.handler.handleClose(reason);
  }

  private deliverEarly(): void {
    for (let next = this.early?.shift(); next !== undefined; next = this.early?.shift())
      this.handler?.handleMessage(next);
    this.early = undefined;
    const reason = this.closed;
    this.closed = undefined;
    if (reason !== undefined) this.handler?.handleClose(reason);
  }

  // ── records ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws RangeError for a message that no record can hold, WstunError when the nonces are used up */
  private seal(message: Message): Message {
    if (this.ciphers === undefined) {
      if (bytesOf(message) > this.maxMessageBytes) throw new RangeError('too long for a record');
      return message;
    }
    const record = this.ciphers.sealer.seal(message);
    releaseAll(message);
    return record;
  }
}

function bytesOf(message: Message): number {
  return message.reduce((sum, piece) => sum + piece.length, 0);
}
