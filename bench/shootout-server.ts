/**
 * A common WebSocket server, as those that are compared in hashrocket's websocket-shootout: `ws` with its defaults.
 *
 *     node shootout-server.js        prints {"event":"ready","port":N}
 *
 * It sends an `echo` back to its sender, and a `broadcast` to everyone; whoever has sent that gets a result, too.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

interface Message {
  readonly id: string;
  readonly type: 'echo' | 'broadcast';
  readonly payload: unknown;
}

// Its own backlog would be 511: a step adds hundreds of clients at once.
const http = createServer();
const server = new WebSocketServer({ server: http });
server.on('connection', (client) => {
  client.on('error', () => {});
  client.on('message', (data: Buffer) => {
    const message = JSON.parse(data.toString()) as Message;
    if (message.type === 'echo') client.send(JSON.stringify(message));
    else broadcast(client, message);
  });
});

function broadcast(sender: WebSocket, message: Message): void {
  const text = JSON.stringify(message);
  let count = 0;
  for (const client of server.clients) {
    if (client.readyState !== WebSocket.OPEN) continue;
    client.send(text);
    count += 1;
  }
  sender.send(JSON.stringify({ ...message, type: 'broadcastResult', count }));
}

http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(http, 'listening');
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (http.address() as AddressInfo).port })}\n`);
