/**
 * What everyone sees who has no ticket: a node server that runs Koa, a common framework, and has no page. Whatever node
 * answers for such a server by itself it answers here, too: keep-alive, `100 Continue`, a request without a host,
 * CONNECT, an upgrade that nobody wants. That leaves the page, and what is no HTTP, to which a relay has to listen.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The page of a relay for strangers. It sees every request that is not let in, and cannot tell why it was not. */
export type Decoy = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * What Koa answers for an unknown page. As there, not in the turn in which the request was read: where what follows it
 * is no HTTP, the parser's verdict comes first.
 */
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

/** @param etag for a peer alone (docs/protocol.md §2.2, "Proven refusals"): everybody else gets the answer without */
export function answer(request: IncomingMessage, response: ServerResponse, decoy: Decoy, etag?: string): void {
  responses.set(request.socket, response);
  if (etag !== undefined) {
    response.setHeader('ETag', etag);
    // Node answers nothing more behind an upgrade that it passed over, and a front end would send the next request
    // here.
    response.shouldKeepAlive = false;
  }
  decoy(request, response);
}

/**
 * Calls back when all requests before on this connection have their answers, at once where that is so; never if it ends
 * before.
 */
export function afterAnswers(socket: Socket, act: () => void): void {
  const response = responses.get(socket);
  if (response === undefined || response.writableFinished) return act();
  // Node listens no more to a socket that is upgraded, and its peer may reset it in the middle of an answer.
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

/** For 'clientError': as node does where nobody listens for it. */
export function answerUnreadable(error: Error, socket: Socket): void {
  const code = 'code' in error ? String(error.code) : '';
  const response = responses.get(socket);
  const isAnswering = response?.headersSent === true && !response.writableFinished;
  if (socket.writable && !isAnswering)
    socket.write(`HTTP/1.1 ${STATUS[code] ?? BAD_REQUEST}\r\nConnection: close\r\n\r\n`);
  socket.destroy(error);
}
