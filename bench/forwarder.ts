/**
 * The baseline: a plain Node TCP forwarder, `a.pipe(b)` and `b.pipe(a)` with Node's own buffers. Two in a row stand
 * where wstun has its client and its relay.
 *
 *     node forwarder.js to PORT      every connection goes to 127.0.0.1:PORT
 *     node forwarder.js socks PORT   the same, but speaks as much SOCKS5 first as the load generator does
 *
 * Prints {"event":"ready","port":N}. The address in the SOCKS request is read and not used: the second forwarder has a
 * fixed target, since what is compared is the carrying.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { negotiate } from './socks.ts';

const [mode = '', portText = ''] = process.argv.slice(2);
const port = Number(portText);

function dial(): { socket: Socket } {
  return { socket: connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }) };
}

function join(near: Socket, { socket: far }: { readonly socket: Socket }): void {
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.pipe(far);
  far.pipe(near);
}

function serve(near: Socket): void {
  if (mode === 'socks') negotiate(near, dial, join);
  else join(near, dial());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (server.address() as AddressInfo).port })}\n`);
