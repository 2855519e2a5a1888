/**
 * Which original destinations a transparent proxy must not open: they would lead back to it, and each connection would
 * make another without end. Pure.
 */
import { type IpBytes, unmapIp } from '../net/ip.ts';
import { isUnspecified } from '../net/special-ranges.ts';
import type { Place } from './socket-address.ts';

export interface LoopCheck {
  /** Of the transparent listener. */
  readonly port: number;
  /** Whether the machine itself has this address. */
  isOwnAddress(ip: IpBytes): boolean;
  /** Whether the client has connected there to reach its relay. */
  isRelay(place: Place): boolean;
}

/** Why it must not be opened, as a part of a log line; undefined: it may. */
export function loopReason({ ip, port }: Place, check: LoopCheck): string | undefined {
  const place = { ip: unmapIp(ip), port };
  if (isUnspecified(place.ip)) return 'it has no destination';
  if (check.isRelay(place)) return 'it goes to the relay, which must be reached around the tunnel';
  if (port === check.port && check.isOwnAddress(place.ip)) return 'no rule of the firewall has led it here';
  return undefined;
}
