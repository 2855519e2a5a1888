/** Where a client has connected to reach its relay: what leads there must never be led into the client's own tunnel. */
import { BoundedMap } from '../../limits/bounded-map.ts';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { formatIp, type IpBytes, parseIp, unmapIp } from '../../net/ip.ts';

/** An invite has at most 8 relays; a name may have many addresses, and they change. */
const MAX_PLACES = 256;

export class DialledPlaces {
  private readonly places = new BoundedMap<string, true>(MAX_PLACES);

  /** @param place whose host is an IP address */
  note({ host, port }: HostPort): void {
    const ip = parseIp(host);
    if (ip !== undefined) this.places.set(keyOf(ip, port), true);
  }

  has({ ip, port }: { readonly ip: IpBytes; readonly port: number }): boolean {
    return this.places.has(keyOf(ip, port));
  }
}

function keyOf(ip: IpBytes, port: number): string {
  return formatHostPort({ host: formatIp(unmapIp(ip)), port });
}
