/** Requests of an HTTP link over HTTP/2: all on one connection, which is dialled again when it has ended. */
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import { MAX_SMALL_UPS, WINDOW_BYTES } from '../http/http-limits.ts';
import type { AnswerHandler, HttpExchange, HttpRequester, LinkHttpRequest } from '../http/http-requester.ts';
import { AnswerRelay } from './answer-relay.ts';
import { commonFields, headerOf, postHeaders } from './http1-requester.ts';

/** Of one answer. 64 KiB, the default, would limit its speed to that much in a round trip. */
const STREAM_WINDOW_BYTES = WINDOW_BYTES;
const CONNECTION_WINDOW_BYTES = 4 * WINDOW_BYTES;

/** Connections that carry the rest of their requests. */
const MAX_RETIRED = 4;

export class Http2Requester implements HttpRequester {
  readonly mostBodies = MAX_SMALL_UPS;
  private session: Promise<ClientHttp2Session> | undefined;
  private open: ClientHttp2Session | undefined;
  private closed = false;
  /** Carry the rest of their requests, and no new ones. */
  private readonly retired = new Set<ClientHttp2Session>();

  /** @param dial opens a connection on which TLS has agreed on h2 */
  constructor(
    private readonly origin: string,
    private readonly dial: () => Promise<Socket>,
    /** As of Http1Requester. */
    private readonly fields: Readonly<Record<string, string>> = {},
  ) {}

  request(request: LinkHttpRequest, handler: AnswerHandler): HttpExchange {
    let cancel = (): void => {};
    const relay = new AnswerRelay(handler, () => cancel());
    this.connected().then(
      (session) => {
        if (relay.isOver) return;
        cancel = send(session, request, relay, this.fields);
      },
      (error: unknown) => relay.fail(error),
    );
    return relay;
  }

  distrust(): void {
    const { open } = this;
    // One that is being dialled is as new as another would be.
    if (open === undefined) return;
    this.open = undefined;
    this.session = undefined;
    this.retired.add(open);
    open.once('close', () => this.retired.delete(open));
    open.close();
    const [oldest] = this.retired;
    if (this.retired.size > MAX_RETIRED) oldest?.destroy();
  }

  close(): void {
    this.closed = true;
    this.open?.destroy();
    for (const session of this.retired) session.destroy();
  }

  private connected(): Promise<ClientHttp2Session> {
    if (this.session === undefined || this.open?.closed || this.open?.destroyed) {
      this.open = undefined;
      const session = this.connect();
      this.session = session;
      session.catch(() => {
        if (this.session === session) this.session = undefined;
      });
    }
    return this.session ?? Promise.reject(new Error('not connected'));
  }

  private async connect(): Promise<ClientHttp2Session> {
    const socket = await this.dial();
    const session = connect(this.origin, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    });
    session.on('error', () => {});
    session.on('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
    // It accepts no more requests: those under way may end.
    session.on('goaway', () => session.close());
    this.open = session;
    if (this.closed) session.destroy();
    return session;
  }
}

/** Returns what cancels it. */
function send(
  session: ClientHttp2Session,
  { method, url, body = [] }: LinkHttpRequest,
  relay: AnswerRelay,
  fields: Readonly<Record<string, string>>,
): () => void {
  const { host: named, pathname } = new URL(url);
  const length = body.reduce((sum, part) => sum + part.length, 0);
  const entries = Object.entries(commonFields(fields)).map(([name, value]) => [name.toLowerCase(), value]);
  const { host = named, ...others } = Object.fromEntries(entries) as Record<string, string>;
  const pseudo = { ':method': method, ':path': pathname, ':authority': host };
  const head = { ...pseudo, ...others, ...(method === 'POST' && postHeaders(length)) };
  const stream = session.request(head, { endStream: method === 'GET' });
  stream.on('error', (error) => relay.fail(error));
  stream.on('close', () => relay.fail(new Error('the stream was closed')));
  stream.on('response', (headers: IncomingHttpHeaders & { ':status'?: number }) => {
    relay.answer(headers[':status'] ?? 0, headerOf(headers), stream, () => stream.rstCode === 0 && !stream.aborted);
  });
  if (method === 'POST') {
    for (const part of body) stream.write(part);
    stream.end();
  }
  return () => stream.destroy();
}
