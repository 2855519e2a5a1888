/** `wstun man`: what `--help` says of it. */
import { Command } from 'commander';
import { HELP_GROUP } from '../command-options.ts';

export function manCommand(): Command {
  return new Command('man')
    .description('Print the manual page, in roff')
    .helpGroup(HELP_GROUP)
    .addHelpText('after', MAN_EXAMPLES)
    .action(async (_options, command: Command) => {
      (await import('../man.ts')).printManual(command);
    });
}

const MAN_EXAMPLES = `
Examples:
  Read it:
    wstun man | man -l -
  Install it:
    wstun man > /usr/local/share/man/man1/wstun.1`;
