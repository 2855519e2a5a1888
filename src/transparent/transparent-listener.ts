/**
 * TCP connections that the firewall has led here (TPROXY or REDIRECT): finds the original destination of each, opens a
 * stream to it, and pipes. Owns its listeners and their connections; knows no rules of the firewall.
 */
import { once } from 'node:events';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { cannotListen } from '../listen-fault.ts';
import { formatIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import { openStream, pipe, type StreamContext } from '../proxy/program-connection.ts';
import { DEFAULT_PROXY_LIMITS } from '../proxy/proxy-limits.ts';
import { PROGRAM_SOCKETS, ServedSockets } from '../proxy/served-sockets.ts';
import { ShutdownNotice } from '../proxy/shutdown-notice.ts';
import { resetSocket } from '../tunnel/stream/socket-reset.ts';
import type { StreamOpener, TunnelStream } from '../tunnel/stream/stream.ts';
import { CallFault, type Native } from './native.ts';
import { type LoopCheck, loopReason } from './refused-places.ts';
import { type Place, placeOf } from './socket-address.ts';

export type TransparentKind = 'tproxy' | 'redirect';

export interface TransparentOptions {
  readonly kind: TransparentKind;
  /** Where it listens, one of each family at most. */
  readonly places: readonly Place[];
  readonly native: Native;
  readonly opener: StreamOpener;
  readonly loops: LoopCheck;
  readonly logger: Logger;
  /** Open at once; others are closed unread. Default: as of the proxy. */
  readonly maxConnections?: number;
}

export class TransparentListener {
  private readonly context: StreamContext;
  private readonly servers: Server[] = [];
  private readonly sockets: ServedSockets;
  private readonly maxConnections: number;
  private isFull = false;

  constructor(private readonly options: TransparentOptions) {
    const { opener, logger, maxConnections = DEFAULT_PROXY_LIMITS.maxConnections } = options;
    this.maxConnections = maxConnections;
    this.context = {
      ...{ opener, logger, check: undefined, own: undefined, limits: DEFAULT_PROXY_LIMITS },
      ...{ streams: new Set<TunnelStream>(), shutdown: new ShutdownNotice() },
    };
    this.sockets = new ServedSockets(this.context, () => {
      this.isFull = false;
    });
  }

  /** @throws WstunError cannot-listen, transparent-not-permitted */
  async start(): Promise<void> {
    for (const place of this.options.places) {
      try {
        await this.listen(place);
      } catch (error) {
        // A machine without IPv6 has nothing that could be missed.
        if (codeOf(error) === 'EAFNOSUPPORT' && this.options.places.length > 1) continue;
        throw listenFault(error, place, this.options.kind);
      }
    }
  }

  async close(graceMs: number): Promise<void> {
    for (const server of this.servers) if (server.listening) server.close();
    await this.sockets.end(graceMs);
  }

  private async listen(place: Place): Promise<void> {
    const server = createServer(PROGRAM_SOCKETS);
    server.maxConnections = this.maxConnections;
    server.on('connection', (socket) => this.sockets.serve(socket, (accepted) => this.serve(accepted)));
    server.on('drop', () => this.warnFull());
    server.listen(this.listenOptions(place));
    await once(server, 'listening');
    server.on('error', (error) => this.context.logger.error({ error: error.message }, 'cannot accept connections'));
    this.servers.push(server);
  }

  /** @throws CallFault */
  private listenOptions(place: Place): ListenOptions | { readonly fd: number } {
    const backlog = this.maxConnections;
    if (this.options.kind === 'tproxy') return { fd: this.options.native.listenTransparent(place, backlog) };
    return { host: formatIp(place.ip), port: place.port, ipv6Only: true, backlog };
  }

  private async serve(socket: Socket): Promise<void> {
    const { loops } = this.options;
    const { logger } = this.context;
    const place = this.destinationOf(socket);
    const reason = place === undefined ? 'no rule of the firewall has led it here' : loopReason(place, loops);
    if (place === undefined || reason !== undefined) {
      logger.warn({ ...(place && { destination: place.port }), reason }, 'a transparent connection was refused');
      resetSocket(socket);
      return;
    }
    try {
      const stream = await openStream(socket, { kind: 'ip', ...place }, this.context);
      await pipe(socket, stream, this.context);
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      // There is no other answer: the program sees a connection that is refused right after it was accepted.
      resetSocket(socket);
    }
  }

  private destinationOf(socket: Socket): Place | undefined {
    if (this.options.kind === 'tproxy') return placeOf(socket.localAddress, socket.localPort);
    const fd = descriptorOf(socket);
    if (fd === undefined) return undefined;
    return this.options.native.originalDestination(fd, socket.localFamily === 'IPv6' ? 6 : 4);
  }

  private warnFull(): void {
    if (this.isFull) return;
    this.isFull = true;
    const { maxConnections } = this;
    this.context.logger.warn({ maxConnections }, new WstunError('proxy-busy').message);
  }
}

/** Node has no public name for it. Undefined: the socket is closed. */
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

/** What keeps a transparent socket from being opened, and what to do about it. */
export function listenFault(error: unknown, { ip, port }: Place, kind: TransparentKind): unknown {
  if (error instanceof CallFault && error.code === 'EPERM')
    return new WstunError('transparent-not-permitted', error.message);
  if (codeOf(error) === undefined) return error;
  return cannotListen({ host: formatIp(ip), port }, error, `--${kind}`);
}
