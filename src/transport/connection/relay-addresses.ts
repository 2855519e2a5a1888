/**
 * In which order the next dial tries a relay's addresses: what worked last first, what failed last. Where a name server
 * lies, as those of captive portals do, the address that worked last is tried beside what it says. Pure.
 */
import { BoundedMap } from '../../limits/bounded-map.ts';
import { alternate } from '../../net/connection-race.ts';
import { parseIp } from '../../net/ip.ts';
import { specialRange } from '../../net/special-ranges.ts';

/** Names and ports remembered: an invite has at most 8 relays. The one that was used longest ago is forgotten. */
const MAX_PLACES = 64;
/** Addresses of one place remembered as failed: as many as a race tries. */
const MAX_FAILED = 8;

interface Known {
  worked: string | undefined;
  /** TCP connected, and no link was established; the latest last. */
  readonly failed: string[];
}

/** What outlives the process. */
export interface KeptAddresses {
  /** The one that worked last. */
  addressOf(place: string): string | undefined;
  noteAddress(place: string, address: string): void;
}

export class RelayAddresses {
  private readonly places = new BoundedMap<string, Known>(MAX_PLACES);

  constructor(private readonly kept?: KeptAddresses) {}

  /** What a name resolves to, families in turn, that of the resolver's first address first (RFC 8305 §4). */
  order(place: string, resolved: readonly string[]): string[] {
    const isFirstFamily = (address: string): boolean => isIpv6(address) === isIpv6(resolved[0] ?? '');
    const mixed = alternate(
      resolved.filter(isFirstFamily),
      resolved.filter((address) => !isFirstFamily(address)),
    );
    const worked = this.lastGood(place);
    const { failed = [] } = this.places.get(place) ?? {};
    const isListed = worked === undefined || resolved.includes(worked);
    const workedRank = isListed || areSuspicious(resolved, worked) ? FIRST : AFTER_UNTRIED;
    const rank = (address: string): number => (address === worked ? workedRank : failed.indexOf(address));
    return (isListed ? mixed : [...mixed, worked]).sort((a, b) => rank(a) - rank(b));
  }

  /** The address to try while the name cannot be resolved. */
  lastGood(place: string): string | undefined {
    const known = this.places.get(place);
    if (known?.worked !== undefined) return known.worked;
    const kept = this.kept?.addressOf(place);
    return kept === undefined || known?.failed.includes(kept) ? undefined : kept;
  }

  /** A link was established. */
  handleWorked(place: string, address: string): void {
    this.places.set(place, { worked: address, failed: this.failedWithout(place, address) });
    this.kept?.noteAddress(place, address);
  }

  /** TCP connected there, and no link was established. */
  handleFailed(place: string, address: string): void {
    const worked = this.lastGood(place);
    const failed = [...this.failedWithout(place, address), address].slice(-MAX_FAILED);
    this.places.set(place, { worked: worked === address ? undefined : worked, failed });
  }

  private failedWithout(place: string, address: string): string[] {
    return (this.places.get(place)?.failed ?? []).filter((other) => other !== address);
  }
}

/** Addresses that failed have ranks from 0, those that were not tried -1. */
const FIRST = -2;
const AFTER_UNTRIED = -0.5;

/** Only addresses of local networks in the place of a public one: the name server may lie. */
function areSuspicious(resolved: readonly string[], worked: string): boolean {
  return !isSpecial(worked) && resolved.every(isSpecial);
}

function isSpecial(address: string): boolean {
  const ip = parseIp(address);
  return ip === undefined || specialRange(ip) !== undefined;
}

function isIpv6(address: string): boolean {
  return address.includes(':');
}
