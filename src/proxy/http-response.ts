/** Reads the response to one request, and writes it to the program with new framing. http-exchange.ts decides. */
import type { Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import type { Piece } from '../memory/pieces.ts';
import type { ByteReader, ByteSource } from './byte-source.ts';
import { ContentWriter, type PieceSink } from './content-writer.ts';
import { type ForwardRequest, responseHeaders } from './http-request.ts';
import { ContentReader } from './http1/content-reader.ts';
import { serialiseHead } from './http1/fields.ts';
import type { Framing } from './http1/framing.ts';
import { HeadReader } from './http1/head-reader.ts';
import {
  announcedLength,
  parseResponseHead,
  RESPONSE_FIRST_LINE,
  type ResponseHead,
  responseFraming,
} from './http1/response-head.ts';

/** Interim responses to one request. WebDAV servers send one every 20 s while they work: enough for five hours. */
const MAX_INTERIM_RESPONSES = 1_000;

const NOTHING = Buffer.alloc(0);

export interface ResponseEvents {
  /** Its head has come. Returns whether to tell the program that its connection is kept. */
  mayStay(response: ResponseHead): boolean;
  /** It is complete. The source may have more. */
  handleWhole(): void;
  /** The target switches protocols, as requested. The bytes of the new protocol are left in the source. */
  handleSwitch(head: Buffer): void;
  handleFault(error: unknown): void;
}

/** The program's connection. */
export interface ResponseSink {
  readonly socket: Socket;
  /** Content is written to it through here. */
  readonly written: PieceSink;
}

export class ResponseForwarder implements ByteReader {
  private head = new HeadReader(RESPONSE_FIRST_LINE);
  private interim = 0;
  private content: ContentReader | undefined;
  private writer: ContentWriter | undefined;
  private responseHead: ResponseHead | undefined;

  constructor(
    private readonly wanted: ForwardRequest,
    private readonly program: ResponseSink,
    private readonly source: ByteSource,
    private readonly events: ResponseEvents,
  ) {}

  /** The final response, once its head has been forwarded. */
  get response(): ResponseHead | undefined {
    return this.responseHead;
  }

  /** It was read strictly, so its end is certain. */
  get isExact(): boolean {
    return this.responseHead?.isLenient === false && this.content?.isLenient === false;
  }

  receive(bytes: Buffer & Piece): (Buffer & Piece) | undefined {
    let rest = bytes;
    while (this.content === undefined) {
      const step = this.head.receive(rest);
      if (step.kind === 'more') return undefined;
      if (step.kind !== 'head')
        return this.fail(step.kind === 'foreign' ? 'it is not HTTP' : 'its header is too large');
      rest = step.rest;
      const response = parseResponseHead(step.text);
      if (response === undefined) return this.fail('it is not HTTP');
      if (response.status === 101) return this.switch(response, rest);
      if (response.status >= 200) {
        if (!this.begin(response)) return rest;
      } else if (!this.passInterim(response)) return this.fail('it has too many interim responses');
    }
    return this.passContent(this.content, rest);
  }

  end(error?: Error): void {
    if (error === undefined && this.content?.endsHere()) this.finish();
    else this.events.handleFault(error ?? new WstunError('proxy-bad-answer', 'it ended early'));
  }

  private begin(response: ResponseHead): boolean {
    const framing = responseFraming(this.wanted.method, response);
    if (framing.kind === 'bad') {
      this.fail(framing.detail);
      return false;
    }
    this.responseHead = response;
    const stays = (framing.kind !== 'close' || this.wanted.minor === 1) && this.events.mayStay(response);
    const isChunked = this.wanted.minor === 1 && (framing.kind === 'chunked' || framing.kind === 'close');
    // Essential fields come first: some programs (Python's) take a name that is not a token for the end of the headers.
    const fields = [
      ...lengthFields(response, framing, isChunked),
      ...['Connection', stays ? 'keep-alive' : 'close'],
      ...responseHeaders(response.rawHeaders),
    ];
    this.content = new ContentReader(framing, false);
    this.writer = new ContentWriter(this.program.socket, this.program.written, isChunked);
    this.program.socket.write(serialiseHead(`HTTP/1.1 ${response.status} ${response.reason}`, fields));
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
  private passInterim(response: ResponseHead): boolean {
    this.head = new HeadReader(RESPONSE_FIRST_LINE);
    if (++this.interim > MAX_INTERIM_RESPONSES) return false;
    if (this.wanted.minor === 0) return true;
    const head = serialiseHead(`HTTP/1.1 ${response.status} ${response.reason}`, responseHeaders(response.rawHeaders));
    const { socket } = this.program;
    socket.write(head);
    if (socket.writableNeedDrain && socket.writableLength > 0) this.source.pause();
    return true;
  }

  private switch(response: ResponseHead, rest: Buffer): Buffer {
    if (!this.wanted.isUpgrade) return this.fail('it switches protocols, but no upgrade was requested');
    this.events.handleSwitch(serialiseHead(`HTTP/1.1 101 ${response.reason}`, response.rawHeaders));
    return rest;
  }

  private fail(detail: string): Buffer {
    this.events.handleFault(new WstunError('proxy-bad-answer', detail));
    return NOTHING;
  }
}

function lengthFields(response: ResponseHead, framing: Framing, isChunked: boolean): string[] {
  if (isChunked) return ['Transfer-Encoding', 'chunked'];
  if (framing.kind === 'length') return ['Content-Length', String(framing.length)];
  // RFC 9110 §8.6: 204 has none; for HEAD and 304 it is the length that the content would have.
  const length = framing.kind === 'none' && response.status !== 204 ? announcedLength(response.rawHeaders) : undefined;
  return length === undefined || Number.isNaN(length) ? [] : ['Content-Length', String(length)];
}
