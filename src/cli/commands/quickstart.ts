/** `wstun quickstart`: its options, and what `--help` says. */
import { Command, Option } from 'commander';
import { jsonOption, verboseOption } from '../command-options.ts';
import { parseHostPort } from '../options.ts';

export function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('Try wstun: run a relay, a client and a test page on this machine')
    .addOption(new Option('--listen <host:port>', 'address of the proxy').default('127.0.0.1:1080'))
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', QUICKSTART_EXAMPLES)
    .action(async (options) => {
      const { runQuickstart } = await import('../quickstart.ts');
      await runQuickstart({ ...options, listen: parseHostPort(options.listen) });
    });
}

const QUICKSTART_EXAMPLES = `
Examples:
  With the proxy on port 1080:
    wstun quickstart
  If another program uses port 1080:
    wstun quickstart --listen 127.0.0.1:1090`;
