/**
 * How long the body of a stranger's request may take. Node's `requestTimeout` would do that, but for all requests of a
 * server alike, and the body of a link's request may take longer on a slow path, as long as it progresses: the link
 * itself ends those that stand still. So that option is off, and what Node would do is done here.
 */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../clock.ts';

/** Calls back if the body is not complete after `limitMs`, with the error that Node would report. */
export function limitBody(
  request: IncomingMessage,
  limitMs: number,
  clock: Clock,
  onLate: (error: Error) => void,
): void {
  const { headers, socket } = request;
  const hasBody = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  if (!hasBody) return;
  const check = (): void => {
    if (request.complete || socket.destroyed) return;
    onLate(Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }));
  };
  const timer = clock.setTimeout(check, limitMs).unref();
  // Otherwise all requests of the last seconds would be kept.
  request.once('close', () => clock.clearTimeout(timer));
}
