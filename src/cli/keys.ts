/** `wstun keys rotate`: new keys for a relay or an exit, which uses them at once if it is running. */
import { planRotation } from '../app/rotation.ts';
import { WstunError } from '../errors.ts';
import type { AccessEntry } from '../state/access-list.ts';
import { loadIdentity } from '../state/identity-file.ts';
import { inviteFileIn } from '../state/invite-files.ts';
import { RETIRED_DAYS } from '../state/retired-keys.ts';
import { openExistingStateDir, type StateDir } from '../state/state-dir.ts';
import { type Access, type ClusterTexts, withAccessOf } from './access-place.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { findState, type StateOption, stateArgument } from './find-state.ts';
import { printLine } from './output.ts';

interface RotateOptions extends StateOption, ClusterTexts, ConfirmOptions {
  readonly forget?: boolean;
  readonly dryRun?: boolean;
  readonly renewAll?: boolean;
  /** The directory for the new invites. */
  readonly out?: string;
  readonly json?: boolean;
}

const NAMED = 5;

/** For a person, on stderr. */
interface Notes {
  say(text: string): void;
}

/** stdout: the names that need new invites, one a line; or one JSON object. */
export async function rotate(options: RotateOptions): Promise<void> {
  const { json = false } = options;
  const output: Notes = {
    say: (text) => {
      if (!json) process.stderr.write(`${text}\n`);
    },
  };
  folderOf(options);
  const state = await openExistingStateDir(findState(options));
  await withAccessOf(state, options, async (access) => await rotateIn(state, access, options, output));
}

async function rotateIn(state: StateDir, access: Access, options: RotateOptions, output: Notes): Promise<void> {
  const { forget = false, dryRun = false, json = false } = options;
  const folder = folderOf(options);
  const entries = await access.list.read();
  const names = entries.map(({ name }) => name);
  const rotation = await planRotation(state, access.list, entries, folder);
  const loss = describeLoss(names);
  if (dryRun) {
    const renewed = folder === undefined ? '' : ` New ones would be written to ${folder}.`;
    output.say(`Nothing was changed. New keys in ${state.path} would ${loss}.${renewed}`);
  } else {
    if (entries.length > 0) await confirm(`New keys in ${state.path} will ${loss}.`, options);
    const { public: before } = await loadIdentity(state);
    await rotation.run({ forget });
    if (!forget) await access.retire(before, { until: Date.now() + RETIRED_DAYS * 86_400_000, peers: entries });
    if (options.cluster !== undefined)
      output.say(`Copy identity.key from ${state.path} to the directory of each other relay of the cluster now.`);
    sayChanged(output, state.path, forget, folder, names.length);
  }
  if (json) {
    const invites =
      folder === undefined ? undefined : names.map((name) => ({ name, file: inviteFileIn(folder, name) }));
    printLine(JSON.stringify({ state: state.path, changed: !dryRun, revoked: names, invites }));
  } else for (const name of names) printLine(name);
  sayOfExits(output, entries);
}

function folderOf({ renewAll = false, out }: RotateOptions): string | undefined {
  if (renewAll !== (out !== undefined) || out === '')
    throw new WstunError('bad-option', '--renew-all and --out DIR need each other');
  return out;
}

function sayChanged(output: Notes, path: string, forget: boolean, folder: string | undefined, count: number): void {
  output.say('The keys were changed. A running relay or exit ends the sessions under the old keys within two seconds.');
  const reason = forget ? 'now fail like unknown ones' : `report for ${RETIRED_DAYS} days why they fail`;
  const renew = `Create a new one for each of these names with: wstun access renew NAME${stateArgument(path)}`;
  const renewed = `${count === 1 ? 'The new one is' : `The ${count} new ones are`} in ${folder}, NAME.invite for each name.`;
  output.say(`Old invites ${reason}. ${folder === undefined ? renew : renewed}`);
}

function sayOfExits(output: Notes, entries: readonly AccessEntry[]): void {
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
