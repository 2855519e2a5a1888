/**
 * All that is used of NATS' packages. It is loaded only for `--cluster`; the build keeps it apart from the rest
 * (tools/build-bundle.mjs), so it must import nothing of wstun.
 */
import { createConnection, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from '@nats-io/transport-node';
import { NodeTransport, nodeResolveHost } from '@nats-io/transport-node/lib/node_transport.js';

export {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
  StorageType,
} from '@nats-io/jetstream';
export { type KV, Kvm } from '@nats-io/kv';
export {
  type ConnectionOptions,
  createInbox,
  credsAuthenticator,
  errors,
  type Msg,
  type NatsConnection,
  nanos,
} from '@nats-io/transport-node';

/**
 * That of the package leaves the socket of an attempt open which ends by its time limit, as at a server that hangs: one
 * for each attempt, and each keeps the process.
 */
class ClosingTransport extends NodeTransport {
  override dial({ port, hostname }: { readonly port: number; readonly hostname: string }): Promise<Socket> {
    const socket = createConnection(port, hostname);
    socket.setNoDelay(true);
    this.socket = socket;
    return new Promise((resolve, reject) => {
      let fault: Error | undefined;
      socket.on('error', (error) => {
        fault = error;
      });
      socket.on('close', () => reject(fault ?? new Error('the connection was closed')));
      socket.on('connect', () => {
        socket.removeAllListeners();
        resolve(socket);
      });
    });
  }

  override async close(error?: Error): Promise<void> {
    await super.close(error);
    if (!this.connected) this.discard();
  }
}

/** As `connect` of the package. */
export async function connect(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new ClosingTransport(), dnsResolveFn: nodeResolveHost });
  return await NatsConnectionImpl.connect(options);
}
