/**
 * Three network namespaces: a laptop's with a link to the phone and to nothing else, the phone's with one to the relay
 * as well, and the test's own, where relay and targets are.
 */
import { randomBytes } from 'node:crypto';
import { addNamespace, ip, wire, within } from './namespaces.ts';

/** Of the private addresses, a corner that nobody uses. */
const LAPTOP_ADDRESS = '10.213.1.2';
const PHONE_ADDRESS = '10.213.1.1';
/** Its end at the relay is in the machine's own namespace, where another run of the tests may have one too. */
const OUTSIDE = `10.213.${2 + (randomBytes(1)[0]! % 253)}`;
const PHONE_OUTSIDE = `${OUTSIDE}.2`;
const RELAY_ADDRESS = `${OUTSIDE}.1`;

export interface PhoneNetwork {
  readonly laptop: { readonly within: readonly string[]; readonly name: string; readonly address: string };
  readonly phone: { readonly within: readonly string[]; readonly address: string };
  readonly relayAddress: string;
  /** Both links of the phone, as when it leaves the room. */
  setPhone(state: 'up' | 'down'): Promise<void>;
}

/** Until the test, or the file, is over. */
export async function startPhoneNetwork(): Promise<PhoneNetwork> {
  const id = randomBytes(2).toString('hex');
  const [laptop, phone, wifi, cell] = [`wl${id}`, `wp${id}`, `ap${id}`, `cell${id}`];
  for (const namespace of [laptop, phone]) await addNamespace(namespace);
  await wire(
    { namespace: laptop, name: `wlan${id}`, address: LAPTOP_ADDRESS },
    { namespace: phone, name: wifi, address: PHONE_ADDRESS },
  );
  await wire({ namespace: phone, name: cell, address: PHONE_OUTSIDE }, { name: `net${id}`, address: RELAY_ADDRESS });
  return {
    laptop: { within: within(laptop), name: laptop, address: LAPTOP_ADDRESS },
    phone: { within: within(phone), address: PHONE_ADDRESS },
    relayAddress: RELAY_ADDRESS,
    setPhone: async (state) => {
      for (const link of [wifi, cell]) await ip('-n', phone, 'link', 'set', link, state);
    },
  };
}
