/** The URL by which clients reach a relay: given now, given at an earlier start, or guessed from its addresses. */
import { networkInterfaces } from 'node:os';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import { type RememberedUrl, readRelayUrl, saveRelayUrl } from '../state/relay-settings.ts';
import type { StateDir } from '../state/state-dir.ts';
import { isAnyAddress, reachableHost } from './own-address.ts';

export interface UrlWishes {
  readonly url?: string | undefined;
  readonly tls: boolean;
  /** The prefix that the gate requires. */
  readonly path: string | undefined;
}

export interface PublicUrl {
  readonly url: string;
  readonly source: 'given' | 'remembered' | 'guessed';
  /** Why no client can come in by it, where that is certain. */
  readonly fault: string | undefined;
}

/** Remembers the URL for `wstun access add` and starts without `--url`. @throws WstunError bad-url, state-unusable */
export async function settleUrl(dir: StateDir, wishes: UrlWishes, addresses: readonly HostPort[]): Promise<PublicUrl> {
  const before = wishes.url === undefined ? await readRelayUrl(dir) : undefined;
  const kept = before !== undefined && wasGiven(before, addresses) ? before.url : undefined;
  const url = parseRelayUrl(wishes.url ?? kept ?? guessUrl(wishes, addresses));
  const source = wishes.url !== undefined ? 'given' : kept !== undefined ? 'remembered' : 'guessed';
  await saveRelayUrl(dir, url, source === 'guessed' ? 'guessed' : 'given');
  return { url, source, fault: faultOfUrl(url, wishes.tls, addresses) };
}

/** If the file does not say: a guess is always an address of the machine, or one that the relay listens on. */
export function wasGiven({ url, source }: RememberedUrl, addresses: readonly HostPort[], own = ownHosts()): boolean {
  if (source !== 'unknown') return source === 'given';
  const host = hostOf(url);
  const ip = parseIp(host);
  if (ip === undefined) return host !== 'localhost' && !addresses.some((address) => address.host === host);
  // A private address may be a guess from a time when the machine had it. A public one is that of a router.
  return specialRange(ip) === undefined && !own.includes(host);
}

/** Why no client can use that URL, if certain: it leads to a port of this relay, but to the wrong protocol. */
export function faultOfUrl(
  url: string,
  tls: boolean,
  addresses: readonly HostPort[],
  own: readonly string[] = ownHosts(),
): string | undefined {
  const { protocol } = new URL(url);
  const host = hostOf(url);
  const isAt = (each: HostPort) => each.port === portOf(url) && (isAnyAddress(each.host) || each.host === host);
  const isHere = own.includes(host) && addresses.some(isAt);
  if (!isHere || (protocol === 'wss:') === tls) return undefined;
  return tls
    ? `clients that use ${url} do not use TLS, but this relay does: give --url wss://…`
    : `clients that use ${url} use TLS, but this relay does not: give --url ws://…, or --tls-cert and --tls-key`;
}

export function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return port === '' ? (protocol === 'wss:' ? 443 : 80) : Number(port);
}

function guessUrl({ tls, path }: UrlWishes, addresses: readonly HostPort[]): string {
  const { host, port } = addresses[0] ?? { host: '127.0.0.1', port: 0 };
  const reachable = formatHostPort({ host: reachableHost(host), port });
  return `${tls ? 'wss' : 'ws'}://${reachable}${path ?? ''}`;
}

function ownHosts(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
