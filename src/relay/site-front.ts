/**
 * The connections of a relay that shows the site of an upstream: no HTTP server reads them. The gate sees each request
 * whose head can be found; what it admits becomes a link, and everything else goes to the upstream.
 */
import { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';
import { type TLSSocket, Server as TlsServer } from 'node:tls';
import type { RequestHead } from './site/request-scanner.ts';
import { type HeadDecision, SiteConnection, type SiteOwner, type SiteParts } from './site/site-connection.ts';

/** What the router does for a front. */
export interface SiteFrontOwner {
  /** Calls back when the connection may be read. */
  handleConnection(socket: Socket, begin: () => void): void;
  decide(request: RequestHead, socket: Socket): HeadDecision;
  /** Parts of a SiteConnection that all have in common. */
  readonly shared: Pick<SiteParts, 'site' | 'visitors' | 'clock'>;
  sourceOf(socket: Socket): string | undefined;
  /** Something has come that is no valid ticket: the connection is no pending one any more. */
  handleVisitor(socket: Socket): void;
}

export function attachSite(server: Server, owner: SiteFrontOwner): void {
  const serve = (socket: Socket): void => {
    const each: SiteOwner = {
      decide: (head) => owner.decide(head, socket),
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

/** The request as Node's HTTP server would hand it out, for what makes a link of it. */
export function requestOf(socket: Socket, { method, url, httpVersion, headers }: RequestHead): IncomingMessage {
  const request = new IncomingMessage(socket);
  return Object.assign(request, { method, url, httpVersion, headers: { ...headers } });
}
