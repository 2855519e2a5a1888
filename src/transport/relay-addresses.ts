/**
 * What is known of the addresses of relays' names, for the order in which the next dial tries them: the one that worked
 * last comes first, and those behind which there was no relay come last. Pure.
 */
import { BoundedMap } from '../limits/bounded-map.ts';
import { alternate } from '../net/connection-race.ts';

/** Names and ports remembered: an invite has at most 8 relays. The one that was heard of longest ago goes. */
const MAX_PLACES = 64;
/** Of these, addresses remembered as doubted: as many as a race tries. */
const MAX_DOUBTED = 8;

interface Known {
  worked: string | undefined;
  /** TCP stood, and then no link came of it; the latest last. */
  readonly doubted: string[];
}

export class RelayAddresses {
  private readonly places = new BoundedMap<string, Known>(MAX_PLACES);

  /**
   * The order in which to try what a name resolves to: families in turn, that of the resolver's first address first
   * (RFC 8305 §4).
   * @param place name and port
   */
  order(place: string, resolved: readonly string[]): string[] {
    const isFirstFamily = (address: string): boolean => isIpv6(address) === isIpv6(resolved[0] ?? '');
    const mixed = alternate(
      resolved.filter(isFirstFamily),
      resolved.filter((address) => !isFirstFamily(address)),
    );
    const { worked, doubted = [] } = this.places.get(place) ?? {};
    const doubtOf = (address: string): number => doubted.indexOf(address);
    const rank = (address: string): number => (address === worked ? -2 : doubtOf(address));
    return mixed.sort((a, b) => rank(a) - rank(b));
  }

  /** The address to try where the name cannot be resolved at the moment. */
  lastGood(place: string): string | undefined {
    return this.places.get(place)?.worked;
  }

  /** A link came of it. */
  handleWorked(place: string, address: string): void {
    this.places.set(place, { worked: address, doubted: this.doubtedWithout(place, address) });
  }

  /** TCP stood there, and no link came of it. */
  handleDoubted(place: string, address: string): void {
    const worked = this.lastGood(place);
    const doubted = [...this.doubtedWithout(place, address), address].slice(-MAX_DOUBTED);
    this.places.set(place, { worked: worked === address ? undefined : worked, doubted });
  }

  private doubtedWithout(place: string, address: string): string[] {
    return (this.places.get(place)?.doubted ?? []).filter((other) => other !== address);
  }
}

function isIpv6(address: string): boolean {
  return address.includes(':');
}
