/** Real TCP for tests: servers that go away with the test, and a client that remembers what it received. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

/** Listens on a free port until the test is over. Sockets are half-open capable, and their errors are swallowed. */
export async function tcpServer(handle: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    handle(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  atEnd(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/**
 * A port of an address at which nothing listens until the test is over. A connection has it meanwhile: a port that was
 * only given back would soon be that of a server of another test.
 */
export async function closedPort(host = '127.0.0.1'): Promise<number> {
  const socket = connect(await tcpServer(() => {}, host), host).on('error', () => {});
  await once(socket, 'connect');
  return socket.localPort ?? 0;
}

/** Sends back what it gets, and ends when the other side has. */
export function echo(socket: Socket): void {
  socket.pipe(socket);
}

/** A program of the test. Reads all the time unless its socket is paused. */
export class Client {
  readonly socket: Socket;
  /** Doubled when it is full: to join all anew at each read would cost seconds for some MiB. */
  private store: Buffer = Buffer.alloc(0);
  private taken = 0;
  private filled = 0;
  /** `end`: a clean end; `reset`: RST. In the order in which they came. */
  readonly events: ('end' | 'reset' | 'close')[] = [];

  /** Connects to a port, or takes over an accepted socket. */
  constructor(to: number | Socket) {
    this.socket =
      typeof to === 'number' ? connect({ host: '127.0.0.1', port: to, allowHalfOpen: true, noDelay: true }) : to;
    this.socket.on('data', (chunk: Buffer) => this.keep(chunk));
    this.socket.on('end', () => this.events.push('end'));
    this.socket.on('error', () => this.events.push('reset'));
    this.socket.on('close', () => this.events.push('close'));
    atEnd(() => void this.socket.destroy());
  }

  /** What has come and was not taken. */
  get received(): Buffer {
    return this.store.subarray(this.taken, this.filled);
  }

  send(bytes: Uint8Array | readonly number[] | string): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Uint8Array.from(bytes));
    return this;
  }

  /** Takes the next `length` bytes. */
  async take(length: number): Promise<Buffer> {
    await until(() => this.received.length >= length);
    const taken = this.received.subarray(0, length);
    this.taken += length;
    return taken;
  }

  /** Takes up to and with `mark`. */
  async takeUntil(mark: string): Promise<string> {
    await until(() => this.received.includes(mark));
    return (await this.take(this.received.indexOf(mark) + mark.length)).toString('latin1');
  }

  /** All that is left when the other side has ended or reset. */
  async rest(): Promise<string> {
    await until(() => this.events.length > 0);
    return this.received.toString('latin1');
  }

  /**
   * How the other side ends it. Node 20 and 22 take a reset right behind data for an end, but then a write of nothing
   * fails.
   */
  async ending(): Promise<'end' | 'reset'> {
    await until(() => this.events.length > 0, 15_000);
    if (this.events[0] !== 'end') return 'reset';
    if (!this.socket.writable) return 'end';
    return new Promise((resolve) => {
      this.socket.write(new Uint8Array(0), (error) => resolve(error ? 'reset' : 'end'));
    });
  }

  /** What was handed out is never written again. */
  private keep(chunk: Buffer): void {
    if (this.filled + chunk.length > this.store.length) {
      const rest = this.received;
      this.store = Buffer.allocUnsafe(2 * (rest.length + chunk.length));
      this.taken = 0;
      this.filled = rest.copy(this.store);
    }
    this.filled += chunk.copy(this.store, this.filled);
  }
}
