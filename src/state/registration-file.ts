/** `registration.invite`: the invite of a named exit, so that it starts again without one. A secret. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { decodeInvite, encodeInvite, type Invite } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'registration.invite';

/** An invite that names its exit. */
export type Registration = Invite & { readonly exitName: string };

/** @throws WstunError invite-for-client for an invite with which no exit can register */
export function requireRegistration(invite: Invite): Registration {
  const { exitName, role } = invite;
  if (exitName === undefined || role === 'client') throw new WstunError('invite-for-client');
  return { ...invite, exitName };
}

/** Whether an exit was started with that directory, as far as this process can see. */
export function isRegistered(directory: string): boolean {
  return existsSync(join(directory, NAME));
}

/** Undefined if no exit was started with this directory. @throws WstunError state-unusable */
export async function readRegistration(state: StateDir): Promise<Registration | undefined> {
  const text = await state.read(NAME, { secret: true });
  if (text === undefined) return undefined;
  try {
    return requireRegistration(decodeInvite(text));
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    throw new WstunError('state-unusable', `${state.pathOf(NAME)} contains no invite for an exit`);
  }
}

/** @throws WstunError state-unusable */
export async function saveRegistration(state: StateDir, registration: Registration): Promise<void> {
  const text = `${encodeInvite(registration)}\n`;
  if ((await state.read(NAME, { secret: true })) !== text) await state.write(NAME, text);
}
