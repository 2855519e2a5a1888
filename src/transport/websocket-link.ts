/**
 * A MessageLink over an open WebSocket: one binary message is one message of the link, sent as one frame.
 *
 * `ws` owns the upgrade, control frames, all that is out of the ordinary, and the closing handshake; when a ping is
 * answered is decided here. This file writes data frames to the raw socket itself (websocket-frame.ts says why), and
 * whole ones that come in go past `ws` (websocket-intake.ts). Both write whole frames, each in one go and in call order
 * (no deflate, no blobs), so their frames never mix. Nothing here looks into a message.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { joinOwned, type Lent, lend, type Piece, releaseAll, takeLentBack } from '../memory/pieces.ts';
import { WrittenPieces } from '../memory/written-pieces.ts';
import { formatHostPort } from '../net/host-port.ts';
import type { Farewell, LinkCloseReason, Message, MessageLink, MessageLinkHandler } from './message-link.ts';
import { frameMessage, type Masking } from './websocket-frame.ts';
import { type LentReads, WebSocketIntake } from './websocket-intake.ts';
import { HIGH_MARK_BYTES, MAX_MESSAGE_BYTES, MAX_SKIPPED_PINGS } from './websocket-limits.ts';

/**
 * Messages of one turn of the event loop are written together up to this size: small ones gain threefold; large ones
 * lose, as two or more of them pass the 64 KiB that loopback and a socket read take at once.
 */
const WRITE_TOGETHER_BYTES = 32 * 1024;

/** RFC 6455 §7.4.1. */
const FAREWELL_CODES: Readonly<Record<Farewell, number>> = { done: 1000, 'going-away': 1001 };
/** Codes with which a peer that is well says goodbye; 1005: none given. */
const CLEAN_CODES: ReadonlySet<number> = new Set([...Object.values(FAREWELL_CODES), 1005]);
const NO_GOODBYE = 1006;

export interface WebSocketLinkParts {
  /** Open, made with SOCKET_LIMITS, no listeners on it yet. */
  readonly socket: WebSocket;
  /** What `socket` runs on. */
  readonly raw: Duplex;
  readonly masking: Masking;
  /** For logs: an address, never a URL. */
  readonly remote: string;
  /** Takes text messages, which are no messages of the link. Without it one ends the link. */
  readonly onText?: ((text: string) => void) | undefined;
  /** Of a socket that is read into memory of its own. */
  readonly lentReads?: LentReads | undefined;
}

/** Where a message that came in pieces is joined for those who read it at once: one for all links of the process. */
let joinBuffer: Buffer | undefined;

/** Must be called in the turn in which the WebSocket opened: it stops delivery until there is a handler. */
export function webSocketLink(parts: WebSocketLinkParts): MessageLink {
  return new WebSocketLink(parts);
}

/** `address:port` of the other end of a socket, for logs. */
export function peerAddress(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  const { remoteAddress = 'unknown', remotePort = 0 } = socket;
  return formatHostPort({ host: remoteAddress, port: remotePort });
}

class WebSocketLink implements MessageLink {
  readonly maxMessageBytes = MAX_MESSAGE_BYTES;
  readonly remote: string;
  private readonly socket: WebSocket;
  private readonly raw: Duplex;
  private readonly masking: Masking;
  private readonly onText: ((text: string) => void) | undefined;
  private readonly intake: WebSocketIntake | undefined;
  private handler: MessageLinkHandler | undefined;
  /**
   * Set by the first thing that ends the link. From then on nothing is sent, and nothing delivered but `handleClose`.
   */
  private ending: LinkCloseReason | undefined;
  private closed = false;
  private paused = false;
  /** `send` has returned false, and `handleDrain` is owed. */
  private blocked = false;
  private corked = false;
  private readonly written: WrittenPieces;
  private flushPending = false;
  /** The latest ping that came while there was no room for its answer, and how many did. */
  private owedPong: Buffer | undefined;
  private skippedPings = 0;

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
    // The peer's goodbye makes `ws` answer with ours, after which no frame may follow (RFC 6455 §5.5.1).
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
    // 'drain' is sure to follow: this much is above the socket's own mark, which makes it owe one.
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

  close(farewell: Farewell = 'done'): void {
    if (this.ending !== undefined) return;
    this.ending = { clean: true, text: 'closed here' };
    this.socket.close(FAREWELL_CODES[farewell]);
    this.uncork();
    // Else the peer's goodbye would lie unread behind what is paused.
    this.socket.resume();
  }

  abort(): void {
    this.fail('aborted here');
  }

  private receive(data: WebSocket.RawData): void {
    if (this.ending !== undefined) return;
    // With binaryType 'fragments' only a text message is no array.
    if (Array.isArray(data)) this.handler?.handleMessage(data);
    else if (this.onText !== undefined) this.onText(data.toString());
    else this.fail('the peer sent a text message');
  }

  /** All are answered while there is room. At the mark 'drain' is sure to follow. */
  private handlePing(data: Buffer): void {
    if (this.raw.writableLength < HIGH_MARK_BYTES) return this.pong(data);
    // A copy: it could hold all that was read with it.
    this.owedPong = Buffer.from(data);
    this.skippedPings += 1;
    if (this.skippedPings > MAX_SKIPPED_PINGS) this.fail('the peer sent too many pings without reading the answers');
  }

  private pong(data: Buffer): void {
    if (this.ending !== undefined || this.socket.readyState !== WebSocket.OPEN) return;
    this.cork();
    this.socket.pong(data);
  }

  private takeIn({ raw, masking, lentReads }: WebSocketLinkParts): WebSocketIntake | undefined {
    // Only a server's frames go unmasked, so who sends them so has a client before it.
    const intake = WebSocketIntake.take(raw, masking === 'none', {
      handleMessage: (held, last) => this.deliver(held, last),
      handleFault: (text) => this.fail(text),
    });
    if (lentReads !== undefined && intake !== undefined) lentReads.read = (chunk) => intake.readLent(chunk);
    return intake;
  }

  /** `last` is lent, and stands behind `held`, which is this link's. */
  private deliver(held: Piece[], last?: Lent): void {
    const handler = this.handler;
    if (this.ending !== undefined || handler === undefined) return releaseAll(held);
    const { reader } = handler;
    if (reader === undefined) return handler.handleMessage(last === undefined ? held : [kept(held, last)]);
    const whole = joined(held, last);
    reader.readMessage([whole]);
    if (whole !== last) takeLentBack(whole);
    releaseAll(held);
  }

  /** The end follows from the 'close' of the WebSocket, so never within the caller's turn. */
  private fail(text: string): void {
    if (this.closed) return;
    if (this.ending === undefined || this.ending.clean) this.ending = { clean: false, text };
    this.socket.terminate();
  }

  private end(code: number): void {
    if (this.ending === undefined || (this.ending.clean && code === NO_GOODBYE)) {
      const text =
        code === NO_GOODBYE ? 'the connection ended without a close frame' : `closed by the peer, code ${code}`;
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
    const owed = this.owedPong;
    this.owedPong = undefined;
    this.skippedPings = 0;
    if (owed !== undefined) this.pong(owed);
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

  /** Static, so that a turn costs no closure, nor an idle link the memory of one. */
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

/** Valid until the next call, or as long as its only piece. */
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

/** Memory of its own for those who keep what they are given. */
function kept(held: readonly Piece[], last: Lent): Piece {
  const bytes = joinOwned([...held, last]);
  releaseAll(held);
  return bytes;
}
