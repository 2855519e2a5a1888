/** `wstun profiles` and `wstun forget`: their options, and what `--help` says. */
import { Command } from 'commander';
import { yesOption } from '../command-options.ts';

export function profilesCommand(): Command {
  return new Command('profiles')
    .description('List the invites that `wstun client` keeps, without their secrets')
    .option('--json', 'print one JSON list')
    .addHelpText('after', EXAMPLES)
    .action(async (options) => (await import('../profiles.ts')).listProfiles(options));
}

export function forgetCommand(): Command {
  return new Command('forget')
    .description('Remove an invite that `wstun client` keeps')
    .argument('<name>', 'as in `wstun profiles`')
    .option('--untried', 'remove only the newer invite that has had no session yet, and go back to the one before it')
    .addOption(yesOption())
    .addHelpText('after', EXAMPLES)
    .action(async (name: string, options) => (await import('../profiles.ts')).forgetProfile(name, options));
}

const EXAMPLES = `
Examples:
  Keep an invite under a name, and use it later:
    wstun client wstun1_AQDc… --as work
    wstun client --as work
  See which there are:
    wstun profiles
  Remove one:
    wstun forget work`;
