/**
 * The baseline: a plain Node TCP forwarder, `a.pipe(b)` and `b.pipe(a)` with Node's own buffers. Two in a row stand where
 * wstun has its client and its relay.
 *
 *     node forwarder.js to PORT      every connection goes to 127.0.0.1:PORT
 *     node forwarder.js socks PORT   the same, but speaks as much SOCKS5 first as the load generator does
 *
 * Prints {"event":"ready","port":N}. The address in the SOCKS request is read and not used: the second forwarder has a fixed
 * target, since what is compared is the carrying.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const [mode = '', portText = ''] = process.argv.slice(2);
const port = Number(portText);

/** VER, NMETHODS, METHODS; then VER, CMD, RSV, ATYP, an IPv4 address and a port (RFC 1928 §3, §4). */
const GREETING_BYTES = 3;
const REQUEST_BYTES = 10;

function forward(near: Socket): void {
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  join(near, far);
}

function join(near: Socket, far: Socket): void {
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.pipe(far);
  far.pipe(near);
}

/** Answers the request when the next hop stands, as a proxy would. */
function negotiate(near: Socket): void {
  let seen: Buffer = Buffer.alloc(0);
  let greeted = false;
  near.on('error', () => {});
  const read = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    if (!greeted && seen.length >= GREETING_BYTES) {
      greeted = true;
      near.write(Buffer.of(5, 0));
    }
    if (seen.length < GREETING_BYTES + REQUEST_BYTES) return;
    near.off('data', read);
    near.pause();
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    far.on('error', () => near.destroy());
    far.once('connect', () => {
      near.write(Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
      const rest = seen.subarray(GREETING_BYTES + REQUEST_BYTES);
      if (rest.length > 0) near.unshift(rest);
      join(near, far);
    });
  };
  near.on('data', read);
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, mode === 'socks' ? negotiate : forward);
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
process.stdout.write(`${JSON.stringify({ event: 'ready', port: (server.address() as AddressInfo).port })}\n`);
