/** `wstun help`: its arguments. */
import { Command } from 'commander';
import { HELP_GROUP } from '../command-options.ts';

export function helpCommand(): Command {
  return new Command('help')
    .description('Show all commands, or the page of a command or a topic')
    .helpGroup(HELP_GROUP)
    .argument('[topic...]', 'a command, such as access add, or a topic')
    .addHelpText('after', HELP_EXAMPLES)
    .action(async (words: readonly string[], _options, command: Command) => {
      (await import('../help.ts')).showHelp(words, command);
    });
}

const HELP_EXAMPLES = `
Examples:
  The page of a command:
    wstun help access add
  What to do when it does not connect:
    wstun help troubleshooting

Topics: environment, exit-codes, files, proxies, invites, encryption,
troubleshooting.`;
