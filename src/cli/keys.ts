/** `wstun keys rotate`: new keys for a relay or an exit, which uses them at once if it is running. */
import { accessFile } from '../app/invites.ts';
import { RETIRED_DAYS, rotateKeys } from '../state/retired-keys.ts';
import { openExistingStateDir } from '../state/state-dir.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { findState, type StateOption, stateArgument } from './find-state.ts';
import { Output, printLine } from './output.ts';

interface RotateOptions extends StateOption, ConfirmOptions {
  readonly forget?: boolean;
  readonly dryRun?: boolean;
}

const NAMED = 5;

/** stdout: the names that need new invites, one a line. */
export async function rotate({ forget = false, dryRun = false, ...options }: RotateOptions): Promise<void> {
  const output = new Output({});
  const state = await openExistingStateDir(findState(options));
  const entries = await accessFile(state).read();
  const loss = describeLoss(entries.map(({ name }) => name));
  if (dryRun) output.say(`Nothing was changed. New keys in ${state.path} would ${loss}.`);
  else {
    if (entries.length > 0) await confirm(`New keys in ${state.path} will ${loss}.`, options);
    await rotateKeys(state, entries, { now: Date.now(), forget });
    output.say(
      'The keys were changed. A running relay or exit ends the sessions under the old keys within two seconds.',
    );
    const reason = forget ? 'now fail like unknown ones' : `report for ${RETIRED_DAYS} days why they fail`;
    const renew = `wstun access renew NAME${stateArgument(state.path)}`;
    output.say(`Old invites ${reason}. Create a new one for each of these names with: ${renew}`);
  }
  for (const { name } of entries) printLine(name);
  if (entries.some(({ role }) => role === 'exit'))
    output.say('Start each exit in the list with its new invite. Then renew the invites of its clients there.');
}

function describeLoss(names: readonly string[]): string {
  if (names.length === 0) return 'revoke no invite';
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  const them = names.slice(0, NAMED).join(', ') + more;
  return names.length === 1
    ? `revoke 1 invite (${them}) and end its sessions at once`
    : `revoke ${names.length} invites (${them}) and end their sessions at once`;
}
