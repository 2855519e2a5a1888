/** Whether an address may be listened on. Pure. */
import { isIPv4 } from 'node:net';
import { WstunError } from '../errors.ts';

export interface ListenWish {
  /** As given on the command line, an IPv6 address without brackets. */
  readonly host: string;
  readonly hasCredentials: boolean;
  readonly allowLan: boolean;
}

/**
 * Throws `open-to-network` unless the host is this machine alone, a password is needed, or the user means it.
 * @param what listens there, where a password protects nothing
 */
export function refuseOpenToNetwork({ host, hasCredentials, allowLan }: ListenWish, what?: string): void {
  if (allowLan || hasCredentials || isLoopback(host)) return;
  if (what === undefined) throw new WstunError('open-to-network', host);
  const fix = `Add --allow-lan if everyone who can reach the address may use ${what}.`;
  throw new WstunError('open-to-network', host, { fix });
}

/** RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3. Other spellings of the last count as open: the safe side. */
export function isLoopback(host: string): boolean {
  return host.toLowerCase() === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
