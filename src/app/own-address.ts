/** The address at which other machines reach this one. */
import { networkInterfaces } from 'node:os';

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
