/** Requests of an HTTP link over HTTP/1.1, each on one of a few connections that are kept for the next. */
import { Agent, type IncomingHttpHeaders, request as startRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MAX_SMALL_UPS } from '../http/http-limits.ts';
import type { AnswerHandler, HttpExchange, HttpRequester, LinkHttpRequest } from '../http/http-requester.ts';
import { AnswerRelay } from './answer-relay.ts';

/** Idle connections that are kept: as many requests as a link usually has under way. */
const MAX_IDLE_SOCKETS = MAX_SMALL_UPS + 2;
/** Most servers keep idle connections for 5 s and more; Node's Agent closes sooner where the server says less. */
const IDLE_MS = 4_000;

export class Http1Requester implements HttpRequester {
  readonly mostBodies = MAX_SMALL_UPS;
  private readonly agent: DiallingAgent;

  /**
   * @param dial opens a connection to the server: TCP is connected, TLS may not be
   * @param fields for every request; `Host` in place of that of the URL
   */
  constructor(
    dial: () => Promise<Socket>,
    private readonly fields: Readonly<Record<string, string>> = {},
  ) {
    this.agent = new DiallingAgent(dial);
  }

  request({ method, url, body = [] }: LinkHttpRequest, handler: AnswerHandler): HttpExchange {
    const { host, pathname } = new URL(url);
    const length = body.reduce((sum, part) => sum + part.length, 0);
    const headers = { ...headOf(host, this.fields), ...(method === 'POST' && postHeaders(length)) };
    const request = startRequest({ agent: this.agent, method, path: pathname, headers, setHost: false });
    const relay = new AnswerRelay(handler, () => request.destroy());
    request.on('error', (error) => relay.fail(error));
    request.on('close', () => relay.fail(new Error('the connection was closed')));
    request.on('response', (response) => {
      relay.answer(response.statusCode ?? 0, headerOf(response.headers), response, () => response.complete);
    });
    for (const part of body) request.write(part);
    request.end();
    return relay;
  }

  distrust(): void {
    this.agent.distrust();
  }

  close(): void {
    this.agent.destroy();
  }
}

/** What servers and filters expect of any client, and the fields that the user chose. */
export function commonFields(fields: Readonly<Record<string, string>>): Record<string, string> {
  return { Accept: '*/*', 'Cache-Control': 'no-store', ...fields };
}

function headOf(host: string, fields: Readonly<Record<string, string>>): Record<string, string> {
  const hasHost = Object.keys(fields).some((name) => name.toLowerCase() === 'host');
  return { ...(!hasHost && { Host: host }), ...commonFields(fields) };
}

export function postHeaders(length: number) {
  return { 'Content-Type': 'application/octet-stream', 'Content-Length': length };
}

export function headerOf(headers: IncomingHttpHeaders): (name: string) => string | undefined {
  return (name) => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  };
}

class DiallingAgent extends Agent {
  /** Are not kept after their request. */
  private distrusted = new WeakSet<Duplex>();

  constructor(private readonly dial: () => Promise<Socket>) {
    super({ keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS, timeout: 0, scheduling: 'lifo' });
    this.on('free', (socket: Socket) => socket.setTimeout(IDLE_MS));
  }

  /** Ends idle connections, and those in use after their request. */
  distrust(): void {
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
    for (const sockets of Object.values(this.sockets)) for (const socket of sockets ?? []) this.distrusted.add(socket);
  }

  override keepSocketAlive(socket: Duplex): boolean {
    // Declared as void; Node decides by what it returns.
    return !this.distrusted.has(socket) && (super.keepSocketAlive(socket) as unknown as boolean);
  }

  /** Calls back later; Node takes a socket that is returned, too, but this one is not there yet. */
  override createConnection(_options: object, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    this.dial().then(
      (socket) => callback?.(null, socket),
      // Node looks at the error first.
      (error: unknown) => (callback as ((error: unknown) => void) | undefined)?.(error),
    );
    return undefined;
  }
}
