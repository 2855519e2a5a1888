/** What a relay and a named exit are told on the command line about dialling. */
import type { DialOptions } from '../app/dial-options.ts';

export interface DialTexts {
  readonly dns?: readonly string[];
  readonly publicAddress?: readonly string[];
  readonly via?: string;
}

/** The URL of the proxy may hold a password: it is deleted from the environment. */
export function dialOptions({ dns, publicAddress, via: given }: DialTexts): DialOptions {
  const fromEnvironment = process.env.WSTUN_VIA;
  delete process.env.WSTUN_VIA;
  const via = given ?? (fromEnvironment === '' ? undefined : fromEnvironment);
  const publicAddresses = publicAddress?.filter((address) => address !== 'none');
  return { ...(dns && { dns }), ...(publicAddresses && { publicAddresses }), ...(via !== undefined && { via }) };
}
