/** The client's local port: SOCKS5, SOCKS4(a) and HTTP, told apart by the first byte. Owns all its sockets. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { WstunError } from '../errors.ts';
import { cannotListen } from '../listen-fault.ts';
import type { Logger } from '../observability/logger.ts';
import type { AssociationOpener, ListenerOpener } from '../tunnel/stream/services.ts';
import type { StreamOpener, TunnelStream } from '../tunnel/stream/stream.ts';
import { CredentialCheck, type Credentials } from './credentials.ts';
import { FailedAttemptLimiter } from './failed-attempts.ts';
import { HttpConnection } from './http-connection.ts';
import type { OwnPages } from './own-answers.ts';
import { awaitBytes, type ProxyContext } from './program-connection.ts';
import { DEFAULT_PROXY_LIMITS, type ProxyLimits } from './proxy-limits.ts';
import { PROGRAM_SOCKETS, ServedSockets } from './served-sockets.ts';
import { ShutdownNotice } from './shutdown-notice.ts';
import { serveSocks } from './socks-connection.ts';
import { Socks4Negotiation } from './socks4.ts';
import { Socks5Negotiation } from './socks5.ts';
import { Associations } from './udp/associations.ts';

export interface ProxyServerOptions {
  /** An address of this machine, an IPv6 one without brackets. Whether it may be used: see `refuseOpenToNetwork`. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly opener: StreamOpener & AssociationOpener;
  /** Asked of every program. Absent: none. */
  readonly credentials?: Credentials | undefined;
  readonly logger: Logger;
  readonly limits?: Partial<ProxyLimits>;
  /** As of ProxyContext. */
  readonly listeners?: ListenerOpener | undefined;
  /** As of ProxyContext. */
  readonly own?: OwnPages | undefined;
}

const SOCKS4 = 4;
const SOCKS5 = 5;

/** Rejects with `cannot-listen`. */
export async function startProxyServer(options: ProxyServerOptions): Promise<ProxyServer> {
  const { host, port, opener, credentials, logger, listeners, own } = options;
  const limits = { ...DEFAULT_PROXY_LIMITS, ...options.limits };
  const guesses = new FailedAttemptLimiter((address, waitMs) =>
    logger.warn(
      { address, seconds: waitMs / 1000 },
      'too many wrong passwords from this address; wstun rejects it for this many seconds',
    ),
  );
  const shared = {
    streams: new Set<TunnelStream>(),
    binds: new Set<Socket>(),
    shutdown: new ShutdownNotice(),
    associations: new Associations(limits.maxAssociations, logger),
  };
  const proxy = new ProxyServer({ opener, check: undefined, logger, limits, listeners, own, ...shared }, guesses);
  proxy.setCredentials(credentials);
  await proxy.listen(host, port);
  return proxy;
}

export class ProxyServer {
  /** Where it listens. */
  address: { readonly host: string; readonly port: number } = { host: '', port: 0 };
  private readonly server: Server;
  private readonly sockets: ServedSockets;
  /** Those that have not sent a byte yet. */
  private readonly silent = new Set<Socket>();
  private full = false;

  constructor(
    private context: ProxyContext,
    private readonly guesses: FailedAttemptLimiter,
  ) {
    this.server = createServer(PROGRAM_SOCKETS);
    this.server.maxConnections = context.limits.maxConnections;
    this.sockets = new ServedSockets(context, () => {
      this.full = false;
    });
    this.server.on('connection', (socket) => this.sockets.serve(socket, (accepted) => this.serve(accepted)));
    this.server.on('drop', () => this.warnFull());
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.sockets.size;
  }

  /** For connections from now on; undefined: none are asked. */
  setCredentials(credentials: Credentials | undefined): void {
    const check = credentials === undefined ? undefined : new CredentialCheck(credentials, this.guesses);
    this.context = { ...this.context, check };
  }

  async listen(host: string, port: number): Promise<void> {
    try {
      // Browsers open connections in bursts; the kernel drops what the queue cannot hold, and a retry takes a second.
      this.server.listen({ port, host, backlog: this.context.limits.maxConnections });
      await once(this.server, 'listening');
    } catch (error) {
      throw cannotListen({ host, port }, error);
    }
    const { address, port: bound } = this.server.address() as AddressInfo;
    this.address = { host: address, port: bound };
    this.server.on('error', (error) =>
      this.context.logger.error({ error: error.message }, 'cannot accept connections'),
    );
  }

  /** Stops accepting, gives connections `graceMs`, then resets them. Call it again to shorten the grace. */
  async close(graceMs: number): Promise<void> {
    if (this.server.listening) this.server.close();
    for (const socket of this.silent) socket.destroy();
    await this.sockets.end(graceMs);
  }

  private async serve(socket: Socket): Promise<void> {
    const deadline = performance.now() + this.context.limits.negotiationMs;
    this.silent.add(socket);
    const first = await awaitBytes(socket, deadline, (bytes) => bytes);
    this.silent.delete(socket);
    if (first === undefined) socket.destroy();
    else await this.dispatch(socket, first, deadline);
  }

  /**
   * A page can make a browser send HTTP here, so nothing that can begin a method is ever taken for SOCKS. Neither is an
   * empty line, which some programs send before their request (RFC 9112 §2.2).
   */
  private async dispatch(socket: Socket, first: Buffer, deadline: number): Promise<void> {
    const { logger } = this.context;
    const check = this.context.check?.from(socket.remoteAddress ?? '');
    const context = { ...this.context, check };
    const [version = 0] = first;
    if (version === SOCKS5) return serveSocks(socket, first, new Socks5Negotiation(check), deadline, context);
    if (version === SOCKS4) {
      return serveSocks(socket, first, new Socks4Negotiation(check !== undefined), deadline, context);
    }
    if (canBeginHttp(version)) {
      socket.unshift(first);
      return new HttpConnection(socket, context).serve(deadline);
    }
    logger.debug({ fault: 'proxy-malformed', version }, 'a connection is neither SOCKS nor HTTP');
    socket.destroy();
  }

  /** Logged once each time it fills up. */
  private warnFull(): void {
    if (this.full) return;
    this.full = true;
    const { maxConnections } = this.context.limits;
    this.context.logger.warn({ maxConnections }, new WstunError('proxy-busy').message);
  }
}

/** Methods are tokens (RFC 9110 §5.6.2). */
function canBeginHttp(byte: number): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]$/.test(String.fromCharCode(byte));
}
