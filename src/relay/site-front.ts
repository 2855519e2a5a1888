/**
 * The connections of a relay that shows the site of an upstream: no HTTP server reads them. The gate sees each request
 * whose head can be found; what it admits becomes a link, and everything else goes to the upstream.
 */
import { createServer, type Server as HttpServer, IncomingMessage, type ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { type TLSSocket, Server as TlsServer } from 'node:tls';
import type { RequestHead } from './site/request-scanner.ts';
import { type HeadDecision, SiteConnection, type SiteOwner, type SiteParts } from './site/site-connection.ts';

/** What the router does for a front. */
export interface SiteFrontOwner {
  /** Calls back when the connection may be read. */
  handleConnection(socket: Socket, begin: () => void): void;
  decide(request: RequestHead, socket: Socket): HeadDecision;
  isSuspect(request: RequestHead): boolean;
  /** True: the relay drains, and has taken the connection. */
  takeDraining(socket: Socket): boolean;
  /** Parts of a SiteConnection that all have in common. */
  readonly shared: Pick<SiteParts, 'site' | 'visitors' | 'clock'>;
  sourceOf(socket: Socket): string | undefined;
  /** Something has come that is no valid ticket: the connection is no pending one any more. */
  handleVisitor(socket: Socket): void;
}

export function attachSite(server: Server, owner: SiteFrontOwner): void {
  const serve = (socket: Socket): void => {
    if (owner.takeDraining(socket)) return;
    const each: SiteOwner = {
      decide: (head) => owner.decide(head, socket),
      isSuspect: (head) => owner.isSuspect(head),
      handleVisitor: () => owner.handleVisitor(socket),
    };
    new SiteConnection({ ...owner.shared, socket, source: owner.sourceOf(socket), owner: each });
  };
  // Of a TLS server: the handshake.
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection');
  if (server instanceof TlsServer) {
    server.on('secureConnection', (socket: TLSSocket) => serve(socket));
    server.on('tlsClientError', (_error, socket) => socket.destroy());
  }
  server.on('connection', (socket: Socket) =>
    owner.handleConnection(socket, () => {
      if (!(server instanceof TlsServer)) return serve(socket);
      for (const listener of listeners) listener.call(server, socket);
    }),
  );
}

type ServeRequest = (request: IncomingMessage, response: ServerResponse) => void;

/** Serves single requests that were taken from connections of a site. */
export class TakenRequests {
  private readonly waiting = new WeakMap<Socket, ServeRequest>();
  /** Never listens. */
  private readonly server: HttpServer;

  constructor() {
    this.server = createServer((request, response) => {
      const { socket } = request;
      const act = this.waiting.get(socket);
      // One ticket opens one link: nothing may follow, and what its client sends all the same gets no answer.
      if (act === undefined) return void socket.destroy();
      this.waiting.delete(socket);
      response.shouldKeepAlive = false;
      act(request, response);
    });
  }

  /** @param rest what came after the head */
  serve(socket: Socket, head: RequestHead, rest: Buffer, act: ServeRequest): void {
    this.waiting.set(socket, act);
    socket.pause();
    socket.unshift(Buffer.concat([Buffer.from(headText(head), 'latin1'), rest]));
    this.server.emit('connection', socket);
    socket.resume();
  }
}

function headText({ method, url, httpVersion, headers }: RequestHead): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${url} HTTP/${httpVersion}`, ...fields, '', ''].join('\r\n');
}

/** The request as Node's HTTP server would hand it out, for what makes a link of it. */
export function requestOf(socket: Socket, { method, url, httpVersion, headers }: RequestHead): IncomingMessage {
  const request = new IncomingMessage(socket);
  return Object.assign(request, { method, url, httpVersion, headers: { ...headers } });
}
