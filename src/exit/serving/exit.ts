/**
 * The exit: takes the streams that a session offers, and hands each to what serves it: TCP, UDP, the resolver, a
 * listener. Only policy.ts and the rules decide what may be reached.
 *
 * An offer counts in its session until no look-up, dial or socket of it is left here: a peer that opens and resets in a
 * loop gains nothing (CVE-2023-44487, "rapid reset").
 */
import { type Clock, systemClock } from '../../clock.ts';
import { FAULTS, type FaultName, type WireFaultName, WstunError } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { OfferedStream, StreamAcceptor } from '../../tunnel/stream/stream.ts';
import { DEFAULT_DIAL_SLOT_LIMITS, type DialSlotLimits, DialSlots } from '../dial-slots.ts';
import { createDialer, type Dial } from '../dialer.ts';
import { Answerer } from '../dns/answerer.ts';
import { Forwarder } from '../dns/forwarder.ts';
import { parseNameServer } from '../dns/name-servers.ts';
import { ResolverStreams } from '../dns/resolver-streams.ts';
import type { ListenRule } from '../listen/listen-rules.ts';
import { Listeners } from '../listen/listeners.ts';
import type { OwnEndpoints } from '../policy.ts';
import type { Resolver } from '../resolver.ts';
import type { Rule } from '../rules.ts';
import { StreamCounts } from '../stream-counts.ts';
import { dialFaultOf } from '../target-dial-faults.ts';
import { TargetFinder } from '../target-finder.ts';
import { Traffic, type TrafficOptions } from '../traffic.ts';
import { Associations } from '../udp/associations.ts';
import type { PlaceLimits } from '../udp/places.ts';
import { TcpStreams } from './tcp-streams.ts';

export interface ExitOptions extends TrafficOptions {
  readonly resolver: Resolver;
  /** The current rules of an access entry: asked at every offer. */
  readonly rulesFor: (peer: string) => readonly Rule[];
  /** Asked at every offer. */
  readonly ownEndpoints: () => OwnEndpoints;
  readonly logger: Logger;
  readonly limits?: Partial<DialSlotLimits>;
  /** True while no new stream may begin. */
  readonly isOverloaded?: () => boolean;
  /** Default: directly. */
  readonly dial?: Dial;
  /** False while targets are dialled through a proxy: UDP would go past it. Default: always true. */
  readonly mayUseUdp?: () => boolean;
  readonly associations?: PlaceLimits;
  /** Where an access entry may listen, currently. Default: nowhere. */
  readonly listenRulesFor?: (peer: string) => readonly ListenRule[];
  /** For tests. */
  readonly clock?: Clock;
}

interface ExitCounters {
  /** Offers that are being resolved or dialled now. */
  readonly pending: number;
  /** Streams, associations and listeners that are open now. */
  readonly open: number;
  /** Since the start. */
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
}

export class Exit implements StreamAcceptor {
  private readonly lookUps: DialSlots;
  private readonly traffic: Traffic;
  private readonly streams: TcpStreams;
  private readonly associations: Associations;
  private readonly listeners: Listeners;
  private readonly resolvers: ResolverStreams;
  private readonly counts: StreamCounts;

  constructor(private readonly options: ExitOptions) {
    const { resolver, rulesFor, ownEndpoints, logger, dial = createDialer() } = options;
    const limits = { ...DEFAULT_DIAL_SLOT_LIMITS, ...options.limits };
    this.lookUps = new DialSlots(limits);
    const { counts = new StreamCounts() } = options;
    this.counts = counts;
    this.traffic = new Traffic({ ...options, counts });
    const finder = new TargetFinder({
      ...{ resolver, rulesFor, lookUps: this.lookUps },
      ownEndpoints: (transport) =>
        transport === 'tcp' ? ownEndpoints() : { ...ownEndpoints(), ports: this.listeners.udpPorts },
    });
    const refuseIfOverloaded = () => this.refuseIfOverloaded();
    const clock = options.clock ?? systemClock;
    const shared = { finder, traffic: this.traffic, refuseIfOverloaded, logger };
    this.streams = new TcpStreams({ ...shared, limits, dial, dialTimes: counts.dialTimes });
    counts.pending = () => this.counters().pending;
    this.associations = new Associations({
      ...shared,
      waitMs: limits.waitMs,
      places: options.associations,
      clock,
    });
    this.resolvers = new ResolverStreams({
      ...{ traffic: this.traffic, rulesFor, logger },
      answerer: new Answerer({
        forwarder: new Forwarder(() => (resolver.nameServers?.() ?? []).map(parseNameServer)),
        localAddresses: (name) => resolver.localAddresses?.(name),
      }),
      isOverloaded: () => options.isOverloaded?.() ?? false,
    });
    this.listeners = new Listeners({
      ...{ traffic: this.traffic, refuseIfOverloaded, logger, clock },
      rulesFor: options.listenRulesFor ?? (() => []),
      ownPorts: () => ownEndpoints().ports,
    });
  }

  handleOffer(offer: OfferedStream): void {
    void this.serve(offer);
  }

  counters(): ExitCounters {
    return {
      pending: this.lookUps.taken + this.streams.pending,
      open: this.traffic.open,
      accepted: this.traffic.opened,
      refused: this.counts.refused.counts,
    };
  }

  private async serve(offer: OfferedStream): Promise<void> {
    await this.dispatch(offer).catch((error: unknown) => this.refuse(offer, error));
    offer.release();
  }

  /** Until nothing of it is left. Rejects, before it is accepted, with the fault that the peer is told. */
  private async dispatch(offer: OfferedStream): Promise<void> {
    this.refuseIfOverloaded();
    this.traffic.requireQuota(offer.peer);
    switch (offer.service) {
      case 'tcp':
        return await this.streams.serve(offer);
      case 'udp':
        if (this.options.mayUseUdp?.() === false) throw new WstunError('dial-not-allowed', 'no UDP through a proxy');
        return await this.associations.serve(offer);
      case 'resolver':
        return await this.resolvers.serve(offer);
      case 'tcp-listener':
      case 'udp-listener':
        return await this.listeners.serve(offer);
      case 'accepted':
        throw new WstunError('dial-bad-target', 'no such service');
    }
  }

  private refuseIfOverloaded(): void {
    if (this.options.isOverloaded?.()) throw new WstunError('dial-busy', 'it is short of memory or file descriptors');
  }

  private refuse(offer: OfferedStream, error: unknown): void {
    const { peer, service, target } = offer;
    const fault = wireFaultOf(error);
    // An internal error may name the destination: it is only for `debug`.
    if (fault === 'internal')
      this.options.logger.error({ peer }, 'a stream failed with an internal error; see the debug log');
    const detail = error instanceof WstunError ? error.detail : String(error);
    this.options.logger.debug({ peer, service, target, fault, detail }, 'stream refused');
    this.counts.refused.note(fault);
    offer.refuse(fault);
  }
}

/** A resource that the system denies this process is `dial-busy` (docs/errors.md), not an internal error. */
function wireFaultOf(error: unknown): WireFaultName {
  if (error instanceof WstunError && isWireFault(error.fault)) return error.fault;
  return dialFaultOf(error) === 'dial-busy' ? 'dial-busy' : 'internal';
}

function isWireFault(name: FaultName): name is WireFaultName {
  return 'wire' in FAULTS[name];
}
