/**
 * A relay that drains: its HTTP links need new connections and requests to the end, so it goes on listening while there
 * are any. Serves requests of these alone; what else comes is closed without an answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

type ServeRequest = (request: IncomingMessage, response: ServerResponse) => void;

export class Draining {
  private onEnd: (() => void) | undefined;
  /** For connections that no HTTP server reads otherwise. Never listens. */
  private server: Server | undefined;

  get isOn(): boolean {
    return this.onEnd !== undefined;
  }

  /** @param onEnd no HTTP link is left; called once, at once if there is none */
  begin(links: number, onEnd: () => void): void {
    this.onEnd = onEnd;
    this.handleLinks(links);
  }

  /** So many HTTP links are left. */
  handleLinks(links: number): void {
    if (links > 0) return;
    const { onEnd } = this;
    if (onEnd !== undefined) this.onEnd = () => {};
    onEnd?.();
  }

  /** @param serve as of `request` events; it refuses what belongs to no link */
  take(socket: Socket, serve: ServeRequest): void {
    this.server ??= createServer(serve).on('clientError', (_error, unread) => refuse(unread));
    this.server.emit('connection', socket);
  }
}

/** As a port that is closed, as far as that is possible for a connection that was accepted. */
export function refuse(socket: Duplex): void {
  if (socket instanceof Socket && !(socket instanceof TLSSocket) && !socket.destroyed) socket.resetAndDestroy();
  else socket.destroy();
}
