/**
 * Reads the answer to one request from its target, and writes it to the program: interim answers, head and content,
 * framed anew. What else becomes of the exchange is http-exchange.ts's to decide.
 */
import type { Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import type { ByteReader, ByteSource } from './byte-source.ts';
import { ContentWriter, type PieceSink } from './content-writer.ts';
import { answerHeaders, type ForwardRequest } from './http-request.ts';
import {
  ANSWER_FIRST_LINE,
  type AnswerHead,
  announcedLength,
  answerFraming,
  parseAnswerHead,
} from './http1/answer-head.ts';
import { ContentReader } from './http1/content-reader.ts';
import { serialiseHead } from './http1/fields.ts';
import type { Framing } from './http1/framing.ts';
import { HeadReader } from './http1/head-reader.ts';

/** Interim answers to one request. WebDAV servers send one every 20 s while they work: enough for five hours. */
const MAX_INTERIM_ANSWERS = 1_000;

const NOTHING = Buffer.alloc(0);

export interface AnswerEvents {
  /** Its head is here: whether the program is to be told that its connection stays. */
  mayStay(answer: AnswerHead): boolean;
  /** Nothing of it is left to come. The source may have more. */
  handleWhole(): void;
  /** The target switches protocols, as it was asked to. The bytes of the new one are left in the source. */
  handleSwitch(head: Buffer): void;
  handleFault(error: unknown): void;
}

/** The program's connection. */
export interface AnswerPlace {
  readonly socket: Socket;
  /** Content is written to it through here. */
  readonly written: PieceSink;
}

export class AnswerRelay implements ByteReader {
  private readonly wanted: ForwardRequest;
  private readonly program: AnswerPlace;
  private readonly source: ByteSource;
  private readonly events: AnswerEvents;
  private head = new HeadReader(ANSWER_FIRST_LINE);
  private interim = 0;
  private content: ContentReader | undefined;
  private writer: ContentWriter | undefined;
  private answerHead: AnswerHead | undefined;

  constructor(wanted: ForwardRequest, program: AnswerPlace, source: ByteSource, events: AnswerEvents) {
    this.wanted = wanted;
    this.program = program;
    this.source = source;
    this.events = events;
  }

  /** The final answer, when its head has been passed on. */
  get answer(): AnswerHead | undefined {
    return this.answerHead;
  }

  /** It was read by the letter, so where it ends is beyond doubt. */
  get isExact(): boolean {
    return this.answerHead?.isOdd === false && this.content?.isOdd === false;
  }

  receive(bytes: Buffer & Piece): (Buffer & Piece) | undefined {
    let rest = bytes;
    while (this.content === undefined) {
      const step = this.head.receive(rest);
      if (step.kind === 'more') return undefined;
      if (step.kind !== 'head')
        return this.fail(step.kind === 'foreign' ? 'it is not HTTP' : 'its header is too large');
      rest = step.rest;
      const answer = parseAnswerHead(step.text);
      if (answer === undefined) return this.fail('it is not HTTP');
      if (answer.status === 101) return this.switch(answer, rest);
      if (answer.status >= 200) {
        if (!this.begin(answer)) return rest;
      } else if (!this.passInterim(answer)) return this.fail('it has too many interim responses');
    }
    return this.passContent(this.content, rest);
  }

  end(error?: Error): void {
    if (error === undefined && this.content?.endsHere()) this.finish();
    else this.events.handleFault(error ?? new WstunError('proxy-bad-answer', 'it ended early'));
  }

  private begin(answer: AnswerHead): boolean {
    const framing = answerFraming(this.wanted.method, answer);
    if (framing.kind === 'bad') {
      this.fail(framing.detail);
      return false;
    }
    this.answerHead = answer;
    const stays = (framing.kind !== 'close' || this.wanted.minor === 1) && this.events.mayStay(answer);
    const isChunked = this.wanted.minor === 1 && (framing.kind === 'chunked' || framing.kind === 'close');
    // First what must not be lost: of a name that is no token, some programs (Python's) take the end of the headers.
    const fields = [
      ...lengthFields(answer, framing, isChunked),
      ...['Connection', stays ? 'keep-alive' : 'close'],
      ...answerHeaders(answer.rawHeaders),
    ];
    this.content = new ContentReader(framing, false);
    this.writer = new ContentWriter(this.program.socket, this.program.written, isChunked);
    this.program.socket.write(serialiseHead(`HTTP/1.1 ${answer.status} ${answer.reason}`, fields));
    return true;
  }

  private passContent(content: ContentReader, bytes: Buffer & Piece): (Buffer & Piece) | undefined {
    const pieces: Piece[] = [];
    const rest = content.receive(bytes, (piece) => pieces.push(piece));
    const hasRoom = this.writer?.write(pieces) ?? true;
    if (content.isBroken) return this.fail('its chunks are malformed');
    if (content.isWhole) {
      this.finish();
      return rest;
    }
    if (!hasRoom) this.source.pause();
    return undefined;
  }

  private finish(): void {
    this.writer?.end();
    this.events.handleWhole();
  }

  /** RFC 9110 §15.2: a proxy must forward them, but not to HTTP/1.0. */
  private passInterim(answer: AnswerHead): boolean {
    this.head = new HeadReader(ANSWER_FIRST_LINE);
    if (++this.interim > MAX_INTERIM_ANSWERS) return false;
    if (this.wanted.minor === 0) return true;
    const head = serialiseHead(`HTTP/1.1 ${answer.status} ${answer.reason}`, answerHeaders(answer.rawHeaders));
    const { socket } = this.program;
    socket.write(head);
    if (socket.writableNeedDrain && socket.writableLength > 0) this.source.pause();
    return true;
  }

  private switch(answer: AnswerHead, rest: Buffer): Buffer {
    if (!this.wanted.isUpgrade) return this.fail('it switches protocols, but no upgrade was requested');
    this.events.handleSwitch(serialiseHead(`HTTP/1.1 101 ${answer.reason}`, answer.rawHeaders));
    return rest;
  }

  private fail(detail: string): Buffer {
    this.events.handleFault(new WstunError('proxy-bad-answer', detail));
    return NOTHING;
  }
}

function lengthFields(answer: AnswerHead, framing: Framing, isChunked: boolean): string[] {
  if (isChunked) return ['Transfer-Encoding', 'chunked'];
  if (framing.kind === 'length') return ['Content-Length', String(framing.length)];
  // RFC 9110 §8.6: 204 has none; of HEAD and 304 it is the length that the content would have.
  const length = framing.kind === 'none' && answer.status !== 204 ? announcedLength(answer.rawHeaders) : undefined;
  return length === undefined || Number.isNaN(length) ? [] : ['Content-Length', String(length)];
}
