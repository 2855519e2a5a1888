/**
 * The HTTP side of the proxy: node:http reads requests from the sockets handed to it and writes answers; each socket's own state
 * is an HttpConnection. It listens nowhere itself, so the timers of node:http that start with listening do not run: the
 * connections have their own.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ProxyContext } from './connection.ts';
import { HttpConnection } from './http-connection.ts';
import { ANY_NUMBER_OF_HEADERS, MAX_HEADER_BYTES } from './http-forward.ts';
import { refusalOf } from './http-replies.ts';
import { headWithoutUpgrade, passesOverUpgrade } from './http-request.ts';

export class HttpProxy {
  readonly #server: Server;
  readonly #context: ProxyContext;
  readonly #connections = new Map<Duplex, HttpConnection>();
  #draining = false;

  constructor(context: ProxyContext) {
    this.#context = context;
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 0, requestTimeout: 0 });
    this.#server.maxHeadersCount = ANY_NUMBER_OF_HEADERS;
    // Without it, a program that shuts its writing side after its request would lose the answer.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#listen();
  }

  /** Takes the socket over, unread or with what was read put back; resolves when it is closed. */
  async serve(socket: Socket, deadline: number): Promise<void> {
    const connection = new HttpConnection(socket, deadline, this.#context);
    this.#connections.set(socket, connection);
    if (this.#draining) connection.drain();
    this.#server.emit('connection', socket);
    socket.resume();
    await connection.done;
    this.#connections.delete(socket);
  }

  drain(): void {
    this.#draining = true;
    for (const connection of this.#connections.values()) connection.drain();
  }

  #listen(): void {
    const request = (message: IncomingMessage, response: ServerResponse): void =>
      this.#of(message.socket)?.request(message, response);
    this.#server.on('request', request);
    // With a listener, "100 Continue" is left to the target.
    this.#server.on('checkContinue', request);
    this.#server.on('connect', (message, socket, head) => this.#of(socket)?.connect(message, head));
    this.#server.on('upgrade', (message, socket, head) => this.#upgrade(message, socket, head));
    this.#server.on('clientError', (error, socket) => this.#refuse(error, socket));
  }

  /** Node lets go of the socket whatever protocol is wished for. Where that is passed over, it reads the request anew without it. */
  #upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#of(socket);
    if (!connection?.resting || !passesOverUpgrade(message)) return connection?.upgrade(message, head);
    socket.unshift(Buffer.concat([headWithoutUpgrade(message), head]));
    this.#server.emit('connection', socket);
    socket.resume();
  }

  #of(socket: Duplex): HttpConnection | undefined {
    return this.#connections.get(socket);
  }

  #refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    const connection = this.#of(socket);
    // Network errors come this way too; the socket is being destroyed then.
    if (connection === undefined || !error.code?.startsWith('HPE_')) return void socket.destroy();
    const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
    connection.refuse(
      tooLarge ? refusalOf('proxy-malformed', 'the header is too large', 431) : refusalOf('proxy-malformed'),
    );
  }
}
