/** All forwards from the exit to this machine that a client was given: each has its listener, and what comes of it. */
import { type Clock, systemClock } from '../clock.ts';
import { ForwardLog } from '../forward/forward-log.ts';
import type { Logger } from '../observability/logger.ts';
import type { ListenerOpener } from '../tunnel/stream/services.ts';
import { AcceptedConnections } from './accepted-connections.ts';
import { HeldListener } from './held-listener.ts';
import type { KeeperNotice } from './listener-keeper.ts';
import { listenTarget, placeOf, type RemoteForward } from './remote-forward.ts';
import { UdpFlows } from './udp-flows.ts';

/** Of one client: the exit bounds the listeners of a session, too. */
export const MAX_REMOTE_FORWARDS = 32;

export interface RemoteForwardsParts {
  readonly forwards: readonly RemoteForward[];
  readonly opener: ListenerOpener;
  readonly logger: Logger;
  readonly onNotice: (forward: RemoteForward, notice: KeeperNotice) => void;
  readonly clock?: Clock;
}

interface Running {
  readonly listener: HeldListener;
  close(graceMs: number): Promise<void>;
}

export class RemoteForwards {
  private readonly running: readonly Running[];

  constructor(private readonly parts: RemoteForwardsParts) {
    this.running = parts.forwards.map((forward) => this.make(forward));
  }

  /** The ports come with the first session, and are told as notices. */
  start(): void {
    for (const { listener } of this.running) listener.start();
  }

  /** Gives the ports back, and connections `graceMs`. Idempotent, also before `start`. */
  async close(graceMs: number): Promise<void> {
    for (const { listener } of this.running) listener.close();
    await Promise.all(this.running.map((one) => one.close(graceMs)));
  }

  private make(forward: RemoteForward): Running {
    const { opener, logger, onNotice, clock = systemClock } = this.parts;
    const shared = {
      opener,
      clock,
      address: listenTarget(forward),
      onNotice: (notice: KeeperNotice) => onNotice(forward, notice),
    };
    if (forward.protocol === 'udp' && forward.to !== 'socks') {
      const flows = new UdpFlows({
        to: forward.to,
        log: new ForwardLog(logger, 'a datagram', clock),
        place: placeOf(forward),
        clock,
      });
      const listener = new HeldListener({
        ...shared,
        use: { protocol: 'udp', handleDatagram: (bytes, from, send) => flows.handleDatagram(bytes, from, send) },
      });
      return { listener, close: () => Promise.resolve(flows.close()) };
    }
    const connections = new AcceptedConnections({ forward, logger, clock });
    const listener = new HeldListener({
      ...shared,
      use: { protocol: 'tcp', handleConnection: (offer, bound) => connections.handleConnection(offer, bound) },
    });
    return { listener, close: (graceMs) => connections.close(graceMs) };
  }
}
