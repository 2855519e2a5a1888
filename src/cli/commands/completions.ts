/** `wstun completions`: its arguments. */
import { Argument, Command } from 'commander';
import { HELP_GROUP } from '../command-options.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export function completionsCommand(): Command {
  return new Command('completions')
    .description('Print a script by which a shell completes commands, options and values')
    .helpGroup(HELP_GROUP)
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .addHelpText('after', COMPLETIONS_EXAMPLES)
    .action(async (shell: Shell, _options, command: Command) => {
      (await import('../completions.ts')).printCompletions(shell, command);
    });
}

const COMPLETIONS_EXAMPLES = `
Examples:
  bash, for you alone; new shells have it:
    mkdir -p ~/.local/share/bash-completion/completions
    wstun completions bash > ~/.local/share/bash-completion/completions/wstun
  bash without the package bash-completion, in ~/.bashrc:
    eval "$(wstun completions bash)"
  zsh, in ~/.zshrc behind compinit:
    eval "$(wstun completions zsh)"
  fish:
    wstun completions fish > ~/.config/fish/completions/wstun.fish`;
