/** In which order the next dial tries a relay's addresses: what worked last first, what failed last. Pure. */
import { BoundedMap } from '../../limits/bounded-map.ts';
import { alternate } from '../../net/connection-race.ts';

/** Names and ports remembered: an invite has at most 8 relays. The one that was used longest ago is forgotten. */
const MAX_PLACES = 64;
/** Addresses of one place remembered as failed: as many as a race tries. */
const MAX_FAILED = 8;

interface Known {
  worked: string | undefined;
  /** TCP connected, and no link was established; the latest last. */
  readonly failed: string[];
}

export class RelayAddresses {
  private readonly places = new BoundedMap<string, Known>(MAX_PLACES);

  /** What a name resolves to, families in turn, that of the resolver's first address first (RFC 8305 §4). */
  order(place: string, resolved: readonly string[]): string[] {
    const isFirstFamily = (address: string): boolean => isIpv6(address) === isIpv6(resolved[0] ?? '');
    const mixed = alternate(
      resolved.filter(isFirstFamily),
      resolved.filter((address) => !isFirstFamily(address)),
    );
    const { worked, failed = [] } = this.places.get(place) ?? {};
    const failureOf = (address: string): number => failed.indexOf(address);
    const rank = (address: string): number => (address === worked ? -2 : failureOf(address));
    return mixed.sort((a, b) => rank(a) - rank(b));
  }

  /** The address to try while the name cannot be resolved. */
  lastGood(place: string): string | undefined {
    return this.places.get(place)?.worked;
  }

  /** A link was established. */
  handleWorked(place: string, address: string): void {
    this.places.set(place, { worked: address, failed: this.failedWithout(place, address) });
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

function isIpv6(address: string): boolean {
  return address.includes(':');
}
