/** A WebSocket over a Unix socket, between processes of one user: there is no TLS, no proxy and nobody to hide from. */
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { MessageLink } from '../message-link.ts';
import { SOCKET_LIMITS } from './websocket-limits.ts';
import { WebSocketLink } from './websocket-link.ts';

/** For the other process to take the link, ms. */
const TAKE_LIMIT_MS = 5_000;

/** Rejects with the error of the system or of the upgrade. @param headers of the request @param remote for logs */
export function dialLocal(
  path: string,
  headers: Readonly<Record<string, string>>,
  remote: string,
): Promise<MessageLink> {
  return new Promise((resolve, reject) => {
    const raw = connect(path);
    const options = { ...SOCKET_LIMITS, headers, createConnection: () => raw, handshakeTimeout: TAKE_LIMIT_MS };
    const socket = new WebSocket('ws://localhost/', options);
    // Never removed: `terminate` causes one more error, which must have a listener.
    socket.on('error', reject);
    socket.once('open', () => {
      socket.removeAllListeners();
      resolve(new WebSocketLink({ socket, raw, masking: 'zero', remote }));
    });
  });
}
