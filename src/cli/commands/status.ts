/** `wstun status` and `wstun ping`: their options, and what `--help` says. */
import { Command, Option } from 'commander';
import { addClusterOptions } from '../command-options.ts';
import { parseCount, parseHostPort, parseStateDir } from '../options.ts';

export function statusCommand(): Command {
  const command = new Command('status')
    .description('show what the clients, relays and exits do that this user runs on this machine')
    .option('--json', 'print one JSON object for each of them')
    .option('--watch', 'show it again every second, until Ctrl-C')
    .addOption(stateDirOption());
  return addClusterOptions(command, 'what all relays of a cluster do, wherever they run')
    .addHelpText('after', STATUS_EXAMPLES)
    .action(async (options) => (await import('../status.ts')).showStatus(options));
}

export function pingCommand(): Command {
  return new Command('ping')
    .description('measure round trips through the running client to the end that connects to targets')
    .argument('[host:port]', 'measure until a connection to this target is open there')
    .addOption(new Option('-c, --count <n>', 'how many times').default(4).argParser(parseCount))
    .option('--listen <host:port>', 'which client, by the address of its proxy, where several run', parseHostPort)
    .option('--json', 'print one JSON object for each answer')
    .addOption(stateDirOption())
    .addHelpText('after', PING_EXAMPLES)
    .action(async (target: string | undefined, options) => {
      const { ping } = await import('../ping.ts');
      await ping({ ...options, ...(target !== undefined && { target: parseHostPort(target) }) });
    });
}

const stateDirOption = () => {
  const option = new Option('--state <dir>', 'only what runs with this state directory (default: the usual ones)');
  return option.argParser(parseStateDir).env('WSTUN_STATE');
};

const STATUS_EXAMPLES = `
Examples:
  What runs here, and how it is connected:
    wstun status
  Keep looking:
    wstun status --watch
  For a script:
    wstun status --json | jq .state
  All relays of a cluster, their exits, and who is on:
    wstun status --cluster nats://nats.example.org`;

const PING_EXAMPLES = `
Examples:
  To the exit and back:
    wstun ping
  Until the exit has a connection to a target:
    wstun ping -c 1 example.org:443`;
