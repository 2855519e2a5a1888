/** IPv4 or IPv6, of an address as text. */
import { isIP } from 'node:net';

export type Family = 4 | 6;

/** Undefined: it is no address. */
export function familyOf(address: string): Family | undefined {
  const family = isIP(address);
  return family === 4 || family === 6 ? family : undefined;
}
