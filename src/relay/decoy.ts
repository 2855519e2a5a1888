/**
 * What everyone sees who has no ticket. `answerPlainly` is the one way in which a relay answers HTTP, whatever node made of
 * the request (a plain one, an upgrade, CONNECT, one that expects 100-continue): the answers are the same because the same
 * lines write them, and end the connection in the same way.
 */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The page of a relay for strangers. It sees every request that is not let in, and cannot tell why it was not. */
export type Decoy = (request: IncomingMessage, response: ServerResponse) => void;

/** A page of a few hundred bytes needs no longer even on a bad line; then the socket is taken back. */
const ANSWER_LIMIT_MS = 10_000;
/**
 * After the answer what still comes is read and thrown away: closing at once with unread bytes in the kernel sends a reset,
 * which can overtake the answer (RFC 9112 §9.6).
 */
const LINGER_MS = 1_000;

/** As node answers by itself, so that a relay is one of very many. */
const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n';
const RAW_ANSWERS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\n\r\n',
  ERR_HTTP_REQUEST_TIMEOUT: 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n',
};

/** A relay is one of very many: this is what Koa, a common framework for node, answers for an unknown page. */
export const notFoundDecoy: Decoy = (_request, response) => {
  response.statusCode = 404;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('Content-Length', 9);
  response.end('Not Found');
};

/** Sockets that have their answer: what comes on them later is nobody's request any more. */
const answered = new WeakSet<Socket>();

/**
 * Lets the decoy answer, and ends the connection. A second request on the same connection gets nothing.
 * @param etag for a bearer alone (docs/protocol.md §2.2, "Proven refusals"): everybody else gets the answer without
 */
export function answerPlainly(request: IncomingMessage, decoy: Decoy, etag?: string): void {
  const { socket } = request;
  request.resume();
  if (answered.has(socket)) return;
  beginAnswer(socket);
  // RFC 9112 §3.2. Node would look for it in plain requests only.
  if (request.httpVersion === '1.1' && request.headers.host === undefined) return endRaw(socket, BAD_REQUEST);
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  if (etag !== undefined) response.setHeader('ETag', etag);
  response.once('finish', () => {
    response.detachSocket(socket);
    linger(socket);
  });
  decoy(request, response);
}

/** For 'clientError': what the HTTP parser refuses, what took too long, and what failed before it came to HTTP. */
export function answerUnreadable(error: Error, socket: Socket): void {
  if (answered.has(socket)) return;
  const code = 'code' in error ? String(error.code) : '';
  const isHttp = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT';
  if (!isHttp || !socket.writable) {
    socket.destroy();
    return;
  }
  beginAnswer(socket);
  endRaw(socket, RAW_ANSWERS[code] ?? BAD_REQUEST);
}

function beginAnswer(socket: Socket): void {
  answered.add(socket);
  socket.on('error', () => socket.destroy());
  destroyAfter(socket, ANSWER_LIMIT_MS);
}

function endRaw(socket: Socket, answer: string): void {
  socket.write(answer);
  linger(socket);
}

function linger(socket: Socket): void {
  socket.end();
  // An upgraded socket has no parser any more that would read.
  socket.resume();
  destroyAfter(socket, LINGER_MS);
}

function destroyAfter(socket: Socket, ms: number): void {
  const timer = setTimeout(() => socket.destroy(), ms).unref();
  socket.once('close', () => clearTimeout(timer));
}
