/** The URL by which clients reach a relay: given now, given at an earlier start, or guessed from its addresses. */
import { networkInterfaces } from 'node:os';
import { MAX_RELAY_URLS } from '../crypto/invite.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';
import { parseIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';
import { readInviteSettings } from '../state/invite-settings.ts';
import { MAX_OWN_URLS } from '../state/own-urls.ts';
import { type RememberedUrl, readRelayUrl, saveRelayUrl } from '../state/relay-settings.ts';
import type { StateDir } from '../state/state-dir.ts';
import { isAnyAddress, reachableHost } from './own-address.ts';

export interface UrlWishes {
  /** Best first; empty: none was given. */
  readonly urls: readonly string[];
  readonly tls: boolean;
  /** The names in the relay's certificate, if it gets that itself. Authorities look for it at port 443. */
  readonly certified?: readonly string[] | undefined;
  /** The prefix that the gate requires. */
  readonly path: string | undefined;
}

export interface PublicUrl {
  readonly url: string;
  /** All of them, 1 to 8; the first is `url`. */
  readonly urls: readonly string[];
  readonly source: 'given' | 'remembered' | 'guessed';
  /** Why no client can come in by it, where that is certain. */
  readonly fault: string | undefined;
}

/** Remembers the URL for `wstun access add` and starts without `--url`. @throws WstunError bad-url, state-unusable */
export async function settleUrl(dir: StateDir, wishes: UrlWishes, addresses: readonly HostPort[]): Promise<PublicUrl> {
  const given = parseRelayUrls(wishes.urls);
  const before = given.length === 0 ? await readRelayUrl(dir) : undefined;
  const isKept = before !== undefined && wasGiven(before, addresses);
  const kept = isKept ? (await rememberedUrls(dir)).filter((url) => fits(url, wishes)) : [];
  const all = given.length > 0 ? given : kept;
  const [url = parseRelayUrl(guessUrl(wishes, addresses))] = all;
  const source = given.length > 0 ? 'given' : kept.length > 0 ? 'remembered' : 'guessed';
  await saveRelayUrl(dir, url, source === 'guessed' ? 'guessed' : 'given');
  const urls = all.length > 0 ? all : [url];
  const faults = urls.map((each) => faultOfUrl(each, wishes.tls, addresses));
  return { url, urls, source, fault: faults.find((fault) => fault !== undefined) };
}

/** Without those that come twice. @throws WstunError bad-url, bad-option for more than an invite holds */
export function parseRelayUrls(texts: readonly string[]): readonly string[] {
  return parseUrls(texts, '--url', MAX_RELAY_URLS);
}

/** The same of `--own-url`. */
export function parseOwnUrls(texts: readonly string[]): readonly string[] {
  return parseUrls(texts, '--own-url', MAX_OWN_URLS);
}

function parseUrls(texts: readonly string[], option: string, most: number): readonly string[] {
  const urls = [...new Set(texts.map(parseRelayUrl))];
  if (urls.length > most)
    throw new WstunError('bad-option', `${option} may be given ${most} times, and was given ${urls.length} times`);
  return urls;
}

/** The URL that was saved last, and those with it; empty: none was. @throws WstunError state-unusable */
export async function rememberedUrls(dir: StateDir): Promise<readonly string[]> {
  const first = (await readRelayUrl(dir))?.url;
  if (first === undefined) return [];
  const settings = await readInviteSettings(dir);
  // An earlier version may have written another one since.
  return [first, ...(settings?.url === first ? settings.moreUrls : [])];
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
    : `clients that use ${url} use TLS, but this relay does not: give --url ws://…, --tls-self-signed, or --tls-cert and --tls-key`;
}

export function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return port === '' ? (protocol === 'wss:' ? 443 : 80) : Number(port);
}

/** A URL of earlier leads nowhere if the certificate has other names. */
function fits(url: string, { certified }: UrlWishes): boolean {
  return certified === undefined || (new URL(url).protocol === 'wss:' && certified.includes(hostOf(url)));
}

function guessUrl({ tls, path, certified }: UrlWishes, addresses: readonly HostPort[]): string {
  if (certified?.[0] !== undefined) return `wss://${certified[0]}${path ?? ''}`;
  const { host, port } = addresses[0] ?? { host: '127.0.0.1', port: 0 };
  const reachable = formatHostPort({ host: reachableHost(host), port });
  return `${tls ? 'wss' : 'ws'}://${reachable}${path ?? ''}`;
}

function ownHosts(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

/** Without brackets. */
export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
