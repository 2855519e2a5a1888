/** Real HTTP links on loopback: a relay with its gate, and a dial, over HTTP/1.1 or a front end that speaks HTTP/2. */
import { createServer as createHttpServer, request as startRequest } from 'node:http';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createIdentity } from '../../../src/crypto/keys.ts';
import { HTTP_FEATURE, TicketOpener, TicketSealer } from '../../../src/crypto/ticket.ts';
import { silentLogger } from '../../../src/observability/logger.ts';
import { type RelayServer, type RelayServerOptions, startRelayServer } from '../../../src/relay/relay-server.ts';
import { type DialHttpOptions, dialHttpLink } from '../../../src/transport/http-node/http-dial.ts';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import type { LinkPair } from './link-compliance.ts';

export interface HttpLinkServer {
  readonly port: number;
  readonly relay: RelayServer;
  readonly sealer: TicketSealer;
  nextLink(): Promise<MessageLink>;
  /** @param to where to dial; default: the relay itself */
  dial(options?: Partial<DialHttpOptions>, to?: string): Promise<MessageLink>;
  close(): void;
}

const relayKeys = createIdentity();
const peer = createIdentity();

export async function startHttpLinkServer(overrides: Partial<RelayServerOptions> = {}): Promise<HttpLinkServer> {
  const tickets = new TicketOpener(relayKeys);
  tickets.setPeers([{ name: 'alice', gateKey: peer.public.gate, role: 'client', destination: '' }]);
  const sealer = new TicketSealer(peer, relayKeys.public.gate);
  const arrived: MessageLink[] = [];
  const waiting: ((link: MessageLink) => void)[] = [];
  const links: MessageLink[] = [];
  const relay = await startRelayServer({
    listen: [{ host: '127.0.0.1', port: 0 }],
    tickets,
    onLink: (link) => {
      links.push(link);
      const next = waiting.shift();
      if (next === undefined) arrived.push(link);
      else next(link);
    },
    logger: silentLogger,
    ...overrides,
  });
  const port = relay.addresses[0]!.port;
  return {
    port,
    relay,
    sealer,
    nextLink: () => {
      const ready = arrived.shift();
      return ready === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(ready);
    },
    dial: (options = {}, to = `ws://127.0.0.1:${port}`) => {
      const ticket = sealer.seal({ role: 'client', destination: '', protocol: 1, features: HTTP_FEATURE }, Date.now());
      const key = sealer.httpLinkKey(ticket);
      const signal = new AbortController().signal;
      return dialHttpLink(new URL(`${to}/${ticket}`), { signal, seal: (payload) => key.seal(payload), ...options });
    },
    close: () => {
      for (const link of links) link.abort();
      relay.close();
    },
  };
}

export interface Front {
  /** ws: or wss: */
  readonly url: string;
  close(): void;
}

/** Speaks HTTP/2 over TLS, and HTTP/1.1 to the relay: as a web server in front of it. */
export async function startHttp2Front(port: number, tls: { cert: string; key: string }): Promise<Front> {
  const server = createSecureServer({ ...tls, allowHTTP1: false });
  server.on('request', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    const { method = 'GET', url: path } = request;
    const length = request.headers['content-length'];
    const headers = length === undefined ? {} : { 'Content-Length': length };
    const onward = startRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, { 'content-type': answer.headers['content-type'] ?? '' });
      answer.pipe(response);
      answer.on('close', () => {
        if (!answer.complete) response.stream.close(2);
      });
    });
    onward.on('error', () => response.stream.close(2));
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('sessionError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as AddressInfo;
  return { url: `wss://localhost:${own}`, close: () => void server.close() };
}

/** Holds every answer back until it is complete, and every request, as some inspectors do. */
export async function startHoldingFront(port: number): Promise<Front> {
  const server = createHttpServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const headers = { 'Content-Length': body.length };
      const onward = startRequest(
        { host: '127.0.0.1', port, method: request.method, path: request.url, headers },
        (answer) => {
          const content: Buffer[] = [];
          answer.on('data', (part: Buffer) => content.push(part));
          answer.on('error', () => response.destroy());
          answer.on('end', () => {
            const whole = Buffer.concat(content);
            const type = answer.headers['content-type'] ?? '';
            response.writeHead(answer.statusCode ?? 502, { 'Content-Type': type, 'Content-Length': whole.length });
            response.end(whole);
          });
        },
      );
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      onward.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as AddressInfo;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `ws://127.0.0.1:${own}`, close };
}

export interface HttpPairOptions {
  readonly near?: 'client' | 'relay';
  readonly front?: (port: number) => Promise<Front>;
  readonly dial?: Partial<DialHttpOptions>;
}

export async function openHttpPair({ near = 'client', front, dial }: HttpPairOptions = {}): Promise<LinkPair> {
  const server = await startHttpLinkServer();
  const before = await front?.(server.port);
  const accepted = server.nextLink();
  const client = await server.dial(dial, before?.url);
  const far = await accepted;
  const release = (): void => {
    server.close();
    before?.close();
  };
  if (near === 'relay') return { near: far, far: client, vanish: () => client.abort(), release };
  return { near: client, far, vanish: () => far.abort(), release };
}
