/** `wstun keys rotate`: new keys for a relay or an exit; whichever runs with the directory takes them up by itself. */
import { RETIRED_DAYS, rotateKeys } from '../state/retired-keys.ts';
import { openExistingStateDir } from '../state/state-dir.ts';
import { accessFile, type StateOption, stateDirOf } from './access.ts';
import { Output, printLine } from './output.ts';

interface RotateOptions extends StateOption {
  readonly forget?: boolean;
}

/** stdout: the names that need new invites, one a line. */
export async function rotate({ forget = false, ...options }: RotateOptions): Promise<void> {
  const output = new Output({});
  const state = await openExistingStateDir(stateDirOf(options));
  const entries = await accessFile(state).read();
  await rotateKeys(state, entries, { now: Date.now(), forget });
  output.say('The keys are new; a relay or exit that runs ends what stands with the old ones within two seconds.');
  const reason = forget ? 'are those of strangers from now on' : `say why they fail for ${RETIRED_DAYS} days`;
  output.say(`Old invites ${reason}. Who needs a new one, each with: wstun access renew NAME`);
  for (const { name } of entries) printLine(name);
  if (entries.some(({ role }) => role === 'exit'))
    output.say('An exit among them is to be started with its new invite, and then has to renew those of its clients.');
}
