/**
 * Listeners (docs/protocol.md §7.1): takes the offers, decides by the rules of the access entry where it may listen,
 * and gives each port back at once when its session is over, its client closes it, or a rule is gone.
 */
import type { Clock, Timer } from '../../clock.ts';
import { type WireFaultName, WstunError } from '../../errors.ts';
import type { IpBytes } from '../../net/ip.ts';
import type { Logger } from '../../observability/logger.ts';
import type { OfferedStream } from '../../tunnel/stream/stream.ts';
import type { Traffic, TrafficShare } from '../traffic.ts';
import { OpenAssociation } from '../udp/open-association.ts';
import { bindFirst, shuffledPorts } from './bind.ts';
import { allowedPorts, type ListenRule, listenAddressOf, mayListen } from './listen-rules.ts';
import { boundOf, openServer, TcpListener } from './tcp-listener.ts';
import { UdpListenerFlow } from './udp-listener.ts';

/** Of one access entry, and of all. */
const MAX_LISTENERS_OF_PEER = 64;
const MAX_LISTENERS = 1_024;
/**
 * A listener whose session has had no link for so long gives way to another session of the same access entry, ms: a
 * client that was killed and started again need not wait until its last session has expired.
 */
const AWAY_MS = 5_000;
/** How often listeners are compared with the rules, ms: an access list is in force within a second or so. */
const LOOK_MS = 500;

interface ListenersOptions {
  readonly traffic: Traffic;
  /** Asked at every offer, and while it listens. */
  readonly rulesFor: (peer: string) => readonly ListenRule[];
  /** TCP ports of this program. Asked at every offer. */
  readonly ownPorts: () => readonly number[];
  /** @throws WstunError dial-busy */
  readonly refuseIfOverloaded: () => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** One that listens. */
interface Open {
  readonly peer: string;
  readonly transport: 'tcp' | 'udp';
  readonly ip: IpBytes;
  readonly port: number;
  readonly isAway: () => boolean;
  /** Since when its session has no link, as far as was noticed. */
  awaySince: number | undefined;
  /** Idempotent. @param fault what the client is told; undefined: it knows */
  end(fault?: WireFaultName): void;
}

interface Lease {
  readonly share: TrafficShare;
  /** Resolves when it is not to listen any more, and does not. */
  readonly over: Promise<void>;
}

export class Listeners {
  /** How many of each access entry, those that are being opened among them. */
  private readonly counts = new Map<string, number>();
  private readonly open = new Set<Open>();
  private look: Timer | undefined;

  constructor(private readonly options: ListenersOptions) {}

  /** Ports at which this program receives datagrams. */
  get udpPorts(): readonly number[] {
    return [...this.open].flatMap(({ transport, port }) => (transport === 'udp' ? [port] : []));
  }

  /** Until nothing of it is left but connections. Rejects, before it is accepted, with the fault that is told. */
  async serve(offer: OfferedStream): Promise<void> {
    const { peer } = offer;
    const count = this.counts.get(peer) ?? 0;
    const all = [...this.counts.values()].reduce((sum, each) => sum + each, 0);
    if (count >= MAX_LISTENERS_OF_PEER || all >= MAX_LISTENERS) throw new WstunError('dial-busy', 'too many listeners');
    this.counts.set(peer, count + 1);
    try {
      await (offer.service === 'udp-listener' ? this.serveUdp(offer) : this.serveTcp(offer));
    } finally {
      const left = (this.counts.get(peer) ?? 0) - 1;
      if (left > 0) this.counts.set(peer, left);
      else this.counts.delete(peer);
    }
  }

  private async serveTcp(offer: OfferedStream): Promise<void> {
    const { peer } = offer;
    const { traffic, logger } = this.options;
    const { ip, ports } = this.permit(offer);
    this.replaceAway({ peer, port: offer.target.port }, 'tcp');
    const server = await bindFirst(ip, ports, openServer);
    const refuseIfOverloaded = () => {
      this.options.refuseIfOverloaded();
      traffic.requireQuota(peer);
    };
    const listener = new TcpListener(server, { peer, traffic, refuseIfOverloaded, logger });
    const bound = boundOf(server);
    if (offer.signal.aborted) {
      listener.close();
      throw new WstunError('dial-cancelled');
    }
    const lease = this.lease(offer, { peer, transport: 'tcp', ip, port: bound.port }, (fault) => listener.close(fault));
    listener.serve(offer.acceptListener(bound));
    await lease.over;
  }

  private async serveUdp(offer: OfferedStream): Promise<void> {
    const { peer } = offer;
    const { clock } = this.options;
    const { ip, ports } = this.permit(offer);
    this.replaceAway({ peer, port: offer.target.port }, 'udp');
    const association = new OpenAssociation({ clock, idleMs: undefined });
    const { flow, bound } = await bindFirst(ip, ports, async (host, port) => {
      const opened = new UdpListenerFlow(host, association, () => clock.now());
      return { flow: opened, bound: await opened.bind(port) };
    });
    try {
      if (offer.signal.aborted) throw new WstunError('dial-cancelled');
      const lease = this.lease(offer, { peer, transport: 'udp', ip, port: bound.port }, (fault) => {
        association.end(fault);
        // In this turn: the port may be another's in the next.
        void flow.close();
      });
      association.accept(offer, flow, lease.share, bound);
      await lease.over;
    } finally {
      await flow.close();
    }
  }

  /** It counts as listening until its client or its session gives it up, or a rule or a quota forbids it. */
  private lease(
    offer: OfferedStream,
    at: Pick<Open, 'peer' | 'transport' | 'ip' | 'port'>,
    close: (fault?: WireFaultName) => void,
  ): Lease {
    const { traffic, logger } = this.options;
    const { peer, transport, port } = at;
    let end: Open['end'] = () => {};
    const share = traffic.begin(peer, (fault) => end(fault));
    const over = new Promise<void>((resolve) => {
      const open: Open = {
        ...at,
        isAway: () => offer.isAway === true,
        awaySince: undefined,
        end: (fault) => {
          if (!this.open.delete(open)) return;
          close(fault);
          share.end();
          logger.debug({ peer, transport, port, fault }, 'listener closed');
          resolve();
        },
      };
      ({ end } = open);
      this.open.add(open);
    });
    offer.signal.addEventListener('abort', () => end(), { once: true });
    logger.debug({ peer, transport, port }, 'listener opened');
    this.look ??= this.lookLater();
    return { share, over };
  }

  /** Ends what a session of the same client has left at this port. */
  private replaceAway(
    { peer, port }: { readonly peer: string; readonly port: number },
    transport: Open['transport'],
  ): void {
    const latest = this.options.clock.now() - AWAY_MS;
    for (const open of [...this.open]) {
      const isSame = open.peer === peer && open.port === port && open.transport === transport;
      if (isSame && open.isAway() && (open.awaySince ?? latest + 1) <= latest) open.end('listen-in-use');
    }
  }

  private lookLater(): Timer {
    return this.options.clock.setTimeout(() => this.lookAtRules(), LOOK_MS).unref();
  }

  private lookAtRules(): void {
    const now = this.options.clock.now();
    for (const open of [...this.open]) {
      const { peer, ip, port } = open;
      open.awaySince = open.isAway() ? (open.awaySince ?? now) : undefined;
      if (!mayListen(this.options.rulesFor(peer), ip, port)) open.end('listen-not-allowed');
    }
    this.look = this.open.size === 0 ? undefined : this.lookLater();
  }

  /** Where to listen, ports in the order in which to try. @throws WstunError listen-not-allowed, listen-failed */
  private permit({ peer, target }: OfferedStream): { readonly ip: IpBytes; readonly ports: readonly number[] } {
    const rules = this.options.rulesFor(peer);
    if (rules.length === 0) throw new WstunError('listen-not-allowed', 'no rule');
    const ip = listenAddressOf(target);
    if (ip === undefined) throw new WstunError('listen-failed', 'not an address');
    const own = this.options.ownPorts();
    if (!mayListen(rules, ip, target.port)) throw new WstunError('listen-not-allowed', 'no rule for it');
    if (target.port !== 0) {
      if (own.includes(target.port)) throw new WstunError('listen-not-allowed', 'port of this exit');
      return { ip, ports: [target.port] };
    }
    const ports = shuffledPorts(allowedPorts(rules, ip), () => this.options.clock.random());
    return { ip, ports: ports.filter((port) => !own.includes(port)) };
  }
}
