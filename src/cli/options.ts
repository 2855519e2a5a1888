/** Reads the values of options that several commands share; each fault names the option's form. */
import { availableParallelism } from 'node:os';
import { WstunError } from '../errors.ts';
import type { HostPort } from '../net/host-port.ts';
import { parseIp, parseIpv6 } from '../net/ip.ts';

/** `HOST:PORT`, IPv6 in brackets. */
export function parseHostPort(text: string): HostPort {
  const place = readHostPort(text);
  if (place === undefined) throw new WstunError('bad-address', text);
  return place;
}

function readHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (!match || host === undefined || port > 65_535 || (match[1] !== undefined && parseIpv6(host) === undefined))
    return undefined;
  return { host, port };
}

/** `PORT`, `HOST:PORT`; the host is an IP address. */
export function parseTransparent(text: string): { readonly host?: string; readonly port: number } {
  const place = /^\d{1,5}$/.test(text) ? { port: Number(text) } : readHostPort(text);
  if (place !== undefined && place.port >= 1 && place.port <= 65_535) return place;
  throw new WstunError('bad-address', text, { fix: 'Write PORT, from 1 to 65535, or ADDRESS:PORT: 7893.' });
}

/** `--tether` takes the next word as its address. That word may be the invite, or the first one of a pasted line. */
export function parseTether(
  invite: string | undefined,
  tether: string | true | undefined,
): { readonly invite: string | undefined; readonly tether: HostPort | true | undefined } {
  if (typeof tether !== 'string') return { invite, tether };
  if (invite?.includes('wstun1_') !== true && tether.includes('wstun1_'))
    return { invite: [tether, invite ?? ''].join(' ').trim(), tether: true };
  if (invite !== undefined && tether === 'wstun') return { invite, tether: true };
  return { invite, tether: parseHostPort(tether) };
}

/** The same for `--via-browser`, whose value is a program. */
export function parseViaBrowser(
  invite: string | undefined,
  browser: string | true | undefined,
): { readonly invite: string | undefined; readonly viaBrowser: string | true | undefined } {
  if (typeof browser !== 'string') return { invite, viaBrowser: browser };
  if (browser === '') throw new WstunError('bad-option', '--via-browser needs a program, or no value');
  if (invite?.includes('wstun1_') !== true && browser.includes('wstun1_'))
    return { invite: [browser, invite ?? ''].join(' ').trim(), viaBrowser: true };
  if (invite !== undefined && browser === 'wstun') return { invite, viaBrowser: true };
  return { invite, viaBrowser: browser };
}

/** An empty shell variable must not mean the working directory. */
export function parseStateDir(text: string): string {
  if (text === '') throw new WstunError('bad-option', '--state needs the path of a directory');
  return text;
}

export function parseCount(text: string): number {
  if (!/^\d{1,6}$|^1000000$/.test(text))
    throw new WstunError('bad-option', '--max-pending-per-address needs a whole number from 0 to 1000000');
  return Number(text);
}

export function parseReplicas(text: string): number {
  if (!/^[1-5]$/.test(text)) throw new WstunError('bad-option', '--cluster-replicas needs a number from 1 to 5');
  return Number(text);
}

/** An IP address without brackets, or `none`. */
export function parsePublicAddress(text: string): string {
  const address = text.replace(/^\[(.*)\]$/, '$1');
  if (address !== 'none' && parseIp(address) === undefined)
    throw new WstunError('bad-option', '--public-address needs an IPv4 or IPv6 address, or none');
  return address;
}

/** Id and key of an account at a certificate authority: the key has no colon. It is a secret, and not repeated. */
export function parseExternalAccount(text: string): { readonly id: string; readonly key: string } {
  const [, id, key] = /^(.+):([\w+/-]+={0,2})$/.exec(text) ?? [];
  if (id === undefined || key === undefined)
    throw new WstunError('bad-option', '--acme-eab needs ID:KEY, the key in base64url');
  return { id, key };
}

/** Seconds, 0 to a day; returned in milliseconds. */
export function parseResumeWindow(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 86_400)
    throw new WstunError('bad-option', '--resume-window needs whole seconds from 0 to 86400');
  return Number(text) * 1000;
}

/** How many links carry a session. */
export function parseLinks(text: string): 'auto' | number {
  if (text === 'auto') return text;
  if (!/^[1-8]$/.test(text)) throw new WstunError('bad-option', '--links needs auto, or a whole number from 1 to 8');
  return Number(text);
}

/** Bytes, with KB or MB after them (powers of 1,000). */
export function parseLinkBytes(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,10})([km]b?)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * ({ k: 1_000, m: 1_000_000 }[unit.charAt(0).toLowerCase()] ?? 1);
  if (!(bytes >= 4096 && bytes <= 2 ** 31))
    throw new WstunError('bad-option', '--link-max-bytes needs bytes from 4096 to 2147483648, such as 16KB or 10MB');
  return bytes;
}

/** Seconds; returned in milliseconds. */
export function parseLinkAge(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) < 2 || Number(text) > 86_400)
    throw new WstunError('bad-option', '--link-max-age needs whole seconds from 2 to 86400');
  return Number(text) * 1000;
}

/** What `collect` has made. */
const collectors = new WeakSet<object>();

export function collect<T>(parse: (text: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  const collector = (text: string, before: readonly T[] | undefined) => [...(before ?? []), parse(text)];
  collectors.add(collector);
  return collector;
}

/** Whether an option with that parser may be repeated. */
export function isCollector(parse: object | undefined): boolean {
  return parse !== undefined && collectors.has(parse);
}

/** More would only cost memory. */
const MAX_WORKERS = 64;

/** @throws WstunError bad-option */
export function parseWorkers(text: string): number {
  if (text === 'auto') return Math.min(availableParallelism(), MAX_WORKERS);
  const workers = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (workers < 1 || workers > MAX_WORKERS)
    throw new WstunError('bad-option', `--workers needs auto, or a whole number from 1 to ${MAX_WORKERS}`);
  return workers;
}
