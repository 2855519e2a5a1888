/** One address of a tether. Everyone on the local network can reach it: host and origin are always checked first. */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { cannotListen } from '../../listen-fault.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import type { Logger } from '../../observability/logger.ts';
import { readStart, START_PATH, type StartView, withStart } from '../shared/start.ts';
import { headersOf } from './page-file.ts';
import { MAX_CONNECTIONS } from './tether-limits.ts';

const MAX_HEADER_BYTES = 8 * 1024;
/** A secret and the name of its field: 29 bytes. */
const MAX_START_BYTES = 64;
/** A request is one packet. */
const REQUEST_LIMIT_MS = 10_000;
/** How often Node checks for requests that take too long; its default is 30 s. */
const REQUEST_CHECK_MS = 1_000;
/** Time for the browser to read a rejection and close. Then the socket is destroyed. */
const LINGER_MS = 1_000;
const PLAIN = { 'Content-Length': '0', Connection: 'close' } as const;

export interface TetherListenerOptions {
  readonly page: Buffer;
  /** Those of the invite: where the page may open upstream connections. */
  readonly relayUrls: readonly string[];
  readonly logger: Logger;
  readonly clock: Clock;
  /** For a browser that opens a start file: whether its secret is valid, and how the page looks. */
  readonly start?: { isValid(secret: string): boolean; readonly view: StartView } | undefined;
  /** For upgrades with the right host and origin. */
  readonly onUpgrade: (listener: TetherListener, request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export class TetherListener {
  readonly host: string;
  /** The system's choice if 0 was requested. */
  readonly port: number;
  /** The host in codes that lead here; undefined: none do. */
  publicHost: string | undefined;
  /** Pages whose control link came in here, and pairings under way. */
  users = 0;
  /** A page that paired here returns to this origin, because it finds its secret at no other. */
  hasPaired = false;

  private constructor(
    private readonly server: Server,
    { host, port }: HostPort,
    private readonly options: TetherListenerOptions,
  ) {
    this.host = host;
    this.port = port;
    server.on('request', (request, response) => {
      if (options.start !== undefined && request.url === START_PATH)
        return void this.handleStart(options.start, request, response);
      const status = this.statusOf(request);
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
      headersTimeout: REQUEST_LIMIT_MS,
      requestTimeout: REQUEST_LIMIT_MS,
      connectionsCheckingInterval: REQUEST_CHECK_MS,
    });
    server.maxConnections = MAX_CONNECTIONS;
    await listen(server, wanted);
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : wanted.port;
    return new TetherListener(server, { host: wanted.host, port }, options);
  }

  /** Accepts nothing any more. Open WebSockets stay. */
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  /** For a request other than an upgrade; 200 is the page. */
  private statusOf(request: IncomingMessage): number {
    if (!this.isOurHost(request)) return 403;
    if (request.url !== '/') return 404;
    return request.method === 'GET' ? 200 : 405;
  }

  /** A file has no origin, which a browser writes as `null`. */
  private async handleStart(
    { isValid, view }: NonNullable<TetherListenerOptions['start']>,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const isPost = request.method === 'POST' && request.headers.origin === 'null';
    const secret = isPost && this.isOurHost(request) ? readStart(await beginOf(request)) : undefined;
    if (secret === undefined || !isValid(secret)) return void response.writeHead(403, PLAIN).end();
    const page = Buffer.from(withStart(this.options.page.toString('utf8'), { secret, view }));
    response.writeHead(200, headersOf(page, this.policyOf(request))).end(page);
  }

  /** A name that a stranger's DNS points here (DNS rebinding) is rejected. */
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
    rejectUpgrade(socket, 403, this.options.clock);
  }
}

export function rejectUpgrade(socket: Duplex, status: number, clock: Clock): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  // An upgraded socket is not read otherwise. The other end could keep its half open, and so one of few connections.
  socket.resume();
  const timer = clock.setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clock.clearTimeout(timer));
}

/** Up to MAX_START_BYTES of the content; never rejects. */
function beginOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const end = () => resolve(text);
    request.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MAX_START_BYTES) request.destroy();
    });
    request.once('end', end).once('close', end);
  });
}

function listen(server: Server, place: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    // Stays: when a network disappears, accepting a waiting connection may fail, and that ends nothing.
    server.on('error', (error: NodeJS.ErrnoException) => reject(cannotListen(place, error, '--tether')));
    server.listen({ host: place.host, port: place.port }, () => resolve());
  });
}

/** As in `Host` and `Origin`: browsers omit port 80. */
function spellingsOf(address: HostPort): string[] {
  const whole = formatHostPort(address).toLowerCase();
  return address.port === 80 ? [whole, whole.replace(/:80$/, '')] : [whole];
}
