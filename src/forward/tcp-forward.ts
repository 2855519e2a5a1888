/** A port or a socket of this machine whose connections are streams to one target. Owns them and its listener. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { cannotListen } from '../listen-fault.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { openStream, pipe, type StreamContext } from '../proxy/program-connection.ts';
import { DEFAULT_PROXY_LIMITS } from '../proxy/proxy-limits.ts';
import { PROGRAM_SOCKETS, ServedSockets } from '../proxy/served-sockets.ts';
import { ShutdownNotice } from '../proxy/shutdown-notice.ts';
import { resetSocket } from '../tunnel/stream/socket-reset.ts';
import type { StreamOpener, Target, TunnelStream } from '../tunnel/stream/stream.ts';
import { type Forward, formatListen, type SocketPath } from './forward.ts';
import { ForwardLog } from './forward-log.ts';
import { listenAtPath } from './socket-path.ts';

export interface TcpForwardOptions {
  readonly forward: Extract<Forward, { protocol: 'tcp' }>;
  readonly opener: StreamOpener;
  readonly logger: Logger;
  /** Open at once; further ones are closed unread. Default: as of the proxy. */
  readonly maxConnections?: number;
}

export class TcpForward {
  /** Where it listens; of port 0, since `start`, the one that the system chose. */
  listen: HostPort | SocketPath;
  private readonly to: Target;
  private readonly server: Server;
  private readonly context: StreamContext;
  private readonly sockets: ServedSockets;
  private readonly log: ForwardLog;
  private isFull = false;

  constructor({ forward, opener, logger, maxConnections = DEFAULT_PROXY_LIMITS.maxConnections }: TcpForwardOptions) {
    this.listen = forward.listen;
    this.to = forward.to;
    this.log = new ForwardLog(logger, 'a connection');
    this.context = {
      ...{ opener, logger, check: undefined, own: undefined, limits: DEFAULT_PROXY_LIMITS },
      ...{ streams: new Set<TunnelStream>(), shutdown: new ShutdownNotice() },
    };
    this.sockets = new ServedSockets(this.context, () => {
      this.isFull = false;
    });
    this.server = createServer(PROGRAM_SOCKETS);
    this.server.maxConnections = maxConnections;
    this.server.on('connection', (socket) => this.sockets.serve(socket, (accepted) => this.serve(accepted)));
    this.server.on('drop', () => this.warnFull(maxConnections));
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const { listen, server } = this;
    if ('path' in listen) await listenAtPath(server, listen.path);
    else this.listen = await listenAt(server, listen);
    server.on('error', (error) => this.context.logger.error({ error: error.message }, 'cannot accept connections'));
  }

  /** As of ClientService. */
  async close(graceMs: number): Promise<void> {
    if (this.server.listening) this.server.close();
    await this.sockets.end(graceMs);
  }

  /** A program can be told a refusal only by a reset. */
  private async serve(socket: Socket): Promise<void> {
    try {
      const stream = await openStream(socket, this.to, this.context);
      await pipe(socket, stream, this.context);
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      this.log.noteRefused(error, formatListen(this.listen));
      resetSocket(socket);
    }
  }

  private warnFull(maxConnections: number): void {
    if (this.isFull) return;
    this.isFull = true;
    const forward = formatListen(this.listen);
    this.context.logger.warn({ forward, maxConnections }, new WstunError('proxy-busy').message);
  }
}

async function listenAt(server: Server, { host, port }: HostPort): Promise<HostPort> {
  try {
    server.listen({ host, port, backlog: DEFAULT_PROXY_LIMITS.maxConnections });
    await once(server, 'listening');
  } catch (error) {
    throw cannotListen({ host, port }, error, '--local-forward');
  }
  const { address, port: bound } = server.address() as AddressInfo;
  return { host: address, port: bound };
}
