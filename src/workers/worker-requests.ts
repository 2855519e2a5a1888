/**
 * Requests of HTTP links (docs/protocol.md §1.4) that came to another worker than the one that has the link: they are
 * passed on as they are, and so are the answers, as long as these take.
 */
import {
  Agent,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as openRequest,
  type ServerResponse,
} from 'node:http';

/** Of one connection, not of what it carries (RFC 9110 §7.6.1); Node's server writes its own. */
const HOP_BY_HOP: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date']);

const agent = new Agent({ keepAlive: true });

/** @param path the other worker's socket @param onOutcome false: that worker has no answer, and nothing was answered */
export function forwardRequest(
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  onOutcome: (isAnswered: boolean) => void,
): void {
  const { method, url, headers } = request;
  const inner = openRequest({ agent, socketPath: path, method, path: url, headers: withoutHops(headers) });
  const fail = (): void => void response.destroy();
  inner.on('error', fail);
  inner.on('response', (answer) => {
    const isAnswered = answer.statusCode === 200;
    onOutcome(isAnswered);
    if (!isAnswered) return void answer.resume();
    response.writeHead(200, withoutHops(answer.headers));
    // An answer may begin long before its first byte.
    response.flushHeaders();
    answer.on('error', fail);
    answer.pipe(response);
  });
  // What came of a body that is cut counts all the same.
  request.on('error', () => inner.destroy());
  request.on('close', () => {
    if (!request.complete) inner.destroy();
  });
  response.on('close', () => {
    if (!response.writableFinished) inner.destroy();
  });
  request.pipe(inner);
}

function withoutHops(headers: IncomingMessage['headers']): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name)));
}
