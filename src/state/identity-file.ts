/** `identity.key`: the secret of a relay or a named exit, as text with a checksum. A watch reports its rotation. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { encodeBase64url } from '../crypto/base64url.ts';
import { createIdentity, formatIdentitySecret, type Identity, parseIdentitySecret } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import { FileWatch } from './file-watch.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'identity.key';
/** Rotation takes effect within two seconds. */
const SETTLE_MS = 50;

/** The first call creates it; several may run at once. @throws WstunError state-unusable, identity-damaged */
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

/** Whether a directory has keys, as far as this process can see. */
export function hasIdentity(directory: string): boolean {
  return existsSync(join(directory, NAME));
}

/** @throws WstunError state-unusable */
export async function replaceIdentity(state: StateDir, identity: Identity): Promise<void> {
  await state.write(NAME, `${formatIdentitySecret(identity)}\n`);
}

/** The identity, which must exist. @throws WstunError state-unusable, identity-damaged */
export async function loadIdentity(state: StateDir): Promise<Identity> {
  const identity = await load(state);
  if (identity === undefined) throw new WstunError('state-unusable', `${state.path} has no keys yet`);
  return identity;
}

/** Calls `onChange` for another identity than the last. Keeps no process alive. A damaged file is only logged. */
export function watchIdentity(
  state: StateDir,
  current: Identity,
  onChange: () => Promise<void>,
  logger: Logger,
  clock?: Clock,
): FileWatch {
  let key = encodeBase64url(current.public.gate);
  return new FileWatch({
    signature: () => state.signature(NAME),
    // The file may have changed since it was read.
    seen: '',
    settleMs: SETTLE_MS,
    onChange: async () => {
      const { gate } = (await loadIdentity(state)).public;
      if (encodeBase64url(gate) === key) return;
      key = encodeBase64url(gate);
      await onChange();
    },
    onFault: (error) => {
      const code = error instanceof WstunError ? error.code : undefined;
      logger.error({ code }, error instanceof Error ? error.message : String(error));
    },
    ...(clock && { clock }),
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
