/** The addresses on which this machine listens, and at which others reach it. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { toldIfLong } from '../async/long-wait.ts';
import { systemClock } from '../clock.ts';

export function isAnyAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** The address of a listener at `host` for other machines: one of this machine's, if it listens on all of them. */
export function reachableHost(
  host: string,
  infos = Object.values(networkInterfaces()).flatMap((list) => list ?? []),
): string {
  if (!isAnyAddress(host)) return host;
  const outside = infos.filter(({ internal }) => !internal);
  const v4 = outside.find(({ family }) => family === 'IPv4')?.address;
  // A link-local address needs the name of an interface, which differs between machines.
  const v6 = outside.find(({ family, address }) => family === 'IPv6' && !/^fe[89ab]/i.test(address))?.address;
  return v4 ?? (host === '::' ? v6 : undefined) ?? '127.0.0.1';
}

/** The outcome of listening. That a name among the places is not resolved for long is told. */
export function whenListening<T>(places: readonly object[], listening: Promise<T>): Promise<T> {
  const names = places.flatMap((place) => ('host' in place && isIP(String(place.host)) === 0 ? [place.host] : []));
  const what = names.length === 0 ? undefined : `the name server, to listen on ${names.join(' and ')}`;
  return toldIfLong(() => what, listening, systemClock);
}
