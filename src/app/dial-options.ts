/** How a relay or an exit finds the addresses of targets, and those of its own that no client may reach through it. */
import { systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Dial } from '../exit/dialer.ts';
import { PublicAddresses } from '../exit/public-addresses.ts';
import { createResolver, type Resolver } from '../exit/resolver.ts';
import { createViaDialer } from '../exit/via-dialer.ts';
import { type IpBytes, parseIp } from '../net/ip.ts';
import type { Logger } from '../observability/logger.ts';
import { createVia } from '../transport/proxy/proxy-choice.ts';

export interface DialOptions {
  /** Name servers, IP addresses. Default: the system's. */
  readonly dns?: readonly string[];
  /** Names and the IP address of each, which is asked of no name server. Default: none. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** The URL of a proxy (http, socks4, socks4a, socks5, socks5h) through which targets are dialled. Default: none. */
  readonly via?: string;
  /** Under which IP addresses this machine is reached from outside. Default: what it learns. Empty: none. */
  readonly publicAddresses?: readonly string[];
}

export interface Dialling {
  readonly resolver: Resolver;
  readonly publicAddresses: PublicAddresses;
  /** Undefined: directly. */
  readonly dial: Dial | undefined;
  /** Not through a proxy. */
  readonly isDirect: boolean;
}

/** @throws WstunError bad-option, bad-proxy */
export function diallingOf({ dns, hosts = {}, publicAddresses, via }: DialOptions, logger: Logger): Dialling {
  const servers = dns ? { servers: dns } : {};
  const asked = createResolver(servers);
  // The hosts file often has a machine's own name as 127.0.1.1: the name servers are asked for it all the same.
  const resolvers = [asked, createResolver({ ...servers, hostsFile: '' })];
  const given = publicAddresses?.map(ipOf);
  const dial = via === undefined ? undefined : dialVia(via, logger);
  return {
    resolver: withHosts(asked, hosts),
    publicAddresses: new PublicAddresses({ given, resolvers, logger }),
    dial,
    isDirect: dial === undefined,
  };
}

function dialVia(text: string, logger: Logger): Dial {
  const via = createVia(text, '--via');
  const options = { clock: systemClock, reach: {}, allowHalfOpen: true };
  return createViaDialer((target, signal) => via.connect(target, { ...options, signal }), via.name, logger);
}

function withHosts(resolver: Resolver, hosts: Readonly<Record<string, string>>): Resolver {
  const known = new Map(Object.entries(hosts).map(([name, address]) => [name.toLowerCase(), ipOf(address)]));
  return {
    localAddresses: (name) => {
      const address = known.get(name);
      return address === undefined ? resolver.localAddresses?.(name) : [address];
    },
    nameServers: () => resolver.nameServers?.() ?? [],
    fullNamesOf: (name) => (known.has(name) ? [name] : resolver.fullNamesOf(name)),
    resolve: (names, signal) => {
      const [name = ''] = names;
      const address = known.get(name);
      return address === undefined ? resolver.resolve(names, signal) : Promise.resolve({ name, addresses: [address] });
    },
  };
}

function ipOf(text: string): IpBytes {
  const ip = parseIp(text);
  if (ip === undefined) throw new WstunError('bad-option', `${JSON.stringify(text)} is not an IP address`);
  return ip;
}
