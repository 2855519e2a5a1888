/** The HTTP side of the proxy: the connections that speak it. What becomes of each is http-connection.ts's to say. */
import type { Socket } from 'node:net';
import { HttpConnection } from './http-connection.ts';
import type { ProxyContext } from './program-connection.ts';

export class HttpProxy {
  private readonly connections = new Set<HttpConnection>();
  private draining = false;

  /**
   * Takes the socket over, with what was read put back; resolves when it is closed and nothing of it is left.
   * `deadline`: when the first request's head must be here, on `performance.now`'s clock.
   */
  async serve(socket: Socket, deadline: number, context: ProxyContext): Promise<void> {
    const connection = new HttpConnection(socket, context);
    this.connections.add(connection);
    if (this.draining) connection.drain();
    await connection.serve(deadline);
    this.connections.delete(connection);
  }

  /** Each ends with the answer at hand, or at once if there is none. Tunnels go on. */
  drain(): void {
    this.draining = true;
    for (const connection of this.connections) connection.drain();
  }
}
