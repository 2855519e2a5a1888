/** `wstun keys …`: their options, and what `--help` says. */
import { Command } from 'commander';
import { addClusterOptions, stateOption, yesOption } from '../command-options.ts';

export function keysCommand(): Command {
  const keys = new Command('keys')
    .description('Manage the keys of a relay or an exit')
    .addHelpText('after', KEYS_EXAMPLES);
  const rotate = new Command('rotate')
    .description(
      'Make new keys and print the names that need new invites; for 30 days, the old invites report why they fail',
    )
    .addOption(stateOption('either'))
    .addOption(yesOption())
    .option('--dry-run', 'print what would be done, and change nothing')
    .option('--forget', 'keep none of the old keys: old invites then fail like unknown ones')
    .option('--renew-all', 'make a new invite for every name at the same time, each in its own file; needs --out')
    .option('--out <dir>', 'directory for these files, NAME.invite; made if it is missing; no file is overwritten')
    .option('--json', 'print one JSON object');
  keys.addCommand(
    addClusterOptions(rotate, 'of a relay in a cluster, whose other relays get a copy of identity.key then')
      .addHelpText('after', KEYS_EXAMPLES)
      .action(async (options) => (await import('../keys.ts')).rotate(options)),
  );
  return keys;
}

const KEYS_EXAMPLES = `
Examples:
  Of the relay or exit on this machine, also while it is running:
    wstun keys rotate
  See who would need a new invite:
    wstun keys rotate --dry-run
  Of an exit on a machine that also has a relay:
    wstun keys rotate --state ~/.local/state/wstun/exit
  With a new invite for every name, each in its own file:
    wstun keys rotate --renew-all --out new-invites`;
