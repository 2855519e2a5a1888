/** Real WebSocket links on loopback: a relay's http(s) server with the acceptor behind it, and a dial. */
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { MessageLink } from '../../../src/transport/message-link.ts';
import { WebSocketAcceptor } from '../../../src/transport/websocket/websocket-accept.ts';
import { dialWebSocket } from '../../../src/transport/websocket/websocket-dial.ts';
import type { LinkPair } from './link-compliance.ts';
import { trusting } from './trusting.ts';

export interface LinkServer {
  readonly port: number;
  /** Why upgrades were rejected, in order. */
  readonly rejections: unknown[];
  /** The next link that is accepted, and the socket under it. */
  nextLink(): Promise<{ link: MessageLink; socket: Duplex }>;
  close(): Promise<void>;
}

export async function startLinkServer(tls?: { cert: string; key: string }): Promise<LinkServer> {
  const acceptor = new WebSocketAcceptor();
  const server = tls === undefined ? createHttpServer() : createHttpsServer(tls);
  const sockets = new Set<Duplex>();
  const rejections: unknown[] = [];
  const waiting: ((accepted: { link: MessageLink; socket: Duplex }) => void)[] = [];
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    sockets.add(socket);
    acceptor.accept(request, socket, head).then(
      (link) => waiting.shift()?.({ link, socket }),
      (error: unknown) => rejections.push(error),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    rejections,
    port: (server.address() as AddressInfo).port,
    nextLink: () => new Promise((resolve) => waiting.push(resolve)),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

export interface PairOptions {
  readonly mask?: 'zero' | 'random';
  readonly tls?: { cert: string; key: string };
  /** Which end is `near`; default the client. */
  readonly near?: 'client' | 'server';
}

export async function openWebSocketPair(options: PairOptions = {}): Promise<LinkPair> {
  const server = await startLinkServer(options.tls);
  const accepted = server.nextLink();
  const scheme = options.tls === undefined ? 'ws' : 'wss';
  const client = await dialWebSocket(new URL(`${scheme}://127.0.0.1:${server.port}/ticket`), {
    signal: new AbortController().signal,
    ...(options.mask === undefined ? {} : { mask: options.mask }),
    ...(options.tls === undefined ? {} : { reach: trusting(options.tls.cert) }),
  });
  const { link, socket } = await accepted;
  const release = (): Promise<void> => server.close();
  if (options.near === 'server') return { near: link, far: client, vanish: () => client.abort(), release };
  return { near: client, far: link, vanish: () => socket.destroy(), release };
}
