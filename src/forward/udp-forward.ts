/** A UDP port of this machine whose datagrams go to one target. Owns the port; its flows are udp-flows.ts. */
import { cannotListen } from '../listen-fault.ts';
import type { HostPort } from '../net/host-port.ts';
import type { Logger } from '../observability/logger.ts';
import { bindDatagramSocket, type DatagramSocket } from '../tunnel/stream/datagram-socket.ts';
import type { AssociationOpener } from '../tunnel/stream/services.ts';
import { type Forward, formatListen } from './forward.ts';
import { ForwardLog } from './forward-log.ts';
import { UdpFlows } from './udp-flows.ts';

export interface UdpForwardOptions {
  readonly forward: Extract<Forward, { protocol: 'udp' }>;
  readonly opener: AssociationOpener;
  readonly logger: Logger;
}

export class UdpForward {
  /** Where it listens; of port 0, since `start`, the one that the system chose. */
  listen: HostPort;
  private readonly flows: UdpFlows;
  private socket: DatagramSocket | undefined;

  constructor(private readonly options: UdpForwardOptions) {
    const { forward, opener, logger } = options;
    const log = new ForwardLog(logger, 'a datagram');
    this.listen = forward.listen;
    this.flows = new UdpFlows({
      ...{ opener, to: forward.to },
      answer: (bytes, port, address) => this.socket?.send([bytes], port, address),
      onFailed: (error) => log.noteRefused(error, formatListen(this.listen)),
    });
  }

  /** @throws WstunError cannot-listen */
  async start(): Promise<void> {
    const { listen, flows, options } = this;
    const forward = formatListen(listen);
    try {
      this.socket = await bindDatagramSocket(listen, {
        handleDatagram: (bytes, { port, address }) => flows.handleDatagram(bytes, port, address),
        handleFailed: ({ message }) => {
          flows.close();
          options.logger.error({ forward, error: message }, 'the UDP port of a forward has failed');
        },
      });
    } catch (error) {
      throw cannotListen(listen, error, '--local-forward');
    }
    const { address, port } = this.socket.local;
    this.listen = { host: address, port };
  }

  /** At once: nothing tells when a flow is finished. Idempotent, and may come before `start`. */
  close(): Promise<void> {
    this.socket?.close();
    this.flows.close();
    return Promise.resolve();
  }
}
