/** What a relay and a named exit are told on the command line about dialling. */
import type { DialOptions } from '../app/dial-options.ts';

export interface DialTexts {
  readonly dns?: readonly string[];
  readonly publicAddress?: readonly string[];
}

export function dialOptions({ dns, publicAddress }: DialTexts): DialOptions {
  const publicAddresses = publicAddress?.filter((address) => address !== 'none');
  return { ...(dns && { dns }), ...(publicAddresses && { publicAddresses }) };
}
