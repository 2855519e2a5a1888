/** What a relay and a named exit are told on the command line about dialling, and what is made of it. */

import { PublicAddresses } from '../exit/public-addresses.ts';
import { createResolver, type Resolver } from '../exit/resolver.ts';
import { parseIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';

export interface DialOptions {
  /** Name servers instead of the system's. */
  readonly dns?: readonly string[];
  /** Of this machine, instead of those that are learnt: IP addresses, or `none`. */
  readonly publicAddress?: readonly string[];
  /** Instead of one that asks name servers. */
  readonly resolver?: Resolver;
}

interface Dialling {
  readonly resolver: Resolver;
  readonly publicAddresses: PublicAddresses;
}

/** @throws WstunError bad-option */
export function diallingOf({ dns, publicAddress, resolver }: DialOptions, logger: Logger): Dialling {
  const servers = dns ? { servers: dns } : {};
  const asked = resolver ?? createResolver(servers);
  // The hosts file often has a machine's own name as 127.0.1.1: the name servers are asked for it all the same.
  const resolvers = [asked, createResolver({ ...servers, hostsFile: '' })];
  const given = publicAddress?.flatMap((text) => parseIp(text) ?? []);
  return { resolver: asked, publicAddresses: new PublicAddresses({ given, resolvers, logger }) };
}
