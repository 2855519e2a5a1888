/**
 * A UDP socket of this machine: bound, with a buffer for bursts, and sending without a wait. Owns the socket; knows
 * nothing of the tunnel.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { isIP, isIPv6 } from 'node:net';

/** Asked of the kernel, bytes: half a second at 15 Mbit/s. It may give less (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;
/** What may wait in this process because the kernel takes nothing more, bytes; further datagrams are dropped. */
const MAX_UNSENT_BYTES = 256 * 1024;

/** Nothing of it may throw. */
export interface DatagramReceiver {
  /** The bytes belong to the receiver. */
  handleDatagram(bytes: Buffer, from: RemoteInfo): void;
  /** Once: the socket has failed, and is closed. */
  handleFailed(error: Error): void;
}

/** @param host an address, or a name of this machine. Rejects with the system's error. */
export async function bindDatagramSocket(
  { host, port }: { readonly host: string; readonly port: number },
  receiver: DatagramReceiver,
): Promise<DatagramSocket> {
  const address = isIP(host) === 0 ? (await lookup(host)).address : host;
  // Node looks up every address that a datagram is sent to, in a later turn, unless it is told that none is a name.
  const socket = createSocket({
    type: isIPv6(address) ? 'udp6' : 'udp4',
    lookup: (literal, _options, done) => done(null, literal, isIP(literal)),
  });
  // Without a look-up, both events come during the call.
  const listening = once(socket, 'listening');
  socket.bind(port, address);
  try {
    await listening;
  } catch (error) {
    socket.close();
    throw error;
  }
  return new DatagramSocket(socket, receiver);
}

export class DatagramSocket {
  readonly local: { readonly address: string; readonly port: number };
  private closed = false;

  constructor(
    private readonly socket: Socket,
    receiver: DatagramReceiver,
  ) {
    this.local = socket.address();
    raiseReceiveBuffer(socket);
    socket.on('message', (bytes, from) => receiver.handleDatagram(bytes, from));
    socket.on('error', (error) => {
      if (this.closed) return;
      this.close();
      receiver.handleFailed(error);
    });
  }

  /** One datagram of these parts. What the system does not take is lost, as it may be on any path. */
  send(parts: readonly Uint8Array[], port: number, address: string): void {
    // Nobody can be answered who has sent from port 0 (RFC 768), and Node throws.
    if (port === 0) return;
    if (this.closed || this.socket.getSendQueueSize() > MAX_UNSENT_BYTES) return;
    this.socket.send(parts, port, address, ignore);
  }

  /** Idempotent. Nothing is received afterwards. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.close();
  }
}

/** With a callback, an error of one datagram is not one of the socket. */
function ignore(): void {}

function raiseReceiveBuffer(socket: Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch {
    // Some systems refuse a size above their limit, where Linux takes the limit.
  }
}
