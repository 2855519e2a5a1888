/**
 * The server that the load goes to, a process of its own: sends, counts or echoes, as the first bytes of each
 * connection say.
 *
 *     node target.js        prints {"event":"ready","port":N}
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { decodeHeader, HEADER_BYTES, pour } from './bulk.ts';
import { matchesPattern } from './pattern.ts';

function serve(socket: Socket): void {
  // A generator that breaks off says so itself.
  socket.on('error', () => {});
  let early: Buffer = Buffer.alloc(0);
  const readHeader = (chunk: Buffer): void => {
    early = early.length === 0 ? chunk : Buffer.concat([early, chunk]);
    if (early.length < HEADER_BYTES) return;
    socket.off('data', readHeader);
    const { kind, tag, length } = decodeHeader(early);
    const rest = early.subarray(HEADER_BYTES);
    if (kind === 'D') send(socket, tag, length);
    else if (kind === 'U') count(socket, tag, rest);
    else echo(socket, rest);
  };
  socket.on('data', readHeader);
}

function send(socket: Socket, tag: number, length: number): void {
  socket.resume();
  pour(socket, tag, length);
}

/**
 * Answers only at the sender's FIN, so that a half-close that is lost on the way is found. All ones: a byte was wrong.
 */
function count(socket: Socket, tag: number, first: Buffer): void {
  let received = 0;
  let right = true;
  const take = (chunk: Buffer): void => {
    right &&= matchesPattern(chunk, received, tag);
    received += chunk.length;
  };
  take(first);
  socket.on('data', take);
  socket.on('end', () => {
    const answer = Buffer.alloc(8, 0xff);
    if (right) answer.writeBigUInt64LE(BigInt(received));
    socket.end(answer);
  });
}

function echo(socket: Socket, first: Buffer): void {
  if (first.length > 0) socket.write(first);
  socket.on('data', (chunk) => socket.write(chunk));
  socket.on('end', () => socket.end());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (server.address() as AddressInfo).port })}\n`);
