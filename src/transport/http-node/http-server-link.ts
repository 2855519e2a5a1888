/**
 * The relay's end of an HTTP link: serves its requests, which the relay has found to be this link's. Knows neither keys
 * nor paths. `serve` returns false for what no client sends: the relay answers that as a stranger's.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Timer } from '../../clock.ts';
import { paddingFor } from '../http/blocks.ts';
import {
  AHEAD_MS,
  BODY_IDLE_MS,
  FIRST_PADDING_BYTES,
  MAX_BODY_BYTES,
  MAX_POLL_MS,
  MAX_SERVED_UPS,
  PAD_MS,
  UNUSED_MS,
  WINDOW_BYTES,
} from '../http/http-limits.ts';
import { HttpLinkEnd } from '../http/http-link-end.ts';
import type { LinkMemory } from '../http/link-memory.ts';
import { encodeDownHead, encodeUpAnswer, type LinkRequest } from '../http/link-requests.ts';
import { Reassembly } from '../http/reassembly.ts';
import type { StreamView } from '../http/stream-sender.ts';
import type { U64 } from '../http/u64.ts';
import { answerEnded, endInTime, writeLinkHead } from './link-answers.ts';

/** The answer to *down* or *poll* that is being served. */
interface Served {
  readonly response: ServerResponse;
  readonly isPoll: boolean;
  /** Its socket has enough. */
  isFull: boolean;
}

/** An *up* request: its body, and then its answer. */
interface Upload {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Offset of the next byte of the body. */
  at: number;
  bytes: number;
  isWhole: boolean;
  isDropped: boolean;
  /** The last byte, or the end. */
  heardAt: number;
}

/** One write; a larger one would hold more memory in the socket of a client that does not read. */
const WRITE_BYTES = 65_536;
/** Padding of an idle answer. */
const PAD_BYTES = { least: 16, most: 272 };
/** An answer to *up*, padded. */
const UP_ANSWER_SIZE = { least: 64, most: 320 };
/** Answers to *down* and *poll* that are complete, and whose client has not read them: more are aborted. */
const MAX_UNREAD = 2;
/** How often late bodies are looked for, and, where there are none, whether the link is silent or unused. */
const CHECK_MS = 500;
const IDLE_CHECK_MS = 2_500;

export interface HttpServerLinkOptions {
  readonly remote: string;
  readonly clock: Clock;
  readonly memory: LinkMemory;
  /** Nothing may be kept of it any more. */
  readonly onOver: () => void;
}

export class HttpServerLink extends HttpLinkEnd {
  /** Offset of the next byte that goes into an answer. */
  private sent = 0;
  /** The highest that it was: more no client can have. */
  private mostSent = 0;
  private served: Served | undefined;
  /** Complete, and not read by the client. */
  private readonly unread = new Set<ServerResponse>();
  private readonly intake = new Reassembly((bytes) => this.take(bytes));
  private readonly uploads = new Set<Upload>();
  private usedAt: number;
  private wroteAt = 0;
  private pollTimer: Timer | undefined;
  private checkTimer: Timer | undefined;
  private flushPending = false;
  /** Of `memory`. */
  private heldBytes = 0;

  constructor(private readonly options: HttpServerLinkOptions) {
    super(options.remote, options.clock);
    this.usedAt = this.clock.now();
    this.check();
  }

  /** The request that has opened the link: its answer is that of a *down* request. */
  open(response: ServerResponse): void {
    this.serveDown(0, response);
  }

  /** True: it is served. False: no client of this link has made it, and nothing was answered. */
  serve(link: LinkRequest, request: IncomingMessage, response: ServerResponse): boolean {
    if (!this.isServable(link, request)) return false;
    this.acknowledge(link.received);
    this.usedAt = this.clock.now();
    switch (link.kind) {
      case 'up':
        this.serveUp(Number(link.offset), request, response);
        break;
      case 'down':
        this.serveDown(link.offset, response);
        break;
      case 'poll':
        this.servePoll(Number(link.offset), link.waitMs, response);
        break;
      case 'close':
        answerEnded(response, this.clock);
        this.fail('aborted by the peer');
        break;
    }
    this.flushSoon();
    return true;
  }

  private acknowledge(received: number): void {
    // No honest client has bytes that the current answer is still to bring.
    if (received > this.sent) this.replaceServed();
    this.sent = Math.max(this.sent, received);
    this.sender.acknowledge(received);
  }

  private isServable({ kind, offset, received }: LinkRequest, request: IncomingMessage): boolean {
    if (received > this.mostSent) return false;
    if (request.method !== (kind === 'up' || kind === 'close' ? 'POST' : 'GET')) return false;
    const length = Number(request.headers['content-length'] ?? 0);
    const isGet = request.method === 'GET';
    if (length > MAX_BODY_BYTES || (isGet && (length > 0 || request.headers['transfer-encoding'] !== undefined)))
      return false;
    if (offset === 'all-ones' || kind === 'close') return true;
    if (kind === 'up') return offset <= this.intake.next + WINDOW_BYTES && this.uploads.size < MAX_SERVED_UPS;
    return offset >= Math.max(this.sender.acknowledged, received) && offset <= this.mostSent;
  }

  // ── down ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private serveDown(offset: U64, response: ServerResponse): void {
    this.replaceServed();
    if (offset !== 'all-ones') this.sent = Math.max(offset, this.sender.acknowledged);
    this.begin({ response, isPoll: false, isFull: false });
    writeLinkHead(response);
    response.write(encodeDownHead(this.sent));
    response.on('drain', () => this.handleDrained(response));
    if (this.sender.end - this.sent < FIRST_PADDING_BYTES.least) this.pad(FIRST_PADDING_BYTES);
    this.wroteAt = this.clock.now();
    this.flush();
  }

  private servePoll(offset: number, waitMs: number, response: ServerResponse): void {
    this.replaceServed();
    this.sent = Math.max(offset, this.sender.acknowledged);
    this.begin({ response, isPoll: true, isFull: false });
    this.pollTimer = this.clock.setTimeout(() => this.answerPoll(), Math.min(waitMs, MAX_POLL_MS));
    // Its first answer, which the client waits for.
    if (this.sender.end === 0) this.pad(FIRST_PADDING_BYTES);
    this.flushSoon();
  }

  private begin(served: Served): void {
    this.served = served;
    served.response.on('close', () => this.handleGone(served));
    served.response.on('error', () => {});
  }

  /** Ends the answer to the request before: the new one continues where it ends. */
  private replaceServed(): void {
    const { served } = this;
    if (served === undefined) return;
    if (served.isPoll) return this.answerPoll();
    this.served = undefined;
    this.end(served);
  }

  private end({ response }: Served): void {
    response.end();
    this.unread.add(response);
    const [oldest] = this.unread;
    if (oldest === undefined || this.unread.size <= MAX_UNREAD) return;
    this.unread.delete(oldest);
    oldest.destroy();
  }

  private handleGone(served: Served): void {
    this.unread.delete(served.response);
    if (this.served !== served) return;
    this.served = undefined;
    this.clock.clearTimeout(this.pollTimer);
    this.usedAt = this.clock.now();
  }

  private handleDrained(response: ServerResponse): void {
    if (this.served?.response !== response) return;
    this.served.isFull = false;
    this.flush();
  }

  /** Once in a turn, so that small messages of one turn leave together. */
  private flushSoon(): void {
    if (this.flushPending || this.isOver) return;
    this.flushPending = true;
    process.nextTick(HttpServerLink.flushNow, this);
  }

  private static flushNow(link: HttpServerLink): void {
    link.flushPending = false;
    link.flush();
  }

  private flush(): void {
    const { served } = this;
    if (this.isOver) return;
    if (served?.isPoll && this.sender.end > this.sent) this.answerPoll();
    else if (served !== undefined && !served.isPoll) this.writeDown(served);
    this.noteMemory();
    this.handleSent();
  }

  private writeDown(served: Served): void {
    const { sender } = this;
    this.padToSize();
    const most = sender.acknowledged + this.options.memory.downWindowBytes;
    while (!served.isFull && this.sent < Math.min(sender.end, most)) {
      const to = Math.min(sender.end, most, this.sent + WRITE_BYTES);
      served.isFull = !writeView(served.response, sender.view(this.sent, to));
      this.setSent(to);
      this.wroteAt = this.clock.now();
    }
  }

  private answerPoll(): void {
    const { served, sender } = this;
    this.clock.clearTimeout(this.pollTimer);
    if (served === undefined || !served.isPoll) return;
    this.served = undefined;
    this.usedAt = this.clock.now();
    this.padToSize();
    const most = Math.min(sender.acknowledged + this.options.memory.downWindowBytes, this.sent + MAX_BODY_BYTES);
    const to = Math.max(this.sent, Math.min(sender.end, most));
    const head = encodeDownHead(this.sent);
    writeLinkHead(served.response, head.length + to - this.sent);
    served.response.write(head);
    writeView(served.response, sender.view(this.sent, to));
    this.setSent(to);
    this.end(served);
  }

  private setSent(to: number): void {
    this.sent = to;
    this.mostSent = Math.max(this.mostSent, to);
  }

  /** Of what is sent next, if it is little. */
  private padToSize(): void {
    const waiting = this.sender.end - this.sent;
    const padding = waiting > 0 ? paddingFor(waiting) : 0;
    if (padding > 0) this.sender.appendPadding(padding);
  }

  private pad({ least, most }: { readonly least: number; readonly most: number }): void {
    this.sender.appendPadding(least + Math.floor(this.clock.random() * (most - least)));
  }

  // ── up ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  private serveUp(offset: number, request: IncomingMessage, response: ServerResponse): void {
    const heardAt = this.clock.now();
    const upload: Upload = { request, response, at: offset, bytes: 0, isWhole: false, isDropped: false, heardAt };
    this.uploads.add(upload);
    if (this.uploads.size === 1) this.checkAfter(CHECK_MS);
    request.on('data', (chunk: Buffer) => this.takeBody(upload, chunk));
    request.on('end', () => {
      upload.isWhole = true;
      upload.heardAt = this.clock.now();
      this.answerUploads();
    });
    response.on('error', () => {});
    response.on('close', () => {
      this.uploads.delete(upload);
      this.usedAt = this.clock.now();
    });
    this.handleAppetite();
  }

  private takeBody(upload: Upload, chunk: Buffer): void {
    upload.bytes += chunk.length;
    upload.heardAt = this.clock.now();
    if (this.isOver) return;
    if (upload.bytes > MAX_BODY_BYTES) return void upload.request.destroy();
    const { at } = upload;
    upload.at += chunk.length;
    if (!this.intake.take(at, chunk, this.options.memory.windowBytes)) upload.isDropped = true;
    this.noteMemory();
    this.answerUploads();
  }

  /** Those that are whole and have no hole before them, or too little room to wait for it. */
  private answerUploads(): void {
    for (const upload of this.uploads) {
      const isIn = this.intake.next >= upload.at || upload.isDropped || upload.bytes === 0;
      if (upload.isWhole && isIn) this.answerUpload(upload);
    }
  }

  private answerUpload(upload: Upload): void {
    this.uploads.delete(upload);
    const { response } = upload;
    if (response.headersSent) return;
    const { least, most } = UP_ANSWER_SIZE;
    const size = least + Math.floor(this.clock.random() * (most - least));
    const answer = encodeUpAnswer({ received: this.intake.next, sent: this.sent }, size);
    writeLinkHead(response, answer.length);
    response.end(answer);
  }

  // ── HttpLinkEnd ────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get unsentBytes(): number {
    return this.sender.end - this.sent;
  }

  protected override handleAppended(): void {
    this.flushSoon();
  }

  protected override handleAppetite(): void {
    for (const { request } of this.uploads) {
      if (!this.wantsMore) request.pause();
      else if (request.isPaused()) request.resume();
    }
  }

  protected override handlePeerClosed(): void {
    // It has closed, and reads nothing but our Close: the answer to any further request of it says that too.
    this.flush();
    this.finishClosed();
  }

  protected override handleOver(isAbort: boolean): void {
    this.clock.clearTimeout(this.pollTimer);
    this.clock.clearTimeout(this.checkTimer);
    const { served } = this;
    this.served = undefined;
    const last = [...this.unread, ...(served === undefined ? [] : [served.response])];
    this.unread.clear();
    for (const response of last) {
      if (!response.headersSent) answerEnded(response, this.clock);
      else if (isAbort) response.destroy();
      else endInTime(response, this.clock);
    }
    for (const { response } of this.uploads) answerEnded(response, this.clock);
    this.uploads.clear();
    this.options.memory.change(-this.heldBytes);
    this.heldBytes = 0;
    this.options.onOver();
  }

  private noteMemory(): void {
    if (this.isOver) return;
    const held = this.sender.retainedBytes + this.intake.heldBytes;
    this.options.memory.change(held - this.heldBytes);
    this.heldBytes = held;
  }

  // ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  private check(): void {
    this.checkAfter(this.uploads.size > 0 ? CHECK_MS : IDLE_CHECK_MS);
    const now = this.clock.now();
    for (const upload of this.uploads) this.checkUpload(upload, now);
    // Of an answer that waits behind another on its connection Node does not tell that this has ended.
    if (this.served?.response.req.socket.destroyed === true) this.handleGone(this.served);
    const isUsed = this.served !== undefined || this.uploads.size > 0;
    if (!isUsed && now - this.usedAt >= UNUSED_MS) return this.fail('no request came');
    if (this.served?.isPoll !== false || now - this.wroteAt < PAD_MS || this.served.isFull) return;
    // The client has acknowledged too little: it would get none of it.
    if (this.sender.end > this.sent) return;
    this.pad(PAD_BYTES);
    this.flush();
  }

  private checkAfter(ms: number): void {
    this.clock.clearTimeout(this.checkTimer);
    this.checkTimer = this.clock.setTimeout(() => this.check(), ms).unref();
  }

  private checkUpload(upload: Upload, now: number): void {
    if (upload.request.socket.destroyed) this.uploads.delete(upload);
    if (upload.isWhole && now - upload.heardAt >= AHEAD_MS) this.answerUpload(upload);
    // While the owner has paused the link, it is not the client that is slow.
    if (!this.wantsMore) upload.heardAt = now;
    else if (!upload.isWhole && now - upload.heardAt >= BODY_IDLE_MS) upload.request.destroy();
  }
}

/** As the response's own `write`. The bytes are given back when the kernel has them, or TLS has sealed them. */
function writeView(response: ServerResponse, view: StreamView): boolean {
  let hasRoom = true;
  const last = view.pieces.length - 1;
  const done = (error?: Error | null): void => {
    if (!error && !response.destroyed) view.release();
  };
  for (const [i, piece] of view.pieces.entries())
    hasRoom = i < last ? response.write(piece) : response.write(piece, done);
  return hasRoom;
}
