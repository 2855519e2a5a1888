/** `wstun exit`: its options, and what `--help` says. */
import { Command } from 'commander';
import {
  adminOption,
  dnsOption,
  onceOption,
  publicAddressOption,
  resumeWindowOption,
  stateOption,
  transportOption,
  viaOption,
  WAY_GROUP,
  withConfigOption,
  withOutputOptions,
  withWayOptions,
  yesOption,
} from '../command-options.ts';
import { pasted } from '../secret-arguments.ts';

export function exitCommand(): Command {
  const command = new Command('exit')
    .description('Connect to targets for clients that you invite; the relay in between cannot read the data')
    .argument('[invite...]', 'the line that `wstun access add NAME --role exit` printed at the relay; needed only once')
    .optionsGroup('Invite and state:')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(stateOption('exit'))
    .addOption(yesOption())
    .addOption(adminOption())
    .optionsGroup('Targets and sessions:')
    .addOption(dnsOption())
    .addOption(publicAddressOption())
    .addOption(viaOption())
    .addOption(resumeWindowOption())
    .addOption(onceOption())
    .optionsGroup(WAY_GROUP)
    .addOption(transportOption())
    .addHelpText('after', EXIT_EXAMPLES)
    .action(async (given: readonly string[], _options, parsed: Command) => {
      const [{ runExit }, { settleCommand }] = await Promise.all([import('../exit.ts'), import('../config/roles.ts')]);
      await runExit(await settleCommand('exit', parsed), pasted(given));
    });
  return withConfigOption(withOutputOptions(withWayOptions(command)), 'exit');
}

const EXIT_EXAMPLES = `
Examples:
  At the relay, print the invite for the exit:
    wstun access add home --role exit
  At home; the invite is remembered, so later \`wstun exit\` is enough:
    wstun exit wstun1_AQDc…
  At home, print an invite for alice:
    wstun access add alice
  The same, if this machine also has the keys of a relay:
    wstun access add alice --state ~/.local/state/wstun/exit
  With another state directory and name server:
    wstun exit --state /var/lib/wstun-exit --dns 10.0.0.53

The owner of the exit issues the invites. The owner of the relay need not know
alice, and cannot read her data.`;
