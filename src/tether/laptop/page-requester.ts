/**
 * Has a page make the requests of an HTTP link, on one local connection (docs/tether-protocol.md §6.1). Looks into no
 * request and no answer.
 */
import type {
  AnswerHandler,
  HttpExchange,
  HttpRequester,
  LinkHttpRequest,
} from '../../transport/http/http-requester.ts';
import type { Message, MessageLink, MessageLinkHandler } from '../../transport/message-link.ts';
import {
  ANSWER_WINDOW_BYTES,
  decodePageFrame,
  encodeLaptopFrame,
  type LaptopFrame,
  MAX_PART_BYTES,
  type PageFrame,
} from '../shared/request-frames.ts';

export interface PageRequesterEvents {
  /** At each message: the page is alive. */
  onAlive(): void;
  /** The last call: the local connection has ended. */
  onEnd(): void;
}

const NO_EXCHANGE: HttpExchange = { pause: () => {}, resume: () => {}, abort: () => {} };

export class PageRequester implements HttpRequester, MessageLinkHandler {
  private readonly exchanges = new Map<number, PageExchange>();
  private count = 0;
  private hasEnded = false;

  /** Takes the handler of the local connection. */
  constructor(
    private readonly local: MessageLink,
    private readonly events: PageRequesterEvents,
  ) {
    local.setHandler(this);
  }

  request({ method, url, body = [] }: LinkHttpRequest, handler: AnswerHandler): HttpExchange {
    this.count += 1;
    const id = this.count;
    if (this.hasEnded) {
      queueMicrotask(() => handler.handleFault(new Error('the page is gone')));
      return NO_EXCHANGE;
    }
    const send = (frame: LaptopFrame): void => this.send(frame);
    const exchange = new PageExchange(id, handler, send, () => this.exchanges.delete(id));
    this.exchanges.set(id, exchange);
    send({ type: 'begin', id, method, url });
    if (method === 'GET') return exchange;
    for (const piece of body)
      for (let from = 0; from < piece.length; from += MAX_PART_BYTES)
        send({ type: 'part', id, bytes: piece.subarray(from, from + MAX_PART_BYTES) });
    send({ type: 'send', id });
    return exchange;
  }

  close(): void {
    if (!this.hasEnded) this.local.close();
    this.end();
  }

  /** At once. */
  abort(): void {
    this.local.abort();
  }

  handleMessage(pieces: Message): void {
    if (this.hasEnded) return;
    this.events.onAlive();
    const [only = new Uint8Array(0)] = pieces;
    // A copy: what is delivered belongs to its receiver, and may be given back by itself.
    const frame = decodePageFrame(Uint8Array.from(pieces.length === 1 ? only : Buffer.concat(pieces)));
    if (frame === undefined) return this.local.abort();
    const exchange = this.exchanges.get(frame.id);
    if (exchange?.handle(frame) === false) this.local.abort();
  }

  handleDrain(): void {}

  handleClose(): void {
    this.end();
  }

  private send(frame: LaptopFrame): void {
    if (!this.hasEnded) this.local.send([encodeLaptopFrame(frame)]);
  }

  private end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.events.onEnd();
    for (const exchange of [...this.exchanges.values()]) exchange.handle({ type: 'failed', id: exchange.id });
  }
}

class PageExchange implements HttpExchange {
  private isPaused = false;
  private isOver = false;
  /** Bytes of the answer that the page may still pass on. */
  private granted = ANSWER_WINDOW_BYTES;
  /** What came while it was paused, at most ANSWER_WINDOW_BYTES and an end. */
  private waiting: PageFrame[] = [];

  constructor(
    readonly id: number,
    private readonly handler: AnswerHandler,
    private readonly send: (frame: LaptopFrame) => void,
    private readonly onOver: () => void,
  ) {}

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    // Nothing is delivered within a call.
    queueMicrotask(() => {
      while (!this.isPaused && this.waiting.length > 0) this.deliver(this.waiting.shift());
    });
  }

  abort(): void {
    if (this.isOver) return;
    this.end();
    this.send({ type: 'abort', id: this.id });
  }

  /** False for more than the page may pass on. */
  handle(frame: PageFrame): boolean {
    this.granted -= costOf(frame);
    // A part may be larger than what is left of the grant, as the page has it whole.
    if (this.granted <= -MAX_PART_BYTES) return false;
    if (this.isPaused || this.waiting.length > 0) this.waiting.push(frame);
    else this.deliver(frame);
    return true;
  }

  private deliver(frame: PageFrame | undefined): void {
    if (this.isOver || frame === undefined) return;
    this.granted += costOf(frame);
    if (frame.type === 'head') {
      const { status, fields } = frame;
      this.handler.handleHead(status, (name) => fields[name]);
    } else if (frame.type === 'answerPart') {
      this.send({ type: 'credit', id: this.id, bytes: frame.bytes.length });
      this.handler.handleBody(frame.bytes);
    } else {
      this.end();
      if (frame.type === 'end') this.handler.handleEnd();
      else this.handler.handleFault(new Error('the page could not make the request'));
    }
  }

  private end(): void {
    this.isOver = true;
    this.waiting = [];
    this.onOver();
  }
}

/** Of the grant, bytes: at least one, so that a page cannot fill the memory with nothing. */
function costOf(frame: PageFrame): number {
  return frame.type === 'answerPart' ? Math.max(1, frame.bytes.length) : 1;
}
