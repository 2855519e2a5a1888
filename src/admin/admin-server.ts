/**
 * The pages for whoever runs wstun: whether it is alive, whether it can do its work, metrics. They have an address of
 * their own: the public one of a relay must not show that wstun runs there. Knows nothing of what it shows.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { cannotListen } from '../listen-fault.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import type { Exposition } from './exposition.ts';

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_REQUEST_MS = 10_000;
/** A few probes, and a browser. */
const MAX_CONNECTIONS = 64;

export interface AdminPages {
  /** Why it cannot do its work at the moment, in a few words and without secrets; undefined: it can. */
  whyNotReady(): string | undefined;
  /** What does not work although it is ready, in the same way. */
  readonly lacking?: (() => string | undefined) | undefined;
  metrics(): Promise<Exposition>;
}

interface Page {
  readonly status: 200 | 404 | 500 | 503;
  readonly type?: string;
  readonly text: string;
}

const NOT_FOUND: Page = { status: 404, text: 'not found\n' };

export class AdminServer {
  private readonly server: Server;
  /** Readings that come at once share one. */
  private reading: Promise<Page> | undefined;

  constructor(
    private readonly pages: AdminPages,
    private readonly logger: Logger,
  ) {
    this.server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: MAX_REQUEST_MS,
      requestTimeout: MAX_REQUEST_MS,
    });
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('request', (request, response) => void this.handle(request, response));
  }

  /** The address, with the port that the system chose. @throws WstunError cannot-listen */
  async listen(place: HostPort): Promise<HostPort> {
    try {
      this.server.listen({ ...place });
      await once(this.server, 'listening');
    } catch (error) {
      throw cannotListen(place, error, '--admin');
    }
    this.server.on('error', ({ message }) => this.logger.error({ reason: message }, 'cannot accept connections'));
    const bound = this.server.address();
    return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : place;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const { status, type = 'text/plain', text } = await this.pageOf(request);
    response.writeHead(status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
    });
    response.end(text);
  }

  private async pageOf({ method, url, headers }: IncomingMessage): Promise<Page> {
    if ((method !== 'GET' && method !== 'HEAD') || !isLocalName(headers.host)) return NOT_FOUND;
    switch (url) {
      case '/healthz':
        return { status: 200, text: 'ok\n' };
      case '/readyz':
        return readiness(this.pages.whyNotReady(), this.pages.lacking?.());
      case '/metrics':
        return await this.read();
      default:
        return NOT_FOUND;
    }
  }

  private read(): Promise<Page> {
    this.reading ??= this.readNow().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async readNow(): Promise<Page> {
    try {
      return { status: 200, ...(await this.pages.metrics()) };
    } catch (error) {
      this.logger.error({ reason: String(error) }, 'the metrics cannot be read');
      return { status: 500, text: 'the metrics cannot be read; the log says why\n' };
    }
  }
}

function readiness(why: string | undefined, lacking: string | undefined): Page {
  if (why !== undefined) return { status: 503, text: `not ready: ${why}\n` };
  return { status: 200, text: lacking === undefined ? 'ready\n' : `ready, but ${lacking}\n` };
}

/**
 * An IP address or localhost. A web page whose name resolves to this address (DNS rebinding) sends that name, as every
 * browser does. Undefined: a probe by HTTP/1.0, such as HAProxy's.
 */
function isLocalName(host = 'localhost'): boolean {
  const name = host.replace(/:\d+$/, '');
  const literal = /^\[.*\]$/.test(name) ? name.slice(1, -1) : name;
  return name.toLowerCase() === 'localhost' || isIP(literal) !== 0;
}
