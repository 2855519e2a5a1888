/** The health page. It has an address of its own: the public one must not show that wstun runs here. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { isIP } from 'node:net';

const MAX_HEADER_BYTES = 8 * 1024;
const MAX_REQUEST_MS = 10_000;
/** A few probes, and a browser. */
const MAX_CONNECTIONS = 64;

export function createAdminServer(): Server {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: MAX_REQUEST_MS,
    requestTimeout: MAX_REQUEST_MS,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => {
    const healthy = isHealthRequest(request);
    request.resume();
    response.writeHead(healthy ? 200 : 404, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store' });
    response.end(healthy ? 'ok\n' : 'not found\n');
  });
  return server;
}

function isHealthRequest({ method, url, headers }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && url === '/healthz' && isLocalName(headers.host ?? '');
}

/** An IP address or localhost. A web page whose name resolves to this address (DNS rebinding) sends that name. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  const literal = /^\[.*\]$/.test(name) ? name.slice(1, -1) : name;
  return name.toLowerCase() === 'localhost' || isIP(literal) !== 0;
}
