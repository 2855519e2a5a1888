/** New keys for a relay or an exit and, if wanted, new invites for all its names in the same step. No output. */
import { createIdentity } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import type { ListenRule } from '../exit/listen/listen-rules.ts';
import type { Rule } from '../exit/rules.ts';
import type { AccessEntry } from '../state/access-list.ts';
import type { AccessStore } from '../state/access-store.ts';
import { checkInviteFolder, inviteFileIn, makeInviteFolder, writeInviteFiles } from '../state/invite-files.ts';
import { rotateKeys } from '../state/retired-keys.ts';
import type { StateDir } from '../state/state-dir.ts';
import { findIssuer, type Issuer, type NamedInvite, renewInvites } from './invites.ts';

export interface Rotation {
  /** @throws WstunError state-unusable, identity-damaged, access-malformed, file-exists, out-unusable */
  run(options: { readonly forget: boolean }): Promise<void>;
}

/**
 * Checks whatever can be checked before, and changes nothing.
 * @param list with these entries; folder of the new invites; undefined: none are made
 * @throws WstunError bad-url where no relay is known that invites could lead to; file-exists, out-unusable
 */
export async function planRotation(
  state: StateDir,
  list: AccessStore<Rule, ListenRule>,
  entries: readonly AccessEntry[],
  folder: string | undefined,
): Promise<Rotation> {
  const next = createIdentity();
  const change = (forget: boolean) => rotateKeys(state, entries, { now: Date.now(), forget, next });
  if (folder === undefined) return { run: ({ forget }) => change(forget) };
  const issuer = await findIssuer(state, [], async () => ({ identity: next }));
  if (issuer === undefined)
    throw new WstunError('bad-url', `no URL is known in ${state.path} yet`, {
      fix: 'Start `wstun relay` there once with --url URL, or rotate without --renew-all.',
    });
  const names = entries.map(({ name }) => name);
  await checkInviteFolder(
    folder,
    names.map((name) => inviteFileIn(folder, name)),
  );
  return { run: ({ forget }) => renewInto(folder, list, names, issuer, () => change(forget)) };
}

/** The files are there before anything changes, and are removed if not everything does. */
async function renewInto(
  folder: string,
  list: AccessStore<Rule, ListenRule>,
  names: readonly string[],
  issuer: Issuer,
  change: () => Promise<void>,
): Promise<void> {
  let hasChanged = false;
  const deliver = async (invites: readonly NamedInvite[]) => {
    await makeInviteFolder(folder);
    const files = invites.map(({ name, invite }) => ({ path: inviteFileIn(folder, name), invite }));
    const takeBack = await writeInviteFiles(files);
    await change().catch(async (error: unknown) => {
      await takeBack();
      throw error;
    });
    hasChanged = true;
    return takeBack;
  };
  await renewInvites(list, issuer, names, deliver).catch((error: unknown) => {
    if (!hasChanged || !(error instanceof WstunError)) throw error;
    const fix =
      'The keys were changed, but no invite was renewed. Mend that, and run for each name: wstun access renew NAME.';
    throw new WstunError(error.fault, error.detail, { fix, cause: error });
  });
}
