/** The HTTP connections of the proxy. http-connection.ts serves each. */
import type { Socket } from 'node:net';
import { HttpConnection } from './http-connection.ts';
import type { ProxyContext } from './program-connection.ts';

export class HttpProxy {
  private readonly connections = new Set<HttpConnection>();
  private draining = false;

  /**
   * Takes the socket over, with what was read put back; resolves when it is closed and nothing of it is left.
   * `deadline`: when the head of the first request must be complete, on the clock of `performance.now`.
   */
  async serve(socket: Socket, deadline: number, context: ProxyContext): Promise<void> {
    const connection = new HttpConnection(socket, context);
    this.connections.add(connection);
    if (this.draining) connection.drain();
    await connection.serve(deadline);
    this.connections.delete(connection);
  }

  /** Each closes after the current response, or at once if there is none. Tunnels continue. */
  drain(): void {
    this.draining = true;
    for (const connection of this.connections) connection.drain();
  }
}
