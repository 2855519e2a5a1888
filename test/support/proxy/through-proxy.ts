/** The programs' side of the proxy, written out by hand: tests see every reply as it came. */
import { once } from 'node:events';
import { connect, isIPv4, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';

/** Half-open capable; errors are for whoever listens to 'close'. Not flowing. */
export async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  socket.on('error', () => {});
  atEnd(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Exactly `length` bytes; what came behind them stays in the socket, which is left paused. */
export function take(socket: Socket, length: number): Promise<Buffer> {
  return takeWhen(socket, (got) => (got.length >= length ? length : undefined));
}

/** Up to and with `mark`. */
export async function takeUntil(socket: Socket, mark: string): Promise<string> {
  const bytes = await takeWhen(socket, (got) => {
    const at = got.indexOf(mark);
    return at < 0 ? undefined : at + mark.length;
  });
  return bytes.toString('latin1');
}

function takeWhen(socket: Socket, enough: (got: Buffer) => number | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const fail = () => reject(new Error(`the connection ended after ${JSON.stringify(got.toString('latin1'))}`));
    const receive = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      const length = enough(got);
      if (length === undefined) return;
      socket.pause().off('data', receive).off('end', fail).off('close', fail);
      if (got.length > length) socket.unshift(got.subarray(length));
      resolve(got.subarray(0, length));
    };
    socket.on('data', receive).once('end', fail).once('close', fail).resume();
  });
}

/** The request of RFC 1928 §4. */
export function socks5Request(host: string, port: number, { command = 1 } = {}): Buffer {
  const address = isIPv4(host) ? [1, ...host.split('.').map(Number)] : [3, host.length, ...Buffer.from(host, 'latin1')];
  return Buffer.from([5, command, 0, ...address, port >> 8, port & 0xff]);
}

/** Sends greeting and request; the reply's code, and the socket. */
export async function askSocks5(proxy: number, request: Uint8Array): Promise<{ code: number; socket: Socket }> {
  const socket = await dial(proxy);
  socket.write(Buffer.from([5, 1, 0]));
  const method = await take(socket, 2);
  if (method[1] !== 0) throw new Error(`SOCKS5 method ${method[1]}`);
  socket.write(request);
  const reply = await take(socket, 10);
  return { code: reply[1] ?? -1, socket };
}

/** Sends an HTTP request, and reads its answer's header: the socket, and what else of the answer is of interest. */
export async function askHttp(proxy: number, head: string): Promise<{ status: number; head: string; socket: Socket }> {
  const socket = await dial(proxy);
  socket.write(`${head}\r\n\r\n`);
  const answer = await takeUntil(socket, '\r\n\r\n');
  return { status: Number(answer.split(' ')[1]), head: answer, socket };
}

export type Protocol = 'SOCKS5' | 'CONNECT';

/** A connection to the target through the proxy. */
export async function connectThrough(
  protocol: Protocol,
  proxy: number,
  port: number,
  host = '127.0.0.1',
): Promise<Socket> {
  if (protocol === 'SOCKS5') {
    const { code, socket } = await askSocks5(proxy, socks5Request(host, port));
    if (code !== 0) throw new Error(`SOCKS5 reply ${code}`);
    return socket;
  }
  const { status, head, socket } = await askHttp(proxy, `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}`);
  if (status !== 200) throw new Error(head);
  return socket;
}

export type SocketEnd = 'end' | 'reset';

/**
 * How a connection ends, as its program sees it: 'reset' is ECONNRESET, never a clean end before it. Reads all the
 * while.
 */
export function endOf(socket: Socket): Promise<SocketEnd> {
  return new Promise((resolve) => {
    socket.once('end', () => {
      if (!socket.writable) return resolve('end');
      // Node 20 takes a reset right behind data for an end, but on such a connection even a write of nothing fails.
      socket.write(new Uint8Array(0), (error) => resolve(error ? 'reset' : 'end'));
    });
    socket.once('error', () => resolve('reset'));
    socket.once('close', () => resolve('reset'));
    socket.resume();
  });
}
