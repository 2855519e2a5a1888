/**
 * One address at which a tether serves its page: answers for the page itself, and hands on WebSockets. Whoever is on
 * the local network can reach it: every request is judged by host and origin first.
 */
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { cannotListen } from '../../errors.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import type { Logger } from '../../observability/logger.ts';
import { headersOf } from './page-file.ts';
import { MAX_CONNECTIONS } from './tether-limits.ts';

const MAX_HEADER_BYTES = 8 * 1024;
/** A request is one packet. */
const REQUEST_MS = 10_000;
/** How often node looks for requests that take too long; by itself every 30 s. */
const LOOK_AT_REQUESTS_MS = 1_000;
/** For the browser to read a refusal and close: then the socket is taken back. */
const LINGER_MS = 1_000;
const PLAIN = { 'Content-Length': '0', Connection: 'close' } as const;

export interface TetherListenerOptions {
  readonly page: Buffer;
  /** Those of the invite: where the page may open far legs. */
  readonly relayUrls: readonly string[];
  readonly logger: Logger;
  readonly clock: Clock;
  /** Of a page that came from here. */
  readonly onUpgrade: (listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export class TetherListener {
  readonly host: string;
  /** What the system chose, where 0 was wanted. */
  readonly port: number;
  /** What codes that lead here name, while they do. */
  publicHost: string | undefined;
  /** BrowserBridges whose control link came in here, and pairings under way. */
  users = 0;
  /** A page that paired here comes back to the same origin, and finds its secret at no other. */
  hasPaired = false;
  private readonly server: Server;
  private readonly options: TetherListenerOptions;

  private constructor(server: Server, { host, port }: HostPort, options: TetherListenerOptions) {
    this.host = host;
    this.port = port;
    this.server = server;
    this.options = options;
    server.on('request', (request, response) => {
      const status = this.judge(request);
      const isPage = status === 200;
      response
        .writeHead(status, isPage ? headersOf(options.page, this.policyOf(request)) : PLAIN)
        .end(isPage ? options.page : '');
    });
    server.on('upgrade', (request, socket, head) => this.handleUpgrade(request, socket, head));
    server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** @param wanted port 0 lets the system choose @throws WstunError cannot-listen */
  static async open(wanted: HostPort, options: TetherListenerOptions): Promise<TetherListener> {
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: LOOK_AT_REQUESTS_MS,
    });
    server.maxConnections = MAX_CONNECTIONS;
    await listen(server, wanted);
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : wanted.port;
    return new TetherListener(server, { host: wanted.host, port }, options);
  }

  /** Nobody comes in any more; WebSockets that have live on. */
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** The status of a request that is no upgrade; 200 is the page. */
  private judge(request: IncomingMessage): number {
    if (!this.isOurHost(request)) return 403;
    if (request.url !== '/') return 404;
    return request.method === 'GET' ? 200 : 405;
  }

  /** A name that points here by a stranger's DNS is none of ours, whatever page asks. */
  private isOurHost({ headers, socket }: IncomingMessage): boolean {
    const host = headers.host?.toLowerCase();
    const local = socket.localAddress?.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '') ?? '';
    const names = [this.publicHost ?? '', this.host, local].filter((name) => name !== '');
    return host !== undefined && names.flatMap((name) => spellingsOf({ host: name, port: this.port })).includes(host);
  }

  private policyOf(request: IncomingMessage): { host: string; relayUrls: readonly string[] } {
    return { host: request.headers.host ?? '', relayUrls: this.options.relayUrls };
  }

  private handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {});
    const origin = `http://${request.headers.host}`.toLowerCase();
    if (this.isOurHost(request) && request.headers.origin?.toLowerCase() === origin)
      return this.options.onUpgrade(this, request, socket, head);
    const remote = request.socket.remoteAddress ?? 'unknown';
    this.options.logger.warn({ remote }, 'another web page tried to connect to the tether');
    refuse(socket, 403, this.options.clock);
  }
}

export function refuse(socket: Duplex, status: number, clock: Clock): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  // Nobody reads an upgraded socket: without this the other end could keep its half open, and with it one of few
  // connections.
  socket.resume();
  const timer = clock.setTimeout(() => socket.destroy(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clock.clearTimeout(timer));
}

function listen(server: Server, place: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    // For good: where a network goes away, so may a connection that waits to be accepted, and that ends nothing.
    server.on('error', (error: NodeJS.ErrnoException) => reject(cannotListen(place, error, '--tether')));
    server.listen({ host: place.host, port: place.port }, () => resolve());
  });
}

/** As `Host` and `Origin` have it: browsers leave the port of http out. */
function spellingsOf(address: HostPort): string[] {
  const whole = formatHostPort(address).toLowerCase();
  return address.port === 80 ? [whole, whole.replace(/:80$/, '')] : [whole];
}
