/**
 * A client's WebSocket to a relay, for a process that has tens of thousands of them: no `ws`, no buffers of its own, and
 * one read buffer for all. It knows as much of RFC 6455 as a relay of wstun sends: whole binary messages, pings, Close.
 */
import { connect, type Socket } from 'node:net';

/** All sockets read into it: what a link is given is valid during the call only. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
/** As a client of wstun (docs/limits.md): TCP, and all of a dial with the upgrade. */
const CONNECT_LIMIT_MS = 5_000;
const OPEN_LIMIT_MS = 10_000;

const FIN_BINARY = 0x82;
const CLOSE = 0x88;
const PING = 0x89;
const FIN_PONG = 0x8a;
const MASKED = 0x80;
const LENGTH = 0x7f;
const TWO_BYTES = 126;
const EIGHT_BYTES = 127;
const KEY = Buffer.alloc(4);
const END_OF_HEAD = '\r\n\r\n';
/** Whoever answers is known by its keys later: the nonce of the upgrade is no secret, and need not be another each time. */
const WEBSOCKET_KEY = 'd3N0dW4gYmVuY2htYXJrIQ==';

export interface LinkPlace {
  readonly host: string;
  readonly port: number;
  /** Of this machine: one alone has not enough ports. */
  readonly source: string;
}

export interface LinkOwner {
  handleOpen(): void;
  /** @param content lent */
  handleMessage(content: Buffer): void;
  /** In the place of `handleOpen`: the answer was not 101. */
  handleRefused(status: number, etag: string | undefined): void;
  /** Once; the last call. `why`: `ECONNREFUSED`, `closed`, `late`, … */
  handleLost(why: string): void;
}

export class LeanLink {
  private readonly socket: Socket;
  private isOpen = false;
  private isOver = false;
  /** What has come of a head or a frame that is not complete. */
  private partial: Buffer | undefined;
  private limit: NodeJS.Timeout | undefined;

  /** @param target path of the request, with the ticket */
  constructor(
    { host, port, source }: LinkPlace,
    target: string,
    private readonly owner: LinkOwner,
  ) {
    this.socket = connect({
      ...{ host, port, localAddress: source, noDelay: true },
      onread: { buffer: READ_BUFFER, callback: (bytes) => this.read(bytes) },
    });
    const request = `GET ${target} HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    this.socket.write(
      `${request}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${WEBSOCKET_KEY}${END_OF_HEAD}`,
      'latin1',
    );
    this.socket.once('connect', () => this.limitTo(OPEN_LIMIT_MS - CONNECT_LIMIT_MS, 'late'));
    this.socket.on('error', ({ code }: NodeJS.ErrnoException) => this.lose(code ?? 'error'));
    this.socket.on('close', () => this.lose('closed'));
    this.limitTo(CONNECT_LIMIT_MS, 'no TCP connection');
  }

  /** Each payload is one message, and all of them one write. */
  send(payloads: readonly (readonly Uint8Array[])[]): void {
    if (this.isOver) return;
    const [only] = payloads;
    this.socket.write(
      payloads.length === 1 && only ? framed(only) : Buffer.concat(payloads.map((payload) => framed(payload))),
    );
  }

  abort(): void {
    this.lose('aborted here');
  }

  private limitTo(ms: number, why: string): void {
    clearTimeout(this.limit);
    this.limit = this.isOver || this.isOpen ? undefined : setTimeout(() => this.lose(why), ms);
  }

  private lose(why: string): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.limit);
    this.socket.destroy();
    this.owner.handleLost(why);
  }

  private read(bytes: number): boolean {
    const chunk = READ_BUFFER.subarray(0, bytes);
    const whole = this.partial === undefined ? chunk : Buffer.concat([this.partial, chunk]);
    this.partial = undefined;
    const at = this.isOpen ? 0 : this.readHead(whole);
    const rest = this.isOpen ? this.readFrames(whole, at) : whole;
    // The buffer is of the next read.
    if (rest.length > 0 && !this.isOver) this.partial = Buffer.from(rest);
    return true;
  }

  /** Where the frames begin. */
  private readHead(bytes: Buffer): number {
    const end = bytes.indexOf(END_OF_HEAD);
    if (end < 0) return 0;
    const head = bytes.toString('latin1', 0, end);
    const status = Number(head.slice(9, 12));
    if (status === 101) {
      this.isOpen = true;
      clearTimeout(this.limit);
      this.limit = undefined;
      this.owner.handleOpen();
    } else {
      this.owner.handleRefused(status, /\r\netag: (.*)/i.exec(head)?.[1]);
      this.abort();
    }
    return end + END_OF_HEAD.length;
  }

  /** Returns what is left of the last frame. */
  private readFrames(bytes: Buffer, start: number): Buffer {
    let at = start;
    while (!this.isOver && bytes.length - at >= 2) {
      const short = (bytes[at + 1] ?? 0) & LENGTH;
      if (short === EIGHT_BYTES) this.lose('a message too long');
      const header = short === TWO_BYTES ? 4 : 2;
      if (bytes.length - at < header) break;
      const length = short === TWO_BYTES ? bytes.readUInt16BE(at + 2) : short;
      const end = at + header + length;
      if (bytes.length < end) break;
      this.takeFrame(bytes[at] ?? 0, bytes.subarray(at + header, end));
      at = end;
    }
    return bytes.subarray(at);
  }

  private takeFrame(kind: number, content: Buffer): void {
    if (kind === FIN_BINARY) this.owner.handleMessage(content);
    else if (kind === CLOSE) this.lose(`closed with ${content.length >= 2 ? content.readUInt16BE(0) : 'no status'}`);
    else if (kind === PING) this.socket.write(framed([content], FIN_PONG));
    else this.lose('a frame that no relay sends');
  }
}

/** One frame, its mask a key of zeros. */
function framed(payload: readonly Uint8Array[], kind = FIN_BINARY): Buffer {
  const length = payload.reduce((sum, piece) => sum + piece.length, 0);
  if (length < TWO_BYTES) return Buffer.concat([Uint8Array.of(kind, MASKED | length), KEY, ...payload]);
  return Buffer.concat([Uint8Array.of(kind, MASKED | TWO_BYTES, length >> 8, length & 0xff), KEY, ...payload]);
}
