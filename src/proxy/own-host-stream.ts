/** A stream that leads nowhere: the proxy itself answers the one request on it, as the server of `OWN_HOST`. */
import { Duplex } from 'node:stream';
import { WstunError } from '../errors.ts';
import { type Piece, release } from '../memory/pieces.ts';
import type { Target, TunnelStream } from '../tunnel/stream/stream.ts';
import { refusalOf, serialiseAnswer } from './http-refusals.ts';
import { HeadReader } from './http1/head-reader.ts';
import { parseRequestHead, REQUEST_FIRST_LINE } from './http1/request-head.ts';
import { type AskedAt, answerAtOwnHost, type HttpAnswer, OWN_HOST, type OwnPages } from './own-answers.ts';

const HTTP_PORT = 80;

/** That exact name, however it is written (RFC 4343; a final dot makes no other name). */
export function isOwnHost(target: Target): boolean {
  return target.kind === 'name' && target.name.toLowerCase().replace(/\.$/, '') === OWN_HOST;
}

/** @param waitMs for the request @throws WstunError dial-refused for any port but 80 */
export function openOwnHost(target: Target, own: OwnPages, at: AskedAt, waitMs: number): TunnelStream {
  if (target.port !== HTTP_PORT) throw new WstunError('dial-refused', `${OWN_HOST} has only port 80 (http://)`);
  return new OwnHostStream(target, waitMs, (text) => {
    const request = parseRequestHead(text);
    return 'reason' in request
      ? { answer: refusalOf('proxy-malformed', request.reason, request.status), isHead: false }
      : { answer: answerAtOwnHost(request, own, at), isHead: request.method === 'HEAD' };
  });
}

interface Reply {
  readonly answer: HttpAnswer;
  readonly isHead: boolean;
}

class OwnHostStream extends Duplex implements TunnelStream {
  private reader: HeadReader | undefined = new HeadReader(REQUEST_FIRST_LINE);
  private readonly limit: NodeJS.Timeout;

  constructor(
    readonly target: Target,
    waitMs: number,
    private readonly reply: (head: string) => Reply,
  ) {
    super({ allowHalfOpen: true });
    this.on('error', () => {});
    this.limit = setTimeout(() => this.finish(refusalOf('proxy-timed-out')), waitMs);
  }

  override _read(): void {}

  override _write(chunk: Buffer & Piece, _encoding: BufferEncoding, done: () => void): void {
    this.receive(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.finish(refusalOf('proxy-malformed', 'it ends before the end of its header'));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.limit);
    done(error);
  }

  /** What follows the first request is dropped: the answer says that the connection ends. */
  private receive(chunk: Buffer & Piece): void {
    const step = this.reader?.receive(chunk);
    if (step === undefined) return release(chunk);
    if (step.kind === 'more') return;
    if (step.kind !== 'head') return this.finish(refusalOf('proxy-malformed'));
    release(step.rest);
    const { answer, isHead } = this.reply(step.text);
    this.finish(answer, isHead);
  }

  private finish(answer: HttpAnswer, isHead = false): void {
    if (this.reader === undefined) return;
    this.reader = undefined;
    clearTimeout(this.limit);
    this.push(serialiseAnswer(answer, { stays: false, isHead }));
    this.push(null);
  }
}
