/**
 * Associations (docs/protocol.md §7.1): takes the offers, and gives each a place, a flow with its sockets, and an end.
 * Where datagrams may go is decided by target-finder.ts.
 */
import { setMaxListeners } from 'node:events';
import type { Clock } from '../../clock.ts';
import { WstunError } from '../../errors.ts';
import { type IpBytes, sameIp } from '../../net/ip.ts';
import type { Logger } from '../../observability/logger.ts';
import type { OfferedStream, Target } from '../../tunnel/stream/stream.ts';
import { WaitBudget } from '../dial-slots.ts';
import type { TargetFinder } from '../target-finder.ts';
import type { Traffic } from '../traffic.ts';
import { ConnectedFlow } from './connected-flow.ts';
import { EntryShares } from './entry-share.ts';
import { type Flow, OpenAssociation } from './open-association.ts';
import { OpenFlow } from './open-flow.ts';
import { type PlaceLimits, Places } from './places.ts';
import { firstWithRoute } from './route-check.ts';

/** Faults of a look-up that say nothing about the name. */
const PASSES: ReadonlySet<string> = new Set(['dial-name-failed', 'dial-busy']);

interface AssociationsOptions {
  readonly finder: TargetFinder;
  readonly traffic: Traffic;
  /** @throws WstunError dial-busy */
  readonly refuseIfOverloaded: () => void;
  readonly logger: Logger;
  /** How long a look-up waits for its turn, ms. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly places?: PlaceLimits | undefined;
}

export class Associations {
  private readonly places: Places;
  private readonly shares = new EntryShares();
  private readonly clock: Clock;

  constructor(private readonly options: AssociationsOptions) {
    this.places = new Places(options.places);
    this.clock = options.clock;
  }

  /** Until nothing of it is left. Rejects, before it is accepted, with the fault that the peer is told. */
  async serve(offer: OfferedStream): Promise<void> {
    const association = new OpenAssociation({ clock: this.clock });
    if (!this.places.enter(offer.peer, association, this.clock.now()))
      throw new WstunError('dial-busy', 'too many associations');
    // Each name that is looked up has a listener on it.
    setMaxListeners(0, offer.signal);
    let flow: Flow | undefined;
    try {
      flow = await this.openFlow(offer, association);
      if (association.isOver) throw new WstunError('dial-busy', 'it made room for another association');
      if (offer.signal.aborted) throw new WstunError('dial-cancelled');
      await this.run(offer, association, flow);
    } finally {
      this.places.leave(offer.peer, association);
      await flow?.close();
      if (flow instanceof OpenFlow) this.shares.release(offer.peer);
    }
  }

  private async run(offer: OfferedStream, association: OpenAssociation, flow: Flow): Promise<void> {
    const { traffic, logger } = this.options;
    const { peer, target } = offer;
    const share = traffic.begin(peer, (fault) => association.end(fault));
    logger.debug({ peer, target }, 'association opened');
    association.accept(offer, flow, share);
    if (offer.signal.aborted) association.end();
    offer.signal.addEventListener('abort', () => association.end(), { once: true });
    const why = await association.over;
    share.end();
    logger.debug({ peer, target, why }, 'association closed');
  }

  private async openFlow(offer: OfferedStream, association: OpenAssociation): Promise<Flow> {
    const { target } = offer;
    if (target.port === 0) {
      return new OpenFlow({
        association,
        decide: (to, before) => this.decide(offer, to, before),
        mayOpenSocket: () => this.mayOpenSocket(),
        now: () => this.clock.now(),
        share: this.shares.hold(offer.peer),
      });
    }
    const addresses = await this.find(offer, target);
    this.options.refuseIfOverloaded();
    return await ConnectedFlow.open(addresses, target.port, association);
  }

  private mayOpenSocket(): boolean {
    try {
      this.options.refuseIfOverloaded();
      return true;
    } catch {
      return false;
    }
  }

  private find({ peer, signal }: OfferedStream, target: Target): Promise<readonly IpBytes[]> {
    const waitBudget = new WaitBudget(this.options.waitMs);
    return this.options.finder.find({ peer, target, signal, waitBudget }, 'udp');
  }

  private decide(
    offer: OfferedStream,
    target: Target,
    before: IpBytes | undefined,
  ): IpBytes | undefined | Promise<IpBytes | undefined> {
    const decision = this.options.finder.check(offer.peer, target, 'udp');
    switch (decision.kind) {
      case 'dial':
        return decision.addresses[0];
      case 'refuse':
        return this.drop(offer, target, decision.fault);
      case 'resolve':
        return this.lookUp(offer, target, before);
    }
  }

  /** Prefers the address of before: the answers of name servers change their order. */
  private async lookUp(
    offer: OfferedStream,
    target: Target,
    before: IpBytes | undefined,
  ): Promise<IpBytes | undefined> {
    try {
      const addresses = await this.find(offer, target);
      const isSame = (ip: IpBytes) => before !== undefined && sameIp(ip, before);
      return addresses.find(isSame) ?? (await firstWithRoute(addresses, target.port));
    } catch (error) {
      const fault = error instanceof WstunError ? error.fault : String(error);
      // Without a name server, what works goes on as far as the rules of now allow: a look-up may fail on purpose.
      const goesOn = before !== undefined && PASSES.has(fault) && this.isStillAllowed(offer, target, before);
      return goesOn ? before : this.drop(offer, target, fault);
    }
  }

  private isStillAllowed({ peer }: OfferedStream, target: Target, ip: IpBytes): boolean {
    return this.options.finder.isStillAllowed(peer, target, ip, 'udp');
  }

  private drop({ peer }: OfferedStream, target: Target, fault: string): undefined {
    this.options.logger.debug({ peer, target, fault }, 'datagrams dropped');
  }
}
