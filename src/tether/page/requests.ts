/**
 * Makes requests for the laptop, on one local connection (docs/tether-protocol.md §6.1): where no WebSocket gets
 * through, the laptop carries a link by these. They are simple requests (Fetch §3.3), so a browser asks nobody before
 * it makes them. What is in them and in their answers is not looked at.
 */
import {
  ANSWER_WINDOW_BYTES,
  decodeLaptopFrame,
  encodePageFrame,
  type LaptopFrame,
  MAX_PART_BYTES,
  MAX_REQUEST_BODY_BYTES,
  MAX_REQUESTS,
  type PageFrame,
} from '../shared/request-frames.ts';
import type { PageClock, PageTimer } from './page-clock.ts';

const NORMAL = 1000;
const LOST = 4001;
/** The laptop waits 10 s. */
const OPEN_LIMIT_MS = 8_000;

export interface RequestsEvents {
  readonly onEnd: () => void;
  /** Bytes of content that a request had. */
  readonly onUp: (bytes: number) => void;
  /** The same of an answer. */
  readonly onDown: (bytes: number) => void;
}

interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly aborted: AbortController;
  parts: Uint8Array[];
  bodyBytes: number;
  isSent: boolean;
  /** Of the answer: what may be passed on now. */
  credit: number;
  /** Called when there is credit again. */
  onCredit: (() => void) | undefined;
}

export class Requests {
  private readonly local: WebSocket;
  private readonly exchanges = new Map<number, Exchange>();
  private readonly limit: PageTimer;
  private ended = false;

  constructor(
    url: string,
    private readonly events: RequestsEvents,
    private readonly clock: PageClock,
  ) {
    this.local = new WebSocket(url);
    this.local.binaryType = 'arraybuffer';
    this.local.onopen = () => clock.clearTimeout(this.limit);
    this.local.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => this.handle(data);
    this.local.onclose = ({ code }) => this.end(code);
    this.limit = clock.setTimeout(() => this.end(), OPEN_LIMIT_MS);
  }

  /** Ends the requests and the local connection. */
  end(code = LOST): void {
    if (this.ended) return;
    this.ended = true;
    this.clock.clearTimeout(this.limit);
    for (const exchange of this.exchanges.values()) abort(exchange);
    this.exchanges.clear();
    this.local.onmessage = null;
    this.local.onclose = null;
    this.local.close(code === NORMAL ? NORMAL : LOST);
    this.events.onEnd();
  }

  private handle(data: ArrayBuffer | string): void {
    const frame = typeof data === 'string' ? undefined : decodeLaptopFrame(new Uint8Array(data));
    if (frame === undefined || !this.take(frame)) this.end();
  }

  /** False for what a laptop may not send. */
  private take(frame: LaptopFrame): boolean {
    if (frame.type === 'begin') return this.begin(frame.id, frame.method, frame.url);
    const exchange = this.exchanges.get(frame.id);
    // It may have ended meanwhile.
    if (exchange === undefined) return true;
    if (frame.type === 'abort') {
      this.exchanges.delete(frame.id);
      abort(exchange);
    } else if (frame.type === 'credit') {
      exchange.credit += frame.bytes;
      exchange.onCredit?.();
    } else if (exchange.isSent) {
      return false;
    } else if (frame.type === 'part') {
      exchange.parts.push(frame.bytes);
      exchange.bodyBytes += frame.bytes.length;
      return exchange.bodyBytes <= MAX_REQUEST_BODY_BYTES;
    } else {
      void this.run(frame.id, exchange);
    }
    return true;
  }

  private begin(id: number, method: 'GET' | 'POST', url: string): boolean {
    if (this.exchanges.has(id) || this.exchanges.size >= MAX_REQUESTS) return false;
    const state = { parts: [], bodyBytes: 0, isSent: false, credit: ANSWER_WINDOW_BYTES, onCredit: undefined };
    const exchange: Exchange = { method, url, aborted: new AbortController(), ...state };
    this.exchanges.set(id, exchange);
    if (method === 'GET') void this.run(id, exchange);
    return true;
  }

  /** Never rejects. */
  private async run(id: number, exchange: Exchange): Promise<void> {
    exchange.isSent = true;
    try {
      const answer = await fetch(exchange.url, this.initOf(exchange));
      this.send({ type: 'head', id, status: answer.status, fields: Object.fromEntries(answer.headers) });
      const reader = answer.body?.getReader();
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (done || value === undefined) break;
        await this.passOn(id, exchange, value);
      }
      this.finish({ type: 'end', id });
    } catch {
      this.finish({ type: 'failed', id });
    }
  }

  private initOf({ method, parts, bodyBytes, aborted }: Exchange): RequestInit {
    const body = new Uint8Array(bodyBytes);
    let end = 0;
    for (const part of parts) {
      body.set(part, end);
      end += part.length;
    }
    if (method === 'POST') this.events.onUp(bodyBytes);
    return {
      method,
      ...(method === 'POST' && { body }),
      signal: aborted.signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    };
  }

  /** Reads no more of an answer than the laptop has room for, so that its sender is slowed down. */
  private async passOn(id: number, exchange: Exchange, bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; from += MAX_PART_BYTES) {
      const part = bytes.subarray(from, from + MAX_PART_BYTES);
      while (exchange.credit <= 0 && !exchange.aborted.signal.aborted)
        await new Promise<void>((resolve) => {
          exchange.onCredit = resolve;
        });
      if (!this.exchanges.has(id)) throw new Error('aborted');
      exchange.credit -= part.length;
      this.send({ type: 'answerPart', id, bytes: part });
      this.events.onDown(part.length);
    }
  }

  private finish(frame: PageFrame): void {
    if (this.exchanges.delete(frame.id)) this.send(frame);
  }

  private send(frame: PageFrame): void {
    if (!this.ended && (frame.type !== 'head' || this.exchanges.has(frame.id)))
      this.local.send(encodePageFrame(frame) as Uint8Array<ArrayBuffer>);
  }
}

function abort(exchange: Exchange): void {
  exchange.aborted.abort();
  exchange.onCredit?.();
}
