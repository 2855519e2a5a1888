/**
 * One TCP listener of a client: what it accepts waits until the client has taken it, and is piped then. A connection
 * that is not taken is reset. Connections outlive the listener.
 */
import { setMaxListeners } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { type WireFaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { ServedListener } from '../../tunnel/stream/services.ts';
import { pipeSocket } from '../../tunnel/stream/socket-pipe.ts';
import type { Target, TunnelStream } from '../../tunnel/stream/stream.ts';
import type { Traffic } from '../traffic.ts';
import { targetOf } from './bind.ts';

/** Connections of a listener, and those of them that the client has not taken yet. */
const MAX_CONNECTIONS = 1_024;
const MAX_WAITING = 128;
/** Of the kernel, for those that this process has not accepted yet. */
const BACKLOG = 511;

/** Paused, so that nothing is read before there is somebody who reads it. Rejects with the system's error. */
export function openServer(host: string, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true });
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: BACKLOG, exclusive: true }, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve(server);
    });
  });
}

export function boundOf(server: Server): Target {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new TypeError('no TCP server');
  return targetOf(bound.address, bound.port);
}

interface TcpListenerOptions {
  readonly peer: string;
  readonly traffic: Traffic;
  /** @throws WstunError dial-busy, quota-used */
  readonly refuseIfOverloaded: () => void;
  readonly logger: Logger;
}

export class TcpListener {
  private readonly over = new AbortController();
  private served: ServedListener | undefined;
  private waiting = 0;

  constructor(
    private readonly server: Server,
    private readonly options: TcpListenerOptions,
  ) {
    // Each that waits has a listener on it.
    setMaxListeners(0, this.over.signal);
    server.on('connection', (socket) => void this.handleConnection(socket));
  }

  serve(served: ServedListener): void {
    this.served = served;
  }

  /** Its port is free from now on. @param fault what the client is told; undefined: it knows */
  close(fault?: WireFaultName): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.server.close();
    if (fault !== undefined) this.served?.close(fault);
  }

  private async handleConnection(socket: Socket): Promise<void> {
    socket.on('error', () => {});
    const { peer, traffic, logger } = this.options;
    const remote = targetOf(socket.remoteAddress ?? '', socket.remotePort ?? 0);
    const stream = await this.offer(socket, remote).catch((error: unknown) => {
      logger.debug({ peer, remote, error: String(error) }, 'a connection at a listener was not taken');
      return undefined;
    });
    if (stream === undefined) return void socket.resetAndDestroy();
    const share = traffic.begin(peer, (fault) => stream.destroy(new WstunError(fault)));
    logger.debug({ peer, remote }, 'a connection at a listener was taken');
    const { error, fromSocket, toSocket } = await pipeSocket(socket, stream, { limiters: share.limiters });
    share.end();
    logger.debug({ peer, remote, fromSocket, toSocket, cut: error?.message }, 'a connection at a listener was closed');
  }

  private async offer(socket: Socket, remote: Target): Promise<TunnelStream> {
    const { served } = this;
    // Without an address it was reset before it was accepted.
    if (served === undefined || socket.remoteAddress === undefined) throw new WstunError('dial-cancelled');
    if (this.waiting >= MAX_WAITING) throw new WstunError('dial-busy');
    this.options.refuseIfOverloaded();
    this.waiting++;
    try {
      return await served.open(remote, this.over.signal);
    } finally {
      this.waiting--;
    }
  }
}
