/**
 * One connection of a program that speaks HTTP: its requests in turn, its stream to the last target, its timers. The bytes are
 * node:http's (http-proxy.ts) until CONNECT or an upgrade makes the socket a tunnel.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { resetSocket } from '../tunnel/socket-reset.ts';
import { carry, endWith, faultOf, openFor, type ProxyContext, untilClosed } from './connection.ts';
import { answerRefusal, forward } from './http-forward.ts';
import { type HttpRefusal, refusalOf, serialiseRefusal } from './http-replies.ts';
import { readConnect, readForward, readUpgrade } from './http-request.ts';
import { upgrade } from './http-upgrade.ts';
import { TunnelAgent } from './tunnel-agent.ts';

/**
 * Requests that may wait behind the one being served (RFC 9112 §9.3.2, pipelining). Hardly a program pipelines; without a
 * bound, one read of 64 KiB could bring thousands. About 4 KiB each.
 */
const MAX_WAITING_REQUESTS = 16;

export class HttpConnection {
  /** Resolves when the socket is closed and nothing of it is left. */
  readonly done: Promise<void>;
  readonly #socket: Socket;
  readonly #context: ProxyContext;
  readonly #gone = new AbortController();
  readonly #agent: TunnelAgent;
  #timer: NodeJS.Timeout | undefined;
  /** Ends when every request so far has been answered. */
  #turn: Promise<void> = Promise.resolve();
  #unanswered = 0;
  #draining = false;
  /** The socket is a tunnel, or is being refused: no more requests. */
  #detached = false;

  /** `deadline`: when the first request's header must be complete, on `performance.now`'s clock. */
  constructor(socket: Socket, deadline: number, context: ProxyContext) {
    this.#socket = socket;
    this.#context = context;
    this.#agent = new TunnelAgent((target) => openFor(socket, target, context));
    this.#timer = setTimeout(() => this.refuse(refusalOf('proxy-timed-out')), deadline - performance.now());
    this.done = untilClosed(socket).then(() => this.#finish());
  }

  /** Nothing is owed, and node:http reads. */
  get resting(): boolean {
    return this.#unanswered === 0 && !this.#detached;
  }

  /** `response` is answered after those before it. */
  request(request: IncomingMessage, response: ServerResponse): void {
    clearTimeout(this.#timer);
    if (this.#detached) return;
    if (this.#unanswered > MAX_WAITING_REQUESTS) return resetSocket(this.#socket);
    this.#unanswered++;
    this.#inTurn(async () => {
      if (this.#socket.destroyed) return;
      if (this.#draining) response.shouldKeepAlive = false;
      await this.#answer(request, response);
      this.#unanswered--;
      if (this.#unanswered === 0) this.#rest();
    });
  }

  connect(request: IncomingMessage, head: Buffer): void {
    this.#detach(head);
    this.#inTurn(async () => {
      const wanted = readConnect(request, this.#context.check);
      if ('refusal' in wanted) return this.#end(wanted.refusal);
      try {
        const stream = await openFor(this.#socket, wanted.target, this.#context);
        this.#socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        await carry(this.#socket, stream, this.#context);
      } catch (error) {
        await this.#end(refusalOf(faultOf(error)));
      }
    });
  }

  upgrade(request: IncomingMessage, head: Buffer): void {
    this.#detach(head);
    this.#inTurn(async () => {
      const wanted = readUpgrade(request, this.#context.check);
      if ('refusal' in wanted) return this.#end(wanted.refusal);
      await upgrade(this.#socket, wanted, this.#agent, this.#gone.signal, this.#context);
    });
  }

  /** For what is no request: malformed, too large, too late. Behind an unfinished answer there is no place to say so. */
  refuse(refusal: HttpRefusal): void {
    clearTimeout(this.#timer);
    if (this.#detached) return;
    this.#detached = true;
    if (this.#unanswered > 0) resetSocket(this.#socket);
    else this.#inTurn(() => this.#end(refusal));
  }

  /** Ends with the answer at hand; at once if there is none. Tunnels go on. */
  drain(): void {
    this.#draining = true;
    if (this.#unanswered === 0 && !this.#detached) this.#socket.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const wanted = readForward(request, this.#context.check);
    const signal = this.#gone.signal;
    if (!('refusal' in wanted)) return forward(wanted, { request, response, agent: this.#agent, signal });
    await answerRefusal(wanted.refusal, response, signal);
    request.resume();
  }

  /** Behind an unfinished answer this is an abuse: node:http has stopped watching over that answer's back-pressure. */
  #detach(head: Buffer): void {
    clearTimeout(this.#timer);
    this.#detached = true;
    if (this.#unanswered > 0) return resetSocket(this.#socket);
    this.#socket.pause();
    if (head.length > 0) this.#socket.unshift(head);
  }

  #end(refusal: HttpRefusal): Promise<void> {
    return endWith(this.#socket, serialiseRefusal(refusal), this.#context.limits.lingerMs);
  }

  /** A defect in one request ends the connection, never the process. */
  #inTurn(task: () => Promise<void>): void {
    this.#turn = this.#turn.then(task).catch((error: unknown) => {
      this.#context.logger.error({ error: String(error) }, 'an HTTP request failed on a defect');
      resetSocket(this.#socket);
    });
  }

  /** Between requests. The limit holds until the next one's header is whole: a slow header is as good as none. */
  #rest(): void {
    if (this.#draining || this.#socket.destroyed) this.#socket.destroy();
    else this.#timer = setTimeout(() => this.#socket.destroy(), this.#context.limits.keepAliveMs);
  }

  async #finish(): Promise<void> {
    clearTimeout(this.#timer);
    this.#gone.abort();
    this.#agent.destroy();
    await this.#turn;
  }
}
