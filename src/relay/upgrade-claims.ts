/**
 * Upgrades that the gate has admitted, at one of several nodes: another one may have used the same ticket a moment ago,
 * and only asking tells. A request whose ticket was used is read once more by the server, which by now knows the ticket
 * and answers as to any stranger.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { TicketClaims } from './other-nodes.ts';

/** As of TicketClaims. */
export interface UsedTicket {
  readonly nonce: string;
  readonly audience: bigint | undefined;
}

type ConnectionListener = (this: unknown, socket: Duplex) => void;

export class UpgradeClaims {
  /**
   * @param listeners with which `server` itself serves a connection
   */
  constructor(
    private readonly server: Server,
    private readonly listeners: readonly unknown[],
    private readonly claims: TicketClaims | undefined,
  ) {}

  /** Calls back once nobody else has used the ticket; at once where there is nobody else. */
  settle(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    ticket: UsedTicket | undefined,
    act: () => void,
  ): void {
    if (this.claims === undefined || ticket === undefined) return act();
    // Node does not listen to an upgraded socket any more.
    const ignore = (): void => {};
    socket.on('error', ignore);
    void this.claims.claim(ticket.nonce, ticket.audience).then((isFirst) => {
      socket.off('error', ignore);
      if (socket.destroyed) return;
      if (isFirst) act();
      else this.serveAgain(request, socket, head);
    });
  }

  private serveAgain(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.unshift(Buffer.concat([Buffer.from(headText(request), 'latin1'), head]));
    if (socket instanceof TLSSocket) this.server.emit('secureConnection', socket);
    else for (const listener of this.listeners) (listener as ConnectionListener).call(this.server, socket as Socket);
    socket.resume();
  }
}

function headText({ method, url, httpVersion, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  return [...lines, '', ''].join('\r\n');
}
