/** The answers of a relay to the requests of an HTTP link: their head, and that of a link that has ended. */
import type { ServerResponse } from 'node:http';
import { LAST_ANSWER_MS } from '../http/http-limits.ts';
import type { LinkClock } from '../http/http-requester.ts';
import { encodeDownHead } from '../http/link-requests.ts';

/** @param length of the content; without it the answer ends when it ends */
export function writeLinkHead(response: ServerResponse, length?: number): void {
  response.writeHead(200, {
    'Content-Type': 'application/octet-stream',
    'Cache-Control': 'no-store',
    // nginx and others pass the answer on as it comes.
    'X-Accel-Buffering': 'no',
    ...(length !== undefined && { 'Content-Length': length }),
    ...(response.req.headers.origin !== undefined && { 'Access-Control-Allow-Origin': '*' }),
  });
}

/** To a client of a link that is over. */
export function answerEnded(response: ServerResponse, clock: LinkClock): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const content = encodeDownHead('all-ones');
  writeLinkHead(response, content.length);
  response.req.resume();
  endInTime(response, clock, content);
}

/**
 * The last answer of a link, which has no limits any more: a client that does not read it, or sends a body without end,
 * would hold the connection for ever.
 */
export function endInTime(response: ServerResponse, clock: LinkClock, content?: Uint8Array): void {
  const { req: request } = response;
  const end = (): void => {
    if (!request.complete || !response.writableFinished) request.socket.destroy();
  };
  const timer = clock.setTimeout(end, LAST_ANSWER_MS).unref();
  response.once('close', () => {
    if (request.complete) clock.clearTimeout(timer);
  });
  response.end(content);
}
