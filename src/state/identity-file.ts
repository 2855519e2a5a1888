/** `identity.key`: the one secret of a relay or a named exit, as text with a checksum. */

import { createIdentity, formatIdentitySecret, type Identity, parseIdentitySecret } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'identity.key';

/**
 * The identity in the directory; made there at the first call, of which several may run at once.
 * @throws WstunError state-unusable, identity-damaged
 */
export async function loadOrCreateIdentity(state: StateDir): Promise<{ identity: Identity; created: boolean }> {
  const existing = await load(state);
  if (existing !== undefined) return { identity: existing, created: false };
  return await state.locked(async () => {
    const made = await load(state);
    if (made !== undefined) return { identity: made, created: false };
    const identity = createIdentity();
    await state.write(NAME, `${formatIdentitySecret(identity)}\n`);
    return { identity, created: true };
  });
}

async function load(state: StateDir): Promise<Identity | undefined> {
  const text = await state.read(NAME, { secret: true });
  if (text === undefined) return undefined;
  try {
    return parseIdentitySecret(text.trim());
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    throw new WstunError('identity-damaged', `${state.pathOf(NAME)}: ${error.detail}`);
  }
}
