/**
 * How a relay is reached, as the user chose: which certificates are accepted, which names are said, from where and to
 * where TCP goes. One value holds for every carrier: each hands it to `dialConnection`, and sends `requestFields` with
 * each of its requests. Knows nothing of options and files.
 */
import { networkInterfaces } from 'node:os';
import { formatHostPort, type HostPort } from '../../net/host-port.ts';
import { type Family, familyOf } from './address-family.ts';
import { NO_IPV4, NO_IPV6, NO_SOURCE, NO_SOURCE_FAMILY } from './relay-dial-faults.ts';
import { RelayTls } from './relay-tls.ts';
import type { Lookup } from './tcp-dial.ts';

export interface Reach {
  /** Which certificates are accepted and shown, and the sessions that were begun with them. */
  readonly tls: RelayTls;
  /** TCP goes there, whatever the URL says; TLS and HTTP keep the names of the URL. */
  readonly connectTo?: HostPort | undefined;
  /**
   * What a request has beside its own fields, such as `User-Agent`; `Host` in place of that of the URL. A function,
   * because they may be secrets.
   */
  readonly fields?: (() => Readonly<Record<string, string>>) | undefined;
  /** A local IP address, or the name of a network interface. */
  readonly source?: string | undefined;
  /** Only addresses of this family are used. */
  readonly family?: Family | undefined;
  /** Addresses of this family are tried first. */
  readonly prefer?: Family | undefined;
  /** Resolves names, of the relay and of a proxy to it. Default: the system's resolver. */
  readonly lookup?: Lookup | undefined;
  /**
   * Hears of each address, of the relay or of a proxy to it, before TCP goes there; a promise is waited for. Must not
   * throw; where its promise rejects, TCP does not go there.
   */
  readonly beforeConnect?: ((place: HostPort) => Promise<void> | undefined) | undefined;
}

let usual: Reach | undefined;

/** Without any wish. One for the process, so that TLS sessions are resumed. */
export function usualReach(): Reach {
  usual ??= { tls: new RelayTls() };
  return usual;
}

/** Header fields for every request to a relay. */
export function requestFields(reach: Reach = usualReach()): Readonly<Record<string, string>> {
  return reach.fields?.() ?? {};
}

/** Where TCP goes for a URL (ws: or wss:); the host without brackets. */
export function placeOfUrl(url: URL, { connectTo }: Pick<Reach, 'connectTo'>): HostPort {
  return connectTo ?? { host: hostOf(url), port: portOf(url) };
}

/** For faults. */
export function describePlace(url: URL, { connectTo }: Pick<Reach, 'connectTo'>): string {
  const named = `${url.hostname}:${portOf(url)}`;
  return connectTo === undefined ? named : `${named} at ${formatHostPort(connectTo)}`;
}

/** Without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'wss:' ? 443 : 80) : Number(url.port);
}

/** The local address for a connection to `address`. Undefined: the system chooses. */
export function localAddressFor(address: string, { source }: Pick<Reach, 'source'>): string | undefined {
  if (source === undefined) return undefined;
  const family = familyOf(address);
  return localAddresses(source).find((own) => familyOf(own) === family);
}

/** Why an address cannot be dialled as the user chose, as a code for `dialFault`; undefined: it can. */
export function faultOfAddress(
  address: string,
  { source, family }: Pick<Reach, 'source' | 'family'>,
): string | undefined {
  if (family !== undefined && familyOf(address) !== family) return family === 4 ? NO_IPV4 : NO_IPV6;
  if (source === undefined) return undefined;
  const own = localAddresses(source);
  if (own.length === 0) return NO_SOURCE;
  return own.some((each) => familyOf(each) === familyOf(address)) ? undefined : NO_SOURCE_FAMILY;
}

/** Those of an interface can change at any time. Link-local ones come last: they reach no further than one network. */
function localAddresses(source: string): readonly string[] {
  if (familyOf(source) !== undefined) return [source];
  const all = (networkInterfaces()[source] ?? []).map(({ address }) => address);
  const isLocal = (address: string) => /^fe[89ab]|^169\.254\./i.test(address);
  return [...all.filter((address) => !isLocal(address)), ...all.filter(isLocal)];
}
