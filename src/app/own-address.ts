/** Which of its addresses this machine is reached at. */
import { networkInterfaces } from 'node:os';

export function isAnyAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Where others find what listens at `host`: one of the machine's addresses in place of "all of them". */
export function reachableHost(
  host: string,
  infos = Object.values(networkInterfaces()).flatMap((list) => list ?? []),
): string {
  if (!isAnyAddress(host)) return host;
  const outside = infos.filter(({ internal }) => !internal);
  const v4 = outside.find(({ family }) => family === 'IPv4')?.address;
  // A link-local address is good with the name of an interface alone, which differs on every machine.
  const v6 = outside.find(({ family, address }) => family === 'IPv6' && !/^fe[89ab]/i.test(address))?.address;
  return v4 ?? (host === '::' ? v6 : undefined) ?? '127.0.0.1';
}
