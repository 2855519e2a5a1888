/** The server's half of an upgrade, for requests that the gate has admitted: only they learn of the WebSocket. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { WstunError } from '../../errors.ts';
import type { MessageLink } from '../message-link.ts';
import { SOCKET_LIMITS } from './websocket-limits.ts';
import { peerAddress, WebSocketLink } from './websocket-link.ts';

export class WebSocketAcceptor {
  private readonly server = new WebSocketServer({ ...SOCKET_LIMITS, noServer: true, clientTracking: false });

  constructor() {
    // Otherwise `ws` answers a bad request with a page of its own, which no other web server would send.
    this.server.on('wsClientError', (_error, socket) => socket.destroy());
  }

  /**
   * Answers the upgrade and hands out the open link. The arguments are those of the http server's 'upgrade' event.
   * Rejects with `bad-upgrade`, the socket destroyed, when the peer has gone or the request breaks RFC 6455 §4.2.1.
   * @param onText receives text messages, which do not belong to the link; without it a text message ends the link
   * @param remote for logs and for what an exit learns of its address, if it is not the socket's own
   */
  async accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    onText?: (text: string) => void,
    remote = peerAddress(request.socket),
  ): Promise<MessageLink> {
    let link: MessageLink | undefined;
    // Calls back before it returns, or never.
    this.server.handleUpgrade(request, socket, head, (opened) => {
      link = new WebSocketLink({ socket: opened, raw: socket, masking: 'none', remote, onText });
    });
    if (link !== undefined) return link;
    socket.destroy();
    throw new WstunError('bad-upgrade', remote);
  }
}
