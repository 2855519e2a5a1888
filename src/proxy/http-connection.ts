/**
 * One connection of a program that speaks HTTP: its requests one after another, until CONNECT or an upgrade makes it a
 * tunnel. The next request is not read before the current one has its response: pipelined requests (RFC 9112 §9.3.2)
 * wait in the socket, and if its buffer is full, in the program.
 */
import type { Socket } from 'node:net';
import { ownRead, type Piece, release } from '../memory/pieces.ts';
import { WrittenPieces } from '../memory/written-pieces.ts';
import {
  confirmEnd,
  detectResets,
  holdWriteErrors,
  resetSocket,
  resetWhenDelivered,
} from '../tunnel/stream/socket-reset.ts';
import type { TunnelStream } from '../tunnel/stream/stream.ts';
import { ByteSource } from './byte-source.ts';
import { exchange, type Outcome, type Program } from './http-exchange.ts';
import { refusalOf, refusalOfError, serialiseAnswer } from './http-refusals.ts';
import { type ForwardRequest, readConnect, readForward, wantsUpgrade } from './http-request.ts';
import { HttpTargets, type TargetConnection } from './http-targets.ts';
import { ContentReader } from './http1/content-reader.ts';
import { type Framing, NO_CONTENT } from './http1/framing.ts';
import { HeadReader, type HeadStep } from './http1/head-reader.ts';
import {
  type HeadFault,
  parseRequestHead,
  REQUEST_FIRST_LINE,
  type RequestHead,
  requestFraming,
  wantsToStay,
} from './http1/request-head.ts';
import { answerAtPort, type HttpAnswer } from './own-answers.ts';
import { askedAt, endWith, faultOf, openStream, type ProxyContext, pipe, untilClosed } from './program-connection.ts';

/** Without effects (RFC 9110 §9.2.1, RFC 4918, 3253, 5323), so that without content they may be sent twice. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY']);

/** Bytes of a refused request's content that are read to keep the connection; for more, a new one costs less. */
const MAX_DROPPED_BYTES = 64 * 1024;

const NOTHING = Buffer.alloc(0);

/** The outcome of waiting for a head. `silent`: nothing of it has come. */
type NextHead =
  | Exclude<HeadStep, { kind: 'more' }>
  | { readonly kind: 'ended' | 'timed-out'; readonly silent: boolean };

export class HttpConnection {
  private readonly source: ByteSource;
  private readonly written: WrittenPieces;
  private readonly targets: HttpTargets;
  private readonly stopNoticing: () => void;
  private draining = false;
  private isTunnel = false;
  /** While a request is served. */
  private program: Program | undefined;
  /** Ends the wait for a head; set only while no response is due. */
  private giveUp: (() => void) | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly context: ProxyContext,
  ) {
    this.source = new ByteSource(socket, ownRead);
    this.written = new WrittenPieces(socket);
    this.targets = new HttpTargets((target) => openStream(socket, target, context), context);
    this.stopNoticing = detectResets(socket);
    const writes = holdWriteErrors(socket);
    writes.onError(() => this.handleReset());
    // If it is not a real end, the write that tests it fails.
    socket.once('end', () => confirmEnd(socket, writes, () => {}));
  }

  /** Resolves when nothing of the socket is left. @param deadline for the first head, by `performance.now` */
  async serve(deadline: number): Promise<void> {
    const leave = this.context.shutdown.watch(() => this.drain());
    try {
      await this.serveAll(deadline - performance.now());
    } catch (error) {
      this.context.logger.error({ error: String(error) }, 'an HTTP request failed with an internal error');
      resetSocket(this.socket);
    }
    await untilClosed(this.socket);
    leave();
    this.stopNoticing();
    await this.targets.close();
  }

  /** It closes after the current response, or at once if there is none. A tunnel continues. */
  private drain(): void {
    this.draining = true;
    this.giveUp?.();
  }

  private async serveAll(firstWaitMs: number): Promise<false> {
    const first = await this.nextHead(firstWaitMs);
    if (first.kind === 'timed-out') return this.end(refusalOf('proxy-timed-out'));
    for (let step: NextHead = first; ; step = await this.nextHead(this.context.limits.keepAliveMs)) {
      if (step.kind !== 'head') return this.endWithout(step);
      const request = parseRequestHead(step.text);
      if ('reason' in request) return this.endFaulty(request);
      if (!(await this.answer(request))) return false;
      if (this.draining) return this.close();
    }
  }

  private nextHead(waitMs: number): Promise<NextHead> {
    return new Promise((resolve) => {
      const reader = new HeadReader(REQUEST_FIRST_LINE);
      const settle = (outcome: NextHead): void => {
        clearTimeout(limit);
        this.giveUp = undefined;
        this.source.stop();
        resolve(outcome);
      };
      const limit = setTimeout(() => settle({ kind: 'timed-out', silent: reader.isEmpty }), waitMs);
      this.giveUp = () => settle({ kind: 'ended', silent: true });
      this.source.read({
        receive: (bytes) => {
          const step = reader.receive(bytes);
          if (step.kind === 'more') return undefined;
          settle(step);
          return step.kind === 'head' ? step.rest : NOTHING;
        },
        end: () => settle({ kind: 'ended', silent: reader.isEmpty }),
      });
    });
  }

  private async endWithout(step: Exclude<NextHead, { kind: 'head' }>): Promise<false> {
    switch (step.kind) {
      case 'foreign':
        return this.end(refusalOf('proxy-malformed', 'its first line is not a request line'));
      case 'too-large':
        return this.end(refusalOf('proxy-malformed', 'its header is too large', 431));
      case 'ended':
        return step.silent
          ? this.close()
          : this.end(refusalOf('proxy-malformed', 'it ends before the end of its header'));
      case 'timed-out':
        this.socket.destroy();
        return false;
    }
  }

  /** False: the connection is over. */
  private async answer(request: RequestHead): Promise<boolean> {
    if (request.method === 'CONNECT') return this.connect(request);
    const framing = requestFraming(request);
    if ('reason' in framing) return this.endFaulty(framing);
    const { own } = this.context;
    const ownAnswer = own && answerAtPort(request, own, askedAt(this.socket, this.context));
    if (ownAnswer !== undefined) return this.refuse(ownAnswer, request, framing);
    const wanted = readForward(request, framing, this.context.check);
    if ('refusal' in wanted) return this.refuse(wanted.refusal, request, framing);
    const maySendTwice = SAFE.has(wanted.method) && framing.kind === 'none' && !wanted.isUpgrade;
    for (;;) {
      const target = await this.targets.take(wanted.target, maySendTwice).catch((error: unknown) => ({ error }));
      if ('error' in target) return this.refuse(refusalOfError(target.error), request, framing);
      this.program = this.programOf(request, wanted);
      const outcome = await exchange(wanted, this.program, target);
      this.program = undefined;
      // The target may have closed it just then, or sent something on it that was not a response to this request.
      const mayTryAgain = maySendTwice && target.isReused && !this.socket.destroyed;
      if (outcome.kind !== 'failed' || !mayTryAgain) return this.conclude(outcome, request, target);
      this.targets.reset(target);
    }
  }

  /** What follows a request to upgrade may already be in the new protocol: it must not be read as a request. */
  private programOf(request: RequestHead, { isUpgrade }: ForwardRequest): Program {
    return {
      socket: this.socket,
      written: this.written,
      source: this.source,
      handleReset: undefined,
      resetWaitMs: this.context.limits.resetWaitMs,
      mayStay: () => !isUpgrade && this.mayStay(request),
    };
  }

  private mayStay(request: RequestHead): boolean {
    return !this.draining && wantsToStay(request);
  }

  private async conclude(outcome: Outcome, request: RequestHead, target: TargetConnection): Promise<boolean> {
    switch (outcome.kind) {
      case 'whole':
        if (outcome.canReuse) this.targets.keepIdle(target);
        else this.targets.discard(target);
        return outcome.stays || this.close();
      case 'switched':
        await this.pipe(target.stream, behind(outcome.head, target.source.release()));
        return false;
      case 'failed':
        this.targets.reset(target);
        return this.refuse(refusalOfError(outcome.error), request, outcome.unread);
      case 'cut':
        this.targets.reset(target);
        // Left paused: if the rest of an upload were dropped, the program could believe that it is complete.
        this.detach();
        resetWhenDelivered(this.socket, this.context.limits.resetWaitMs);
        return false;
    }
  }

  private async connect(request: RequestHead): Promise<boolean> {
    const wanted = readConnect(request, this.context.check);
    if ('refusal' in wanted) return this.end(wanted.refusal);
    this.source.stop();
    try {
      const stream = await openStream(this.socket, wanted.target, this.context);
      await this.pipe(stream, 'HTTP/1.1 200 Connection established\r\n\r\n');
    } catch (error) {
      await this.end(refusalOf(faultOf(error)));
    }
    return false;
  }

  /** `unread`: what of the request is still to come before the next one. Undefined: unknown. */
  private async refuse(refusal: HttpAnswer, request: RequestHead, unread: Framing | undefined): Promise<boolean> {
    const isHead = request.method === 'HEAD';
    const isLittle = unread?.kind === 'none' || (unread?.kind === 'length' && unread.length <= MAX_DROPPED_BYTES);
    const mayStay = this.mayStay(request) && !wantsUpgrade(request, NO_CONTENT);
    if (!isLittle || !mayStay) return this.end(refusal, isHead);
    this.socket.write(serialiseAnswer(refusal, { stays: true, isHead }));
    return this.drop(new ContentReader(unread, true));
  }

  private drop(content: ContentReader): Promise<boolean> {
    if (content.isWhole) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = (isWhole: boolean): void => {
        clearTimeout(limit);
        this.source.stop();
        if (!isWhole) this.socket.destroy();
        resolve(isWhole);
      };
      const limit = setTimeout(() => settle(false), this.context.limits.keepAliveMs);
      this.source.read({
        receive: (bytes) => {
          const rest = content.receive(bytes, release);
          if (!content.isWhole) return undefined;
          settle(true);
          return rest;
        },
        end: () => settle(false),
      });
    });
  }

  private endFaulty({ reason, status }: HeadFault): Promise<false> {
    return this.end(refusalOf('proxy-malformed', reason, status));
  }

  private async end(refusal: HttpAnswer, isHead = false): Promise<false> {
    this.detach();
    await endWith(this.socket, serialiseAnswer(refusal, { stays: false, isHead }), this.context.limits.lingerMs);
    return false;
  }

  /** After the last response. If the program has sent more, it is read and dropped: see `endWith`. */
  private async close(): Promise<false> {
    const isAhead = this.source.hasBytes || this.socket.readableLength > 0;
    this.detach();
    if (isAhead) {
      await endWith(this.socket, NOTHING, this.context.limits.lingerMs);
    } else if (!this.socket.destroyed) {
      this.socket.resume().end(() => this.socket.destroy());
    }
    return false;
  }

  /** From here on, the pipe passes on a reset. */
  private pipe(stream: TunnelStream, greeting: Uint8Array | string): Promise<void> {
    this.isTunnel = true;
    const early = this.detach();
    if (early.length > 0) stream.write(early);
    return pipe(this.socket, stream, this.context, greeting);
  }

  /** A write has failed. A request that is being forwarded still needs what can be read. */
  private handleReset(): void {
    if (this.isTunnel) return;
    if (this.program?.handleReset === undefined) this.socket.destroy();
    else this.program.handleReset();
  }

  /** The socket is no longer read here. Returns what was read and not taken. */
  private detach(): Buffer & Piece {
    this.stopNoticing();
    return this.source.release();
  }
}

function behind(head: Buffer, more: Buffer & Piece): Buffer {
  const both = Buffer.concat([head, more]);
  release(more);
  return both;
}
