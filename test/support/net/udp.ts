/** Real UDP for tests: sockets that go away with the test and remember what they received. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { atEnd } from '../scope.ts';
import { until } from '../until.ts';

export class UdpClient {
  readonly received: { readonly bytes: Buffer; readonly from: RemoteInfo }[] = [];

  private constructor(readonly socket: Socket) {
    socket.on('message', (bytes, from) => this.received.push({ bytes, from })).on('error', () => {});
    atEnd(() => this.close());
  }

  static async open(host = '127.0.0.1', port = 0): Promise<UdpClient> {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4').bind(port, host);
    await once(socket, 'listening');
    return new UdpClient(socket);
  }

  get port(): number {
    return this.socket.address().port;
  }

  /** Resolves when the kernel has it: on loopback it is in the receiver's queue then. */
  send(bytes: Uint8Array | string, port: number, host = '127.0.0.1'): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.send(bytes, port, host, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Takes the next one. */
  async take(): Promise<Buffer> {
    await until(() => this.received.length > 0);
    return this.received.shift()?.bytes ?? Buffer.alloc(0);
  }

  close(): void {
    try {
      this.socket.close();
    } catch {
      // It is closed already.
    }
  }
}
