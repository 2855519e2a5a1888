/**
 * The client's half of an HTTP link, for one attempt: connections to the relay, HTTP/2 where TLS offers it, and what
 * the first answer means if it is no link. No error or log has the ticket, a path, or text of an unknown server.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { answerFault, describeAnswer } from '../answer-faults.ts';
import { type Connection, type ConnectionOptions, dialConnection } from '../connection/connection-dial.ts';
import { requestFields } from '../connection/reach.ts';
import { secured } from '../connection/secured.ts';
import { HttpClientLink, type HttpClientOptions, type OpeningFault } from '../http/http-client-link.ts';
import { MAX_UPS } from '../http/http-limits.ts';
import type { AnswerHandler, HttpExchange, HttpRequester, LinkHttpRequest } from '../http/http-requester.ts';
import type { MessageLink } from '../message-link.ts';
import { Http1Requester } from './http1-requester.ts';
import { Http2Requester } from './http2-requester.ts';

export interface DialHttpOptions extends ConnectionOptions {
  /** Seals the payload of a further request into a path segment, by the key of the ticket in the URL. */
  readonly seal: (payload: Uint8Array) => string;
  /** What the `ETag` of an answer that is no link proves, if anything. @param detail for the fault */
  readonly provenFault?: (etag: string, detail: string) => WstunError | undefined;
  /** Default: HTTP/2 where TLS offers it. */
  readonly http?: '1.1' | 'best';
  readonly holding?: HttpClientOptions['holding'];
  /** For tests. */
  readonly times?: HttpClientOptions['times'];
}

/** Headers of which an answer's meaning is read. */
const READ_HEADERS = ['etag', 'date', 'location', 'server', 'via', 'cf-ray', 'x-squid-error', 'x-cache'];

/**
 * Opens a link to `url` (ws: or wss:, the ticket last in its path). @throws WstunError of `provenFault`, relay-refused
 * (a RelayRefused), relay-odd-answer, relay-untrusted, relay-unreachable, link-slow, dial-cancelled
 */
export async function dialHttpLink(url: URL, options: DialHttpOptions): Promise<MessageLink> {
  const { clock = systemClock, http = 'best' } = options;
  const mayH2 = url.protocol === 'wss:' && http === 'best';
  const first = await dialConnection(url, { ...options, ...(mayH2 && { alpn: ['h2', 'http/1.1'] }) });
  const since = clock.now();
  try {
    await secured(first, options);
    const leftMs = first.leftMs - (clock.now() - since);
    const link = await new Opening(url, first, { ...options, timeoutMs: leftMs }).run();
    first.handleWorked();
    return link;
  } catch (error) {
    first.socket.destroy();
    if (!options.signal.aborted) first.handleFailed();
    throw error;
  }
}

class Opening {
  private readonly origin: string;
  private readonly base: string;

  constructor(
    private readonly url: URL,
    private readonly first: Connection,
    private readonly options: DialHttpOptions & { readonly timeoutMs: number },
  ) {
    this.origin = `${url.protocol === 'wss:' ? 'https' : 'http'}://${url.host}`;
    this.base = `${this.origin}${url.pathname.slice(0, url.pathname.lastIndexOf('/') + 1)}`;
  }

  /** Resolves in the turn in which the link opened. */
  run(): Promise<MessageLink> {
    const { signal, clock = systemClock, seal, holding, times, timeoutMs } = this.options;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clock.clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (fault: WstunError): void => {
        settle();
        reject(fault);
        link.cancel();
      };
      const link = new HttpClientLink({
        requester: this.requester(),
        clock,
        openingUrl: `${this.origin}${this.url.pathname}`,
        urlOf: (payload) => `${this.base}${seal(payload)}`,
        remote: this.first.remote,
        holding,
        onOpen: (opened) => {
          settle();
          resolve(opened);
        },
        onFault: (fault) => fail(this.faultOf(fault)),
        ...(times && { times }),
      });
      const onAbort = (): void => fail(new WstunError('dial-cancelled'));
      const timer = clock.setTimeout(() => fail(this.first.faultOf({ code: 'ETIMEDOUT' })), timeoutMs);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  }

  /** The first connection is there already; the others are dialled like it, for as long as the link lives. */
  private requester(): HttpRequester {
    const { socket } = this.first;
    let unused: Socket | undefined = socket;
    const isH2 = socket instanceof TLSSocket && socket.alpnProtocol === 'h2';
    const ended = new AbortController();
    const dial = async (): Promise<Socket> => {
      const ready = unused;
      unused = undefined;
      if (ready !== undefined && !ready.destroyed) return ready;
      const { timeoutMs: _opening, signal: _dial, ...same } = this.options;
      const alpn = { alpn: [isH2 ? 'h2' : 'http/1.1'] };
      const connection = await dialConnection(this.url, { ...same, ...alpn, signal: ended.signal });
      return connection.socket;
    };
    const fields = requestFields(this.options.reach);
    const requester = isH2 ? new Http2Requester(this.origin, dial, fields) : new Http1Requester(dial, fields);
    return new EndingRequester(requester, () => {
      ended.abort();
      unused?.destroy();
    });
  }

  private faultOf(fault: OpeningFault): WstunError {
    const { first, url, options } = this;
    if (fault.kind === 'failed') {
      return fault.error instanceof WstunError ? fault.error : first.faultOf({ code: codeOf(fault.error) });
    }
    const { status, header } = fault;
    const headers: IncomingHttpHeaders = {};
    for (const name of READ_HEADERS) headers[name] = header(name);
    const answer = { status, headers, url, where: first.where };
    const etag = header('etag');
    const proven = etag === undefined ? undefined : options.provenFault?.(etag, describeAnswer(answer));
    return proven ?? answerFault(answer);
  }
}

/** Also ends dials that are under way. */
class EndingRequester implements HttpRequester {
  constructor(
    private readonly inner: HttpRequester,
    private readonly onClose: () => void,
  ) {}

  get mostBodies(): number {
    return this.inner.mostBodies ?? MAX_UPS;
  }

  request(request: LinkHttpRequest, handler: AnswerHandler): HttpExchange {
    return this.inner.request(request, handler);
  }

  distrust(): void {
    this.inner.distrust?.();
  }

  close(): void {
    this.inner.close();
    this.onClose();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'ECONNRESET';
}
