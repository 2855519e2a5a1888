/**
 * A connection to a relay that shows the site of an upstream. All bytes are passed on as they come, both ways,
 * half-closes and resets included, and with back-pressure, so that the upstream alone decides what a visitor gets and
 * when. Only the whole head of a request that the gate admits is kept back: the connection is handed over then.
 *
 * A head that comes in parts is passed on in parts, because the upstream's time-outs, and its answer to a malformed
 * line, do not wait for the end. If such a head is admitted, the upstream sees a request that its client has given up.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../clock.ts';
import { badGateway } from './bad-gateway.ts';
import { ProofHeader } from './proof-header.ts';
import { type RequestHead, RequestScanner } from './request-scanner.ts';
import type { Connecting, SiteUpstream, UpstreamConnection } from './site-upstream.ts';
import type { Visitor, Visitors } from './visitors.ts';

/** What the gate says to a request: it is taken, or goes on, perhaps with a proof for its peer. */
export type HeadDecision =
  | { readonly take: (rest: Buffer) => void; readonly etag?: undefined }
  | { readonly take?: undefined; readonly etag: string | undefined };

export interface SiteOwner {
  /** It takes time to decide, and will hardly be admitted: the upstream gets it first. */
  isSuspect(head: RequestHead): boolean;
  /** Once for each request: it uses the ticket up. `take` gets the connection, and what follows the head. */
  decide(head: RequestHead): HeadDecision;
  /** Something has come that is no valid ticket. */
  handleVisitor(): void;
}

/** As Linux's tcp_fin_timeout: how long one direction may be open when the other has ended and nothing moves. */
const HALF_CLOSED_MS = 60_000;
/** How long a connection may be silent that has no upstream: as with nginx. */
const SILENT_MS = 60_000;
/** How long a connection is read after the answer that there is no upstream, so that no reset overtakes it. */
const LINGER_MS = 5_000;
/** What a peer may send before the upstream is connected. */
const MAX_EARLY_BYTES = 64 * 1024;

export interface SiteParts {
  /** Accepted, half-open capable, and not read yet. */
  readonly socket: Socket;
  readonly source: string | undefined;
  readonly site: SiteUpstream;
  readonly visitors: Visitors;
  readonly owner: SiteOwner;
  readonly clock: Clock;
}

export class SiteConnection implements Visitor, Connecting {
  readonly isBusy = false;
  private readonly scanner = new RequestScanner();
  /** Undefined when it is closed, or could not be reached. */
  private upstream: UpstreamConnection | undefined;
  private isConnected = false;
  /** What cannot be sent yet: there is no room, or the upstream is not connected. */
  private early: Buffer[] = [];
  private earlyBytes = 0;
  /** Looks at a suspect request, when the upstream can have it. */
  private held: (() => void) | undefined;
  private isRetried = false;
  private place: 'unknown' | 'waiting' | 'present' = 'unknown';
  private proof: ProofHeader | undefined;
  /** The upstream has answered while a head was incomplete: the connection cannot be handed over with it. */
  private isAnsweredEarly = false;
  /** The peer has. */
  private hasEnded = false;
  private readonly listeners: readonly (readonly [string, (...args: never[]) => void])[] = [
    ['data', (chunk: Buffer) => this.read(chunk)],
    ['end', () => this.endUpstream()],
    ['drain', () => this.upstream?.socket.resume()],
    ['error', () => this.close(true)],
    ['close', () => this.close(false)],
    ['timeout', () => this.socket.destroy()],
  ];

  private readonly socket: Socket;
  readonly source: string | undefined;

  constructor(private readonly parts: SiteParts) {
    const { socket, source, site } = parts;
    this.socket = socket;
    this.source = source;
    // At once, and not with the first byte: the upstream closes silent connections by its own clock.
    this.upstream = site.connect(this);
    for (const [event, listener] of this.listeners) socket.on(event, listener as () => void);
  }

  begin(): void {
    this.place = 'present';
    this.flush();
    this.socket.resume();
  }

  drop(): void {
    this.socket.destroy();
  }

  handleConnect(): void {
    const socket = this.upstream?.socket;
    if (socket === undefined) return;
    this.isConnected = true;
    socket.on('data', (chunk: Buffer) => this.answer(chunk));
    socket.on('drain', () => this.socket.resume());
    socket.on('end', () => this.endAnswers());
    socket.on('close', (hadError: boolean) => this.closeSocket(hadError));
    this.flush();
    this.releaseHeld();
    if (this.hasEnded && this.earlyBytes === 0) socket.end();
  }

  /** The upstream could not be reached. One more attempt when there is something to send, then an answer. */
  handleFailed(): void {
    this.upstream = undefined;
    if (this.held !== undefined) this.releaseHeld();
    else if (this.earlyBytes > 0 || this.hasEnded) this.retry();
    else this.socket.setTimeout(SILENT_MS);
  }

  private retry(): void {
    if (this.isRetried || this.hasEnded) return this.answerFailed();
    this.isRetried = true;
    this.socket.setTimeout(0);
    this.upstream = this.parts.site.connect(this);
  }

  private answerFailed(): void {
    const { socket } = this;
    const request = Buffer.concat(this.early);
    this.early = [];
    this.earlyBytes = 0;
    this.detach('data', 'end');
    if (request.length === 0) return void socket.destroy();
    socket.setTimeout(LINGER_MS);
    socket.end(badGateway(request, new Date(this.parts.clock.wallTime()).toUTCString()), 'latin1');
    socket.resume();
  }

  /** What a peer sends. */
  private read(chunk: Buffer, from = 0, isPassed = false): void {
    let at = from;
    let isSent = isPassed;
    while (at < chunk.length && !this.scanner.isBlind) {
      const { end, head, begin = -1 } = this.scanner.read(chunk, at);
      at = end;
      if (head === undefined) continue;
      const canTake = begin >= 0 || !this.isAnsweredEarly;
      this.isAnsweredEarly = false;
      if (!canTake) continue;
      if (!isSent && this.parts.visitors.hasRoom && this.parts.owner.isSuspect(head)) {
        if (this.upstream !== undefined && !this.isConnected) return this.hold(chunk, end, head);
        this.pass(chunk);
        isSent = true;
      }
      if (this.decide(head, chunk.subarray(end))) return;
    }
    if (!isSent) this.pass(chunk);
  }

  /** Whether it is taken. */
  private decide(head: RequestHead, rest: Buffer): boolean {
    const { take, etag } = this.parts.owner.decide(head);
    if (take !== undefined) this.handOver(take, rest);
    else if (etag !== undefined) this.proof = new ProofHeader(etag);
    return take !== undefined;
  }

  private hold(chunk: Buffer, end: number, head: RequestHead): void {
    this.socket.pause();
    this.held = () => {
      this.socket.resume();
      this.pass(chunk);
      if (!this.decide(head, chunk.subarray(end))) this.read(chunk, end, true);
    };
  }

  private releaseHeld(): void {
    const { held } = this;
    this.held = undefined;
    held?.();
  }

  private pass(chunk: Buffer): void {
    this.parts.visitors.touch(this);
    if (this.isConnected && this.place === 'present') {
      if (this.upstream?.socket.write(chunk) === false) this.socket.pause();
      return;
    }
    // A page is not to wait for what is noted about its visitor.
    const isSent = this.place === 'unknown' && this.isConnected && this.parts.visitors.hasRoom;
    if (isSent) this.upstream?.socket.write(chunk);
    else this.early.push(chunk);
    this.earlyBytes += isSent ? 0 : chunk.length;
    if (this.place === 'unknown') {
      this.place = 'waiting';
      this.parts.owner.handleVisitor();
      this.parts.visitors.enter(this);
    }
    if (this.upstream === undefined) this.retry();
    else if (this.place !== 'present' || this.earlyBytes > MAX_EARLY_BYTES) this.socket.pause();
  }

  private flush(): void {
    const socket = this.upstream?.socket;
    if (socket === undefined || this.place !== 'present' || !this.isConnected || this.earlyBytes === 0) return;
    const chunks = this.early;
    this.early = [];
    this.earlyBytes = 0;
    for (const chunk of chunks) socket.write(chunk);
    if (this.hasEnded) socket.end();
    if (socket.writableNeedDrain) this.socket.pause();
    else this.socket.resume();
  }

  /** What the upstream sends. */
  private answer(chunk: Buffer): void {
    this.parts.visitors.touch(this);
    if (this.scanner.isInHead) this.isAnsweredEarly = true;
    let bytes = chunk;
    if (this.proof !== undefined) {
      const { out, isDone } = this.proof.add(chunk);
      if (isDone) this.proof = undefined;
      bytes = out;
    }
    if (bytes.length > 0 && !this.socket.write(bytes)) this.upstream?.socket.pause();
  }

  private endUpstream(): void {
    this.hasEnded = true;
    this.socket.setTimeout(HALF_CLOSED_MS);
    if (this.upstream === undefined) this.answerFailed();
    else if (this.isConnected && this.earlyBytes === 0) this.upstream.socket.end();
  }

  private endAnswers(): void {
    if (this.proof !== undefined) this.socket.write(this.proof.rest());
    this.socket.end();
    this.socket.setTimeout(HALF_CLOSED_MS);
  }

  /** The upstream's connection is closed in both directions, or was reset. */
  private closeSocket(hadError: boolean): void {
    if (this.upstream === undefined) return;
    this.upstream = undefined;
    this.detach('data', 'end');
    if (!hadError) this.socket.end().resume();
    else if (this.socket instanceof TLSSocket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** The peer's connection is closed, or was reset. */
  private close(wasReset: boolean): void {
    this.parts.visitors.leave(this);
    const { upstream } = this;
    this.upstream = undefined;
    if (upstream === undefined) return;
    if (!this.isConnected) upstream.abandon();
    else if (wasReset && !(upstream.socket instanceof TLSSocket)) upstream.socket.resetAndDestroy();
    else upstream.socket.destroy();
  }

  private handOver(take: (rest: Buffer) => void, rest: Buffer): void {
    this.detach('data', 'end', 'drain', 'error', 'close', 'timeout');
    this.socket.setTimeout(0);
    this.close(false);
    take(rest);
  }

  private detach(...events: readonly string[]): void {
    for (const [event, listener] of this.listeners)
      if (events.includes(event)) this.socket.off(event, listener as () => void);
  }
}
