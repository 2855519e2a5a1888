/** `wstun env`: its options, and what `--help` says. */
import { Command, Option } from 'commander';
import { runningProfileOption, runningProxyOption, socksOption, userOption } from '../command-options.ts';
import { SHELLS } from '../shell.ts';

export function envCommand(): Command {
  return new Command('env')
    .description('print lines by which the programs of a shell use the proxy of a running client')
    .addOption(
      new Option('--shell <name>', 'whose lines: sh is for bash, zsh, dash and others')
        .choices([...SHELLS])
        .default(process.platform === 'win32' ? 'powershell' : 'sh'),
    )
    .addOption(runningProxyOption())
    .addOption(runningProfileOption('use the running client whose invite is kept under this name'))
    .addOption(userOption('user name and password of that proxy'))
    .addOption(socksOption())
    .option('--unset', 'print lines that remove the variables')
    .addHelpText('after', ENV_EXAMPLES)
    .action(async (_options, command: Command) => {
      const { runEnv } = await import('../env.ts');
      await runEnv(command);
    });
}

const ENV_EXAMPLES = `
Examples:
  In bash, zsh and others; the second line ends it:
    eval "$(wstun env)"
    eval "$(wstun env --unset)"
  In fish:
    wstun env --shell fish | source
  In PowerShell:
    wstun env --shell powershell | Out-String | Invoke-Expression
  Only what does not know SOCKS:
    eval "$(wstun env --no-socks)"`;
