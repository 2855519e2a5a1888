/**
 * From the target of an offer to addresses that may be dialled: the policy decides, the resolver is asked once, in a
 * slot of the peer's, and every answer is checked.
 */
import { WstunError } from '../errors.ts';
import type { IpBytes } from '../net/ip.ts';
import type { Target } from '../tunnel/stream/stream.ts';
import { destinationOfName } from './destinations.ts';
import { type DialSlots, type WaitBudget, withSlot } from './dial-slots.ts';
import {
  checkAddresses,
  checkTarget,
  type OwnEndpoints,
  type ResolveDecision,
  type TargetContext,
  type Transport,
} from './policy.ts';
import type { Resolver } from './resolver.ts';
import type { Rule } from './rules.ts';

export interface FinderOptions {
  readonly resolver: Resolver;
  /** The current rules of an access entry: asked each time. */
  readonly rulesFor: (peer: string) => readonly Rule[];
  /** Asked each time. */
  readonly ownEndpoints: (transport: Transport) => OwnEndpoints;
  readonly lookUps: DialSlots;
}

interface Want {
  readonly peer: string;
  readonly target: Target;
  readonly signal: AbortSignal;
  readonly waitBudget: WaitBudget;
}

export class TargetFinder {
  constructor(private readonly options: FinderOptions) {}

  /** The decision about a target, without a look-up. */
  check(peer: string, target: Target, transport: Transport): ReturnType<typeof checkTarget> {
    return checkTarget(target, this.contextOf(peer, transport));
  }

  /** Whether an address that a name had may still be dialled for it, by the current rules. */
  isStillAllowed(peer: string, target: Target, ip: IpBytes, transport: Transport): boolean {
    const context = this.contextOf(peer, transport);
    const decision = checkTarget(target, context);
    if (decision.kind !== 'resolve') return false;
    const vouched = decision.names.some((full) => full.vouched);
    return checkAddresses([ip], target.port, { ...context, vouched }).kind === 'dial';
  }

  /** At least one address. Rejects with the WstunError that the peer is told. */
  async find(want: Want, transport: Transport): Promise<readonly IpBytes[]> {
    const context = this.contextOf(want.peer, transport);
    const decision = checkTarget(want.target, context);
    if (decision.kind === 'refuse') throw new WstunError(decision.fault, decision.reason);
    return decision.kind === 'dial' ? decision.addresses : await this.resolve(want, decision, context);
  }

  private contextOf(peer: string, transport: Transport): TargetContext {
    const { resolver, rulesFor, ownEndpoints } = this.options;
    return {
      transport,
      rules: rulesFor(peer),
      own: ownEndpoints(transport),
      fullNamesOf: (name) => resolver.fullNamesOf(name),
    };
  }

  private async resolve(
    { peer, target, signal, waitBudget }: Want,
    { names, ifUnknown }: ResolveDecision,
    context: TargetContext,
  ): Promise<readonly IpBytes[]> {
    const asked = names.map(({ name }) => name);
    const destinations = asked.slice(0, 1).map(destinationOfName);
    const look = (within: AbortSignal) => this.options.resolver.resolve(asked, within);
    const resolved = withSlot(this.options.lookUps, { peer, destinations, signal, waitBudget }, look);
    const { name, addresses } = await resolved.catch((error: unknown) => {
      const isUnknown = error instanceof WstunError && error.fault === 'dial-name-unknown';
      throw isUnknown && ifUnknown ? new WstunError(ifUnknown.fault, ifUnknown.reason) : error;
    });
    const vouched = names.some((full) => full.name === name && full.vouched);
    const decision = checkAddresses(addresses, target.port, { ...context, vouched });
    if (decision.kind === 'refuse') throw new WstunError(decision.fault, decision.reason);
    return decision.addresses;
  }
}
