/** The client's name server: one address, UDP and TCP. Owns its sockets; what is answered is answerer.ts. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import { cannotListen } from '../listen-fault.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { ResolverOpener } from '../tunnel/stream/services.ts';
import { Answerer } from './answerer.ts';
import { ExitResolver } from './exit-resolver.ts';
import { MAX_CONNECTIONS, TcpAskers } from './tcp-askers.ts';

/** With port 0: the port that TCP got may be in use for UDP. */
const MAX_ATTEMPTS = 8;

export interface NameServerOptions {
  /** An address of this machine, an IPv6 one without brackets. Port 0: any free one. */
  readonly listen: HostPort;
  readonly opener: ResolverOpener;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export class NameServer {
  /** Where it listens. */
  address: HostPort;
  private readonly server: Server;
  private readonly resolver: ExitResolver;
  private readonly answerer: Answerer;
  private readonly tcp: TcpAskers;
  private udp: UdpSocket | undefined;

  constructor(private readonly options: NameServerOptions) {
    const { listen, opener, logger, clock = systemClock } = options;
    this.address = listen;
    this.resolver = new ExitResolver({ opener, clock, logger });
    this.answerer = new Answerer(this.resolver, clock);
    this.tcp = new TcpAskers(this.answerer, clock);
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.tcp.accept(socket));
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const { listen, logger } = this.options;
    try {
      for (let attempt = 1; ; attempt++) {
        this.server.listen(listen);
        await once(this.server, 'listening');
        const { address: host, port } = this.server.address() as AddressInfo;
        this.address = { host, port };
        if (await this.bindUdp(attempt)) break;
        this.server.close();
        await once(this.server, 'close');
      }
    } catch (error) {
      await this.close();
      throw cannotListen(listen, error, '--dns-listen');
    }
    this.server.on('error', (error) => logger.error({ error: error.message }, 'the name server cannot accept'));
  }

  /** Idempotent, also before `start`. */
  async close(): Promise<void> {
    this.resolver.close();
    this.tcp.close();
    this.udp?.close();
    this.udp = undefined;
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }

  /** False: try another port. */
  private async bindUdp(attempt: number): Promise<boolean> {
    const { host, port } = this.address;
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
    try {
      socket.bind(port, host);
      await once(socket, 'listening');
    } catch (error) {
      socket.close();
      if (this.options.listen.port !== 0 || attempt >= MAX_ATTEMPTS) throw error;
      return false;
    }
    this.udp = socket;
    // Such as a message that was too long for the way back.
    socket.on('error', (error) => this.options.logger.debug({ error: error.message }, 'the name server cannot send'));
    socket.on('message', (message, { address, port: from }) =>
      this.answerer.handle(message, { over: 'udp', address }, (answer) => {
        // Nobody can be answered who has sent from port 0 (RFC 768), and Node throws.
        if (answer !== undefined && this.udp === socket && from !== 0) socket.send(answer, from, address, () => {});
      }),
    );
    return true;
  }
}
