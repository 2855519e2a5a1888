/**
 * A MessageLink over an open WebSocket: one binary message is one message of the link, sent as one frame. `ws` handles
 * the upgrade, control frames, everything unusual, and the closing handshake. This file decides when a ping is
 * answered, writes data frames to the raw socket itself (websocket-frame.ts says why), and receives whole ones without
 * `ws` (websocket-intake.ts). Both write whole frames, each in one step and in call order (no deflate, no blobs), so
 * their frames never mix.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { joinOwned, type Lent, lend, type Piece, releaseAll, takeLentBack } from '../../memory/pieces.ts';
import { WrittenPieces } from '../../memory/written-pieces.ts';
import { formatHostPort } from '../../net/host-port.ts';
import type { LentReads } from '../connection/connection-dial.ts';
import type { CloseCode, LinkCloseReason, Message, MessageLink, MessageLinkHandler } from '../message-link.ts';
import { frameMessage, type Masking } from './websocket-frame.ts';
import { type LinkSide, WebSocketIntake } from './websocket-intake.ts';
import { HIGH_MARK_BYTES, MAX_MESSAGE_BYTES, MAX_SKIPPED_PINGS } from './websocket-limits.ts';

/**
 * Messages of one turn of the event loop are written together up to this size. Small ones become three times as fast;
 * large ones become slower, as two or more exceed the 64 KiB that loopback and a socket read take at once.
 */
const WRITE_TOGETHER_BYTES = 32 * 1024;

/** RFC 6455 §7.4.1. */
const CLOSE_CODES: Readonly<Record<CloseCode, number>> = { done: 1000, 'going-away': 1001 };
/** Codes of an orderly end; 1005: the close frame has no code. */
const CLEAN_CODES: ReadonlySet<number> = new Set([...Object.values(CLOSE_CODES), 1005]);
/** There was no close frame. */
const ABNORMAL_CLOSURE = 1006;

export interface WebSocketLinkParts {
  /** Open, created with SOCKET_LIMITS, without listeners. */
  readonly socket: WebSocket;
  /** The stream under `socket`. */
  readonly raw: Duplex;
  readonly masking: Masking;
  /** For logs: an address, never a URL. */
  readonly remote: string;
  /** Receives text messages, which do not belong to the link. Without it a text message ends the link. */
  readonly onText?: ((text: string) => void) | undefined;
  /** For a socket that is read into lent memory. */
  readonly lentReads?: LentReads | undefined;
}

/** Messages in pieces are joined here for a MessageReader: one buffer for all links of the process. */
let joinBuffer: Buffer | undefined;

/** `address:port` of the other end of a socket, for logs. */
export function peerAddress(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  const { remoteAddress = 'unknown', remotePort = 0 } = socket;
  return formatHostPort({ host: remoteAddress, port: remotePort });
}

export class WebSocketLink implements MessageLink, LinkSide {
  readonly maxMessageBytes = MAX_MESSAGE_BYTES;
  readonly remote: string;
  private readonly socket: WebSocket;
  private readonly raw: Duplex;
  private readonly masking: Masking;
  private readonly onText: ((text: string) => void) | undefined;
  private readonly intake: WebSocketIntake | undefined;
  private handler: MessageLinkHandler | undefined;
  /** Set by the first cause that ends the link. From then on nothing is sent, and only `handleClose` is called. */
  private ending: LinkCloseReason | undefined;
  private closed = false;
  private paused = false;
  /** `send` has returned false, and `handleDrain` is pending. */
  private blocked = false;
  private corked = false;
  private readonly written: WrittenPieces;
  private flushPending = false;
  /** The latest ping that arrived while there was no room for its answer, and how many did. */
  private pendingPong: Buffer | undefined;
  private skippedPings = 0;

  /** Must be called in the turn in which the WebSocket opened: it stops delivery until there is a handler. */
  constructor(parts: WebSocketLinkParts) {
    this.remote = parts.remote;
    this.socket = parts.socket;
    this.raw = parts.raw;
    this.written = new WrittenPieces(parts.raw);
    this.masking = parts.masking;
    this.onText = parts.onText;
    // An array of fragments as they came, instead of one more copy.
    this.socket.binaryType = 'fragments';
    this.socket.on('message', (data) => this.receive(data));
    this.socket.on('ping', (data) => this.handlePing(data));
    this.socket.on('error', (error) => {
      this.intake?.stop();
      this.fail(error.message);
    });
    this.socket.on('close', (code) => this.end(code));
    this.raw.on('drain', () => this.drain());
    this.raw.on('error', (error: NodeJS.ErrnoException) => this.fail(error.code ?? error.message));
    this.intake = this.takeIn(parts);
    this.socket.pause();
  }

  get queuedBytes(): number {
    return this.closed ? 0 : this.raw.writableLength;
  }

  setHandler(handler: MessageLinkHandler): void {
    const first = this.handler === undefined;
    this.handler = handler;
    if (!first) return;
    if (this.closed) process.nextTick(() => this.deliverClose());
    else if (!this.paused) this.socket.resume();
  }

  send(message: Message): boolean {
    // `ws` answers the peer's close frame with ours, and no frame may follow that (RFC 6455 §5.5.1).
    if (this.ending !== undefined || this.socket.readyState !== WebSocket.OPEN) {
      releaseAll(message);
      return true;
    }
    let bytes = 0;
    for (const piece of message) bytes += piece.byteLength;
    if (bytes > MAX_MESSAGE_BYTES) {
      this.fail(`a message of ${bytes} bytes is too long to send`);
      return true;
    }
    this.cork();
    for (const piece of frameMessage(message, bytes, this.masking)) this.written.write(piece);
    if (this.raw.writableLength >= WRITE_TOGETHER_BYTES) this.uncork();
    // 'drain' will follow: this is above the socket's own high-water mark.
    this.blocked = this.raw.writableLength >= HIGH_MARK_BYTES;
    return !this.blocked;
  }

  pause(): void {
    this.paused = true;
    this.socket.pause();
  }

  resume(): void {
    this.paused = false;
    if (this.handler !== undefined) this.socket.resume();
  }

  close(code: CloseCode = 'done'): void {
    if (this.ending !== undefined) return;
    this.ending = { clean: true, text: 'closed here' };
    this.socket.close(CLOSE_CODES[code]);
    this.uncork();
    // Otherwise the peer's close frame would stay unread in the paused socket.
    this.socket.resume();
  }

  abort(): void {
    this.fail('aborted here');
  }

  private receive(data: WebSocket.RawData): void {
    if (this.ending !== undefined) return;
    // With binaryType 'fragments' only text messages are not arrays.
    if (Array.isArray(data)) this.handler?.handleMessage(data);
    else if (this.onText !== undefined) this.onText(data.toString());
    else this.fail('the peer sent a text message');
  }

  /** All pings are answered while there is room. At the mark 'drain' will follow. */
  private handlePing(data: Buffer): void {
    if (this.raw.writableLength < HIGH_MARK_BYTES) return this.pong(data);
    // A copy, which does not hold all that was read with it.
    this.pendingPong = Buffer.from(data);
    this.skippedPings += 1;
    if (this.skippedPings > MAX_SKIPPED_PINGS) this.fail('the peer sent too many pings without reading the answers');
  }

  private pong(data: Buffer): void {
    if (this.ending !== undefined || this.socket.readyState !== WebSocket.OPEN) return;
    this.cork();
    this.socket.pong(data);
  }

  private takeIn({ raw, masking, lentReads }: WebSocketLinkParts): WebSocketIntake | undefined {
    // Only a server sends unmasked frames, and its peer is a client, which must mask.
    const intake = WebSocketIntake.take(raw, masking === 'none', this);
    if (lentReads !== undefined && intake !== undefined) lentReads.read = (chunk) => intake.readLent(chunk);
    return intake;
  }

  // ── LinkSide: of its intake, for which an idle link holds no closures ──────────────────────────────────────────────

  /** `last` is lent and follows `held`, which this link owns. */
  handleMessage(held: Piece[], last?: Lent): void {
    const handler = this.handler;
    if (this.ending !== undefined || handler === undefined) return releaseAll(held);
    const { reader } = handler;
    if (reader === undefined) return handler.handleMessage(last === undefined ? held : [kept(held, last)]);
    const whole = joined(held, last);
    reader.readMessage([whole]);
    if (whole !== last) takeLentBack(whole);
    releaseAll(held);
  }

  handleFault(text: string): void {
    this.fail(text);
  }

  /** The 'close' event of the WebSocket ends the link, so never within the caller's turn. */
  private fail(text: string): void {
    if (this.closed) return;
    if (this.ending === undefined || this.ending.clean) this.ending = { clean: false, text };
    this.socket.terminate();
  }

  private end(code: number): void {
    if (this.ending === undefined || (this.ending.clean && code === ABNORMAL_CLOSURE)) {
      const text =
        code === ABNORMAL_CLOSURE ? 'the connection ended without a close frame' : `closed by the peer, code ${code}`;
      this.ending = { clean: CLEAN_CODES.has(code), text };
    }
    this.closed = true;
    if (this.handler !== undefined) this.deliverClose();
  }

  private deliverClose(): void {
    if (this.ending !== undefined) this.handler?.handleClose(this.ending);
  }

  private drain(): void {
    this.written.reclaim();
    const pong = this.pendingPong;
    this.pendingPong = undefined;
    this.skippedPings = 0;
    if (pong !== undefined) this.pong(pong);
    if (!this.blocked || this.ending !== undefined) return;
    this.blocked = false;
    this.handler?.handleDrain();
  }

  private cork(): void {
    if (this.corked) return;
    this.corked = true;
    this.raw.cork();
    if (this.flushPending) return;
    this.flushPending = true;
    process.nextTick(WebSocketLink.endTurn, this);
  }

  /** Static, so that a turn allocates no closure, and an idle link holds none. */
  private static endTurn(link: WebSocketLink): void {
    link.flushPending = false;
    link.uncork();
  }

  private uncork(): void {
    if (!this.corked) return;
    this.corked = false;
    this.raw.uncork();
    this.written.reclaim();
  }
}

/** The result is valid until the next call, or as long as the only piece. */
function joined(held: readonly Piece[], last?: Lent): Lent {
  const [first] = held;
  if (first === undefined && last !== undefined) return last;
  if (held.length === 1 && first !== undefined && last === undefined) return lend(first);
  joinBuffer ??= Buffer.allocUnsafeSlow(MAX_MESSAGE_BYTES);
  let end = 0;
  for (const piece of held) end = append(joinBuffer, piece, end);
  if (last !== undefined) end = append(joinBuffer, last, end);
  return lend(joinBuffer.subarray(0, end));
}

function append(to: Uint8Array, bytes: Uint8Array, at: number): number {
  to.set(bytes, at);
  return at + bytes.length;
}

/** In memory of its own, for a receiver that keeps it. */
function kept(held: readonly Piece[], last: Lent): Piece {
  const bytes = joinOwned([...held, last]);
  releaseAll(held);
  return bytes;
}
