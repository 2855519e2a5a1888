/** `wstun connect`: its options, and what `--help` says. */
import { Command } from 'commander';
import {
  runningProfileOption,
  runningProxyOption,
  userOption,
  verboseOption,
  withOwnClient,
} from '../command-options.ts';

export function connectCommand(): Command {
  const command = new Command('connect')
    .description(
      'connect standard input and output with a target, for ssh and others that take a command as their proxy',
    )
    .argument('<host>', 'name or address of the target; a name is resolved at the exit')
    .argument('<port>', '1 to 65535')
    .optionsGroup('Which client:')
    .addOption(runningProxyOption())
    .addOption(
      runningProfileOption('use the client whose invite is kept under this name, or start one with that invite'),
    )
    .addOption(userOption('user name and password of that proxy'));
  return withOwnClient(command)
    .optionsGroup('Output:')
    .addOption(verboseOption())
    .addHelpText('after', CONNECT_EXAMPLES)
    .action(async (host: string, port: string, _options, parsed: Command) => {
      const { runConnect } = await import('../connect.ts');
      await runConnect(host, port, parsed);
    });
}

const CONNECT_EXAMPLES = `
Examples:
  ssh -o ProxyCommand='wstun connect %h %p' host.example
  In ~/.ssh/config, for ssh, scp, rsync and git:
    Host *.example
      ProxyCommand wstun connect %h %p

Standard output has the bytes of the target and nothing else. Each direction
ends by itself. The exit code is 0 when both have ended.`;
