/** Forwards a request and its response, at the same time. A message that is aborted never looks complete. */
import { WstunError } from '../errors.ts';
import { type Piece, release } from '../memory/pieces.ts';
import { HALF_CLOSED_IDLE_MS } from '../tunnel/stream/socket-pipe.ts';
import type { ByteSource } from './byte-source.ts';
import { ContentWriter } from './content-writer.ts';
import type { ForwardRequest } from './http-request.ts';
import { ResponseForwarder, type ResponseSink } from './http-response.ts';
import type { TargetConnection } from './http-targets.ts';
import { ContentReader } from './http1/content-reader.ts';
import { serialiseHead, tokensOf, valuesOf } from './http1/fields.ts';
import { type Framing, NO_CONTENT } from './http1/framing.ts';
import type { ResponseHead } from './http1/response-head.ts';

export interface Program extends ResponseSink {
  readonly source: ByteSource;
  /** Set while a request is served. The program has reset its connection; what it sent can still be read. */
  handleReset: (() => void) | undefined;
  /** How long that may take, ms. */
  readonly resetWaitMs: number;
  /** Whether its connection may be kept after this exchange; asked when the head of the response has come. */
  mayStay(): boolean;
}

export type Outcome =
  /** Both are complete. `stays`: the program's connection, as it was told. `canReuse`: the target's connection. */
  | { readonly kind: 'whole'; readonly stays: boolean; readonly canReuse: boolean }
  /** The target has agreed to another protocol: `head` goes to the program before its bytes. */
  | { readonly kind: 'switched'; readonly head: Buffer }
  /** No final response has begun. `unread`: what of the request is still to come, if known. */
  | { readonly kind: 'failed'; readonly error: unknown; readonly unread?: Framing }
  /** One of the two is gone, and the other must notice it. */
  | { readonly kind: 'cut' };

/** Never rejects. Whatever the outcome, the streams are left to the caller, without a reader. */
export function exchange(wanted: ForwardRequest, program: Program, target: TargetConnection): Promise<Outcome> {
  return new Promise((resolve) => new Exchange(wanted, program, target, resolve).start());
}

class Exchange {
  private readonly forwarder: ResponseForwarder;
  private readonly content: ContentReader;
  private readonly writer: ContentWriter;
  private stays = false;
  private isAnswered = false;
  private isReset = false;
  private resetLimit: NodeJS.Timeout | undefined;
  private isSettled = false;

  constructor(
    private readonly wanted: ForwardRequest,
    private readonly program: Program,
    private readonly target: TargetConnection,
    private readonly resolve: (outcome: Outcome) => void,
  ) {
    this.content = new ContentReader(wanted.framing, true);
    this.writer = new ContentWriter(target.stream, target.stream, wanted.framing.kind === 'chunked');
    this.forwarder = new ResponseForwarder(wanted, program, target.source, {
      mayStay: (response) => this.mayStay(response),
      handleWhole: () => this.handleAnswered(),
      handleSwitch: (head) => this.settle({ kind: 'switched', head }),
      handleFault: (error) => this.handleFault(error),
    });
  }

  /** The head is sent at once: the program may wait for a response before it sends any content. */
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
    if (!this.isSettled) this.target.source.read(this.forwarder);
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

  /** While content is to come, the program learns whether the target will read on; otherwise both are independent. */
  private mayStay(response: ResponseHead): boolean {
    this.stays = this.program.mayStay() && (this.content.isWhole || response.isPersistent);
    return this.stays;
  }

  /** An incomplete request is forwarded while the target reads: only the target knows whether it needs the rest. */
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
    const { response, isExact } = this.forwarder;
    const { source } = this.target;
    if (response !== undefined && isAuthenticating(response, this.wanted)) this.target.isAuthenticated = true;
    const canReuse = isExact && response?.isPersistent === true && !source.hasEnded;
    this.settle({ kind: 'whole', stays: this.stays, canReuse });
  }

  private handleFault(error: unknown): void {
    if (this.forwarder.response !== undefined) return this.settle({ kind: 'cut' });
    const unread = this.content.isWhole ? { unread: NO_CONTENT } : {};
    this.settle({ kind: 'failed', error, ...unread });
  }

  /** What the program sent before is forwarded to the target, as over a direct connection. */
  private handleReset(): void {
    if (this.content.isWhole) return this.settle({ kind: 'cut' });
    this.isReset = true;
    this.resetLimit = setTimeout(() => this.settle({ kind: 'cut' }), this.program.resetWaitMs);
  }

  /** The source holds little now: it is forwarded even if the target's stream is full, and then the end follows. */
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

  /** What the program still sends is lost. Before the response is complete, its reader is told. */
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
function isAuthenticating(response: ResponseHead, wanted: ForwardRequest): boolean {
  const challenges = tokensOf(response.rawHeaders, 'www-authenticate');
  const credentials = valuesOf(wanted.headers, 'authorization').map((value) => value.toLowerCase());
  return [...challenges, ...credentials].some((text) => /^(?:ntlm|negotiate|kerberos)\b/.test(text));
}
