/**
 * Answers a certificate authority on a port for plain HTTP (HTTP-01, RFC 8555 §8.3). Everyone else is sent to the same
 * page over https, as sites do, or gets a 404 for a host that is not the relay's.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { notFoundDecoy } from './decoy.ts';

const PATH = '/.well-known/acme-challenge/';
const MAX_HEADER_BYTES = 8 * 1024;
const MAX_REQUEST_MS = 10_000;
/** The authority comes from several places at once, beside people and scanners. */
const MAX_CONNECTIONS = 256;

export class HttpChallenges {
  private readonly answers = new Map<string, string>();

  /** @returns ends the challenge */
  add(token: string, answer: string): () => void {
    this.answers.set(PATH + token, answer);
    return () => {
      this.answers.delete(PATH + token);
    };
  }

  /** @param names of the relay, lower case */
  createServer(names: readonly string[]): Server {
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: MAX_REQUEST_MS,
      requestTimeout: MAX_REQUEST_MS,
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('request', (request, response) => {
      request.resume();
      this.respond(request, response, names);
    });
    return server;
  }

  private respond(request: IncomingMessage, response: ServerResponse, names: readonly string[]): void {
    const answer = this.answers.get(request.url ?? '');
    if (answer !== undefined) {
      response.setHeader('Content-Type', 'application/octet-stream');
      response.setHeader('Content-Length', answer.length);
      response.end(request.method === 'HEAD' ? undefined : answer);
      return;
    }
    const host = (request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
    const path = request.url ?? '';
    if (!names.includes(host) || !path.startsWith('/')) return notFoundDecoy(request, response);
    response.statusCode = 301;
    response.setHeader('Location', `https://${host}${path}`);
    response.setHeader('Content-Length', 0);
    response.end();
  }
}
