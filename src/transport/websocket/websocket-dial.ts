/** The client's half of a WebSocket, for one attempt. No error or log has the ticket, or text of an unknown server. */
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { systemClock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { answerFault, describeAnswer } from '../answer-faults.ts';
import { type Connection, type ConnectionOptions, dialConnection } from '../connection/connection-dial.ts';
import { requestFields } from '../connection/reach.ts';
import type { MessageLink } from '../message-link.ts';
import type { Masking } from './websocket-frame.ts';
import { SOCKET_LIMITS } from './websocket-limits.ts';
import { WebSocketLink } from './websocket-link.ts';

/** `ws` has timers of its own for the end of a link: they do not follow `clock`. */
export interface DialWebSocketOptions extends ConnectionOptions {
  /**
   * Default: `zero` over wss (TLS hides the frames) and to a loopback address (there are no proxies), `random` over
   * plain ws elsewhere, where RFC 6455 §10.3 protects proxies on the path from content that an attacker chose.
   */
  readonly mask?: 'zero' | 'random';
  /** What the `ETag` of an answer other than 101 proves, if anything. @param detail for the fault */
  readonly provenFault?: (etag: string, detail: string) => WstunError | undefined;
}

/**
 * Opens a link to `url` (ws: or wss:, without a fragment). @throws WstunError of `provenFault`, relay-refused (a
 * RelayRefused), relay-odd-answer, relay-unreachable, those of certificates, link-slow, dial-cancelled
 */
export async function dialWebSocket(url: URL, options: DialWebSocketOptions): Promise<MessageLink> {
  const connection = await dialConnection(url, options);
  try {
    const link = await upgrade(url, connection, options);
    connection.handleWorked();
    return link;
  } catch (error) {
    if (!options.signal.aborted) connection.handleFailed();
    throw error;
  }
}

/** Rejects as dialWebSocket, with the connection's socket destroyed. */
function upgrade(url: URL, connection: Connection, options: DialWebSocketOptions): Promise<MessageLink> {
  const { signal, clock = systemClock } = options;
  const { socket: raw, lentReads, where, remote, leftMs } = connection;
  return new Promise((resolve, reject) => {
    const headers = requestFields(options.reach);
    const socket = new WebSocket(url, {
      ...SOCKET_LIMITS,
      headers,
      followRedirects: false,
      createConnection: () => raw,
    });

    const settle = (): void => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (fault: WstunError): void => {
      settle();
      reject(fault);
      socket.terminate();
      raw.destroy();
    };
    const failFrom = (error: { readonly code?: string }): void => fail(connection.faultOf(error));
    const onAbort = (): void => fail(new WstunError('dial-cancelled'));
    const timer = clock.setTimeout(() => failFrom({ code: 'ETIMEDOUT' }), leftMs);
    signal.addEventListener('abort', onAbort, { once: true });

    // Never removed: `terminate` causes one more error, which must have a listener.
    socket.on('error', failFrom);
    socket.on('unexpected-response', (_request, { statusCode = 0, headers }) => {
      const answer = { status: statusCode, headers, url, where };
      const proven =
        headers.etag === undefined ? undefined : options.provenFault?.(headers.etag, describeAnswer(answer));
      fail(proven ?? answerFault(answer));
    });
    socket.once('open', () => {
      settle();
      socket.removeAllListeners();
      const masking = options.mask ?? defaultMasking(url, options.via === undefined ? raw : undefined);
      resolve(new WebSocketLink({ socket, raw, masking, remote, lentReads }));
    });
    // The signal may have fired since TCP connected.
    if (signal.aborted) onAbort();
  });
}

/** @param socket to the relay itself; undefined: to a proxy */
function defaultMasking(url: URL, socket: Socket | undefined): Masking {
  const loopback = /^(127\.|::ffff:127\.|::1$)/.test(socket?.remoteAddress ?? '');
  return url.protocol === 'wss:' || loopback ? 'zero' : 'random';
}
