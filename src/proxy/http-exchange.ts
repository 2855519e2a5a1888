/**
 * One request to its target and the answer back. Both go on at the same time, each under its own back-pressure: an
 * answer may begin, and end, before the request has. Nothing that is cut short ever looks whole.
 */
import { WstunError } from '../errors.ts';
import { type Piece, release } from '../memory/pieces.ts';
import { HALF_CLOSED_IDLE_MS } from '../tunnel/stream/socket-pipe.ts';
import type { ByteSource } from './byte-source.ts';
import { ContentWriter } from './content-writer.ts';
import { type AnswerPlace, AnswerRelay } from './http-answer.ts';
import type { ForwardRequest } from './http-request.ts';
import type { TargetConnection } from './http-targets.ts';
import type { AnswerHead } from './http1/answer-head.ts';
import { ContentReader } from './http1/content-reader.ts';
import { serialiseHead, tokensOf, valuesOf } from './http1/fields.ts';
import { type Framing, NO_CONTENT } from './http1/framing.ts';

export interface Program extends AnswerPlace {
  readonly source: ByteSource;
  /** Set while it is served: it has reset its connection, and what it sent before can still be read. */
  handleReset: (() => void) | undefined;
  /** How long that may take, ms. */
  readonly resetWaitMs: number;
  /** Whether its connection may go on after this exchange; asked when the answer's head is here. */
  mayStay(): boolean;
}

export type Outcome =
  /**
   * Request and answer are whole. `stays`: so the program was told. `canRest`: the target's connection may serve again.
   */
  | { readonly kind: 'whole'; readonly stays: boolean; readonly canRest: boolean }
  /** The target has agreed to another protocol: this is to be told to the program before its bytes. */
  | { readonly kind: 'switched'; readonly head: Buffer }
  /**
   * No final answer has begun, so there is a place to say why. `unread`: what of the request is still to come, if that
   * can be told.
   */
  | { readonly kind: 'failed'; readonly error: unknown; readonly unread?: Framing }
  /** One of the two is gone, and the other must notice that there is no more. */
  | { readonly kind: 'cut' };

/** Never rejects. Whatever the outcome, the streams are left to the caller, with nobody reading. */
export function exchange(wanted: ForwardRequest, program: Program, target: TargetConnection): Promise<Outcome> {
  return new Promise((resolve) => new Exchange(wanted, program, target, resolve).start());
}

class Exchange {
  private readonly wanted: ForwardRequest;
  private readonly program: Program;
  private readonly target: TargetConnection;
  private readonly resolve: (outcome: Outcome) => void;
  private readonly relay: AnswerRelay;
  private readonly content: ContentReader;
  private readonly writer: ContentWriter;
  private stays = false;
  private isAnswered = false;
  private isReset = false;
  private resetLimit: NodeJS.Timeout | undefined;
  private isSettled = false;

  constructor(wanted: ForwardRequest, program: Program, target: TargetConnection, resolve: (outcome: Outcome) => void) {
    this.wanted = wanted;
    this.program = program;
    this.target = target;
    this.resolve = resolve;
    this.content = new ContentReader(wanted.framing, true);
    this.writer = new ContentWriter(target.stream, target.stream, wanted.framing.kind === 'chunked');
    this.relay = new AnswerRelay(wanted, program, target.source, {
      mayStay: (answer) => this.mayStay(answer),
      handleWhole: () => this.handleAnswered(),
      handleSwitch: (head) => this.settle({ kind: 'switched', head }),
      handleFault: (error) => this.handleFault(error),
    });
  }

  /** The head goes at once: the program may wait for an answer before it sends any of the content. */
  start(): void {
    const { socket, source } = this.program;
    const { stream } = this.target;
    if (socket.destroyed) return this.settle({ kind: 'cut' });
    this.program.handleReset = () => this.handleReset();
    socket.on('close', this.handleClose).on('drain', this.handleSocketDrain).on('timeout', this.handleIdle);
    if (source.hasEnded) this.limitIdle();
    else socket.once('end', this.limitIdle);
    stream.on('close', this.handleStreamClose).on('drain', this.handleStreamDrain);
    stream.write(serialiseHead(`${this.wanted.method} ${this.wanted.path} HTTP/1.1`, this.wanted.headers));
    if (!this.content.isWhole) {
      this.target.hasContent = true;
      source.read({ receive: (bytes) => this.send(bytes), end: () => this.settle({ kind: 'cut' }) });
    }
    if (!this.isSettled) this.target.source.read(this.relay);
  }

  private send(bytes: Buffer & Piece): (Buffer & Piece) | undefined {
    const pieces: Piece[] = [];
    const rest = this.content.receive(bytes, (piece) => pieces.push(piece));
    const hasRoom = this.writer.write(pieces);
    if (this.content.isBroken) {
      this.handleFault(new WstunError('proxy-malformed', 'its chunks are malformed'));
      return rest;
    }
    if (this.content.isWhole) {
      this.writer.end();
      if (this.isReset) this.settle({ kind: 'cut' });
      else if (this.isAnswered) this.settleWhole();
      return rest;
    }
    if (!hasRoom) this.program.source.pause();
    return undefined;
  }

  /**
   * While content is still to come, the program is told what the target says of its connection: whether it will read
   * on. Else the two connections have nothing to do with each other.
   */
  private mayStay(answer: AnswerHead): boolean {
    this.stays = this.program.mayStay() && (this.content.isWhole || answer.isPersistent);
    return this.stays;
  }

  /**
   * Before the request is whole, the target goes on being fed while it reads: only it knows what it needs the rest for.
   */
  private handleAnswered(): void {
    this.isAnswered = true;
    if (this.content.isWhole) return this.settleWhole();
    this.target.source.read({
      receive: (bytes) => void release(bytes),
      end: (error) => {
        if (error !== undefined) return this.settle({ kind: 'cut' });
        this.stays = false;
        this.program.socket.end();
      },
    });
  }

  private settleWhole(): void {
    const { answer, isExact } = this.relay;
    const { source } = this.target;
    if (answer !== undefined && isAuthenticating(answer, this.wanted)) this.target.isAuthenticated = true;
    const canRest = isExact && answer?.isPersistent === true && !source.hasEnded;
    this.settle({ kind: 'whole', stays: this.stays, canRest });
  }

  private handleFault(error: unknown): void {
    if (this.relay.answer !== undefined) return this.settle({ kind: 'cut' });
    const unread = this.content.isWhole ? { unread: NO_CONTENT } : {};
    this.settle({ kind: 'failed', error, ...unread });
  }

  /** What the program sent before goes on to the target, as over a connection of its own. */
  private handleReset(): void {
    if (this.content.isWhole) return this.settle({ kind: 'cut' });
    this.isReset = true;
    this.resetLimit = setTimeout(() => this.settle({ kind: 'cut' }), this.program.resetWaitMs);
  }

  /**
   * What the source still holds is little: it goes on however full the target's stream is, and then the end is told.
   */
  private readonly handleClose = (): void => {
    if (this.content.isWhole) this.settle({ kind: 'cut' });
    else this.program.source.resume();
  };

  private readonly handleIdle = (): void => this.settle({ kind: 'cut' });

  private readonly limitIdle = (): void => {
    this.program.socket.setTimeout(HALF_CLOSED_IDLE_MS);
  };

  private readonly handleSocketDrain = (): void => this.target.source.resume();

  private readonly handleStreamDrain = (): void => {
    if (!this.content.isWhole) this.program.source.resume();
  };

  /**
   * What the program still sends goes nowhere; behind a clean end, too. Before the answer is whole, its reader hears of
   * it.
   */
  private readonly handleStreamClose = (): void => {
    if (this.isAnswered) this.settle({ kind: 'cut' });
  };

  private settle(outcome: Outcome): void {
    if (this.isSettled) return;
    this.isSettled = true;
    clearTimeout(this.resetLimit);
    this.program.handleReset = undefined;
    const { socket, source } = this.program;
    socket.off('close', this.handleClose).off('drain', this.handleSocketDrain).off('timeout', this.handleIdle);
    socket.off('end', this.limitIdle);
    if (socket.timeout) socket.setTimeout(0);
    this.target.stream.off('close', this.handleStreamClose).off('drain', this.handleStreamDrain);
    source.stop();
    this.target.source.stop();
    this.resolve(outcome);
  }
}

/** By NTLM or Negotiate, which authenticate connections, not requests (RFC 4559 §6). */
function isAuthenticating(answer: AnswerHead, wanted: ForwardRequest): boolean {
  const challenges = tokensOf(answer.rawHeaders, 'www-authenticate');
  const credentials = valuesOf(wanted.headers, 'authorization').map((value) => value.toLowerCase());
  return [...challenges, ...credentials].some((text) => /^(?:ntlm|negotiate|kerberos)\b/.test(text));
}
