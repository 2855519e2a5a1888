/**
 * What a request without a valid ticket gets: the response of a Node server that runs Koa, a common framework, and has
 * no page. What Node answers on its own for such a server it also answers here: keep-alive, `100 Continue`, a request
 * without a host, CONNECT, an upgrade without a listener. Only the page, and what is not HTTP, are left to the relay.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The page of a relay for strangers. It gets every request that is not admitted, without the reason. */
export type Decoy = (request: IncomingMessage, response: ServerResponse) => void;

/** As Koa for an unknown page. Not in the turn of the request: a parser's error in what follows comes first. */
export const notFoundDecoy: Decoy = (request, response) =>
  queueMicrotask(() => {
    response.statusCode = 404;
    if (request.method === 'HEAD') return void response.end();
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.setHeader('Content-Length', 9);
    response.end('Not Found');
  });

/** The latest response of a connection. */
const responses = new WeakMap<Socket, ServerResponse>();

/** Of a link's request: upgrades that follow on its connection wait for it. */
export function noteResponse(request: IncomingMessage, response: ServerResponse): void {
  responses.set(request.socket, response);
}

/** @param etag only for a known peer (docs/protocol.md §2.2): all others get the response without it */
export function respond(request: IncomingMessage, response: ServerResponse, decoy: Decoy, etag?: string): void {
  responses.set(request.socket, response);
  if (etag !== undefined) {
    response.setHeader('ETag', etag);
    // Node answers nothing after an upgrade that it passed over, and a front end would send the next request here.
    response.shouldKeepAlive = false;
  }
  decoy(request, response);
}

/** Calls back when all earlier requests of this connection are answered; never if the connection ends before. */
export function afterResponses(socket: Socket, act: () => void): void {
  const response = responses.get(socket);
  if (response === undefined || response.writableFinished) return act();
  // Node does not listen to an upgraded socket any more, and its peer may reset it in the middle of a response.
  const ignore = (): void => {};
  socket.on('error', ignore);
  response.once('close', () => {
    if (!response.writableFinished || !socket.writable) return;
    socket.off('error', ignore);
    act();
  });
}

const BAD_REQUEST = '400 Bad Request';
const STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** For 'clientError': responds as Node does without a listener. */
export function respondUnreadable(error: Error, socket: Socket): void {
  const code = 'code' in error ? String(error.code) : '';
  const response = responses.get(socket);
  const isResponding = response?.headersSent === true && !response.writableFinished;
  if (socket.writable && !isResponding)
    socket.write(`HTTP/1.1 ${STATUS[code] ?? BAD_REQUEST}\r\nConnection: close\r\n\r\n`);
  socket.destroy(error);
}
