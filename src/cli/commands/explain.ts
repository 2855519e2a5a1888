/** `wstun explain`: its arguments. */
import { Command } from 'commander';
import { HELP_GROUP } from '../command-options.ts';

export function explainCommand(): Command {
  return new Command('explain')
    .description('Explain an error: what happened, what to do, and its exit code')
    .helpGroup(HELP_GROUP)
    .argument('[code]', 'code or name of an error: E203, WSTUN-E203, 203, relay-untrusted')
    .option('--list', 'print all errors, one a line')
    .addHelpText('after', EXPLAIN_EXAMPLES)
    .action(async (code: string | undefined, options: { readonly list?: boolean }) => {
      (await import('../explain.ts')).explain(code, options);
    });
}

const EXPLAIN_EXAMPLES = `
Examples:
  The error of a message that ends in (WSTUN-E203):
    wstun explain E203
  All about proxies:
    wstun explain --list | grep proxy`;
