/** `wstun run`: its options, and what `--help` says. */
import { Command } from 'commander';
import {
  runningProfileOption,
  runningProxyOption,
  socksOption,
  userOption,
  verboseOption,
  withOwnClient,
} from '../command-options.ts';

export function runCommand(): Command {
  const command = new Command('run')
    .description('run one program that uses the tunnel: by the running client, or by one that ends with the program')
    .usage('[options] -- <program> [arguments...]')
    .argument('<program>', 'name or path; what follows belongs to it')
    .argument('[arguments...]')
    .passThroughOptions()
    .optionsGroup('Which client:')
    .addOption(runningProxyOption())
    .addOption(
      runningProfileOption('use the client whose invite is kept under this name, or start one with that invite'),
    )
    .addOption(userOption('user name and password of that proxy'))
    .addOption(socksOption());
  return withOwnClient(command)
    .optionsGroup('Output:')
    .addOption(verboseOption())
    .addHelpText('after', RUN_EXAMPLES)
    .action(async (program: string, args: readonly string[], _options, parsed: Command) => {
      const { runRun } = await import('../run.ts');
      await runRun(program, args, parsed);
    });
}

const RUN_EXAMPLES = `
Examples:
  wstun run -- curl https://example.org/
  wstun run -- git clone https://github.com/torvalds/linux
  wstun run -- bash

Standard input and output, the terminal, signals and the exit code are those of
the program. 126 and 127: it cannot be started, or there is no such program.

Only programs that read the variables of \`wstun env\` use the proxy; ssh, ping
and others do not. docs/programs.md lists them.`;
