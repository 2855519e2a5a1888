/** The socket of a connected association: the kernel passes on only what its one target sends. */
import { type WireFaultName, WstunError } from '../../errors.ts';
import { familyOf, formatIp, type IpBytes } from '../../net/ip.ts';
import { interleave } from '../dialer.ts';
import { dialFaultOf, mostSpecific } from '../target-dial-faults.ts';
import type { Flow, OpenAssociation } from './open-association.ts';
import { MAX_ADDRESSES } from './route-check.ts';
import { UdpSocket } from './udp-socket.ts';

export class ConnectedFlow implements Flow {
  private constructor(
    private readonly socket: UdpSocket,
    private readonly association: OpenAssociation,
  ) {}

  /** To the first address to which there is a route. Rejects with a WstunError: a dial fault. */
  static async open(addresses: readonly IpBytes[], port: number, association: OpenAssociation): Promise<ConnectedFlow> {
    const handler = {
      handleMessage: (bytes: Buffer) => association.deliver(bytes),
      handleFailed: () => {},
    };
    const faults = new Set<WireFaultName>();
    for (const ip of interleave(addresses).slice(0, MAX_ADDRESSES)) {
      const socket = new UdpSocket(familyOf(ip), handler);
      try {
        await socket.connect(formatIp(ip), port);
        return new ConnectedFlow(socket, association);
      } catch (error) {
        socket.close();
        await socket.closed;
        faults.add(dialFaultOf(error));
      }
    }
    throw new WstunError(mostSpecific(faults));
  }

  handleDatagram(bytes: Uint8Array): void {
    if (this.association.maySend(bytes.length)) this.socket.send(bytes);
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.socket.closed;
  }
}
