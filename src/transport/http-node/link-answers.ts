/** The answers of a relay to the requests of an HTTP link: their head, and that of a link that has ended. */
import type { IncomingMessage, ServerResponse } from 'node:http';
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

/** To a client of a link that is over. @param request its body, if it has one, is not read */
export function answerEnded(request: IncomingMessage | undefined, response: ServerResponse): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const content = encodeDownHead('all-ones');
  writeLinkHead(response, content.length);
  response.end(content);
  request?.resume();
}
