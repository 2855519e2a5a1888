/** What a relay says of the address in its invites, if it had to guess it. Pure. */
import { hostOf } from '../app/public-url.ts';
import { parseIp } from '../net/ip.ts';
import { specialRange } from '../net/special-ranges.ts';

/**
 * A machine in a cloud often has only a private address, and a public one is translated to it.
 * @param url by which clients reach the relay, as far as it knows
 */
export function guessedAddressText(url: string): string {
  const host = hostOf(url);
  const ip = parseIp(host);
  const range = ip && specialRange(ip);
  if (range === undefined || range === 'loopback')
    return 'If clients reach this relay at another address, start it once with: --url URL.';
  const { protocol, port } = new URL(url);
  const example = `${protocol}//ADDRESS${port === '' ? '' : `:${port}`}`;
  const fault = `${host} is not a public address: this invite is of use only in the network of this machine.`;
  const mend = `start it once with: --url ${example}, and make a new invite: wstun access renew default`;
  return `${fault} If clients reach it at another address, ${mend}`;
}
