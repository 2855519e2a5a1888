/** `wstun config …`: their options, and what `--help` says. */
import { Argument, Command } from 'commander';
import { configOption } from '../command-options.ts';

const ROLES = ['client', 'relay', 'exit'];

export function configCommand(): Command {
  const config = new Command('config')
    .description('Check and show the configuration: wstun.toml, variables and options')
    .addHelpText('after', CONFIG_EXAMPLES);
  for (const sub of [configCheck(), configShow(), configPath()]) config.addCommand(sub);
  return config;
}

function configCheck(): Command {
  return new Command('check')
    .description('Print every mistake in a file; the exit code is 78 if there is one')
    .argument('[file]', 'the file (default: what `wstun config path` prints)')
    .addHelpText('after', CONFIG_EXAMPLES)
    .action(async (file: string | undefined) => (await import('../config.ts')).checkConfig(file));
}

function configShow(): Command {
  return new Command('show')
    .description('Print what a command would run with, without secrets')
    .addArgument(new Argument('[command]', 'client, relay or exit (default: those in the file)').choices(ROLES))
    .argument('[options...]', 'after --: options of that command')
    .addOption(configOption())
    .option('--origin', 'also print where each value comes from, and the defaults')
    .option('--json', 'print one JSON object')
    .addHelpText('after', CONFIG_EXAMPLES)
    .action(async (role: string | undefined, given: readonly string[], options) =>
      (await import('../config.ts')).showConfig(role, given, options),
    );
}

function configPath(): Command {
  return new Command('path')
    .description('Print the path of the file that is read')
    .addOption(configOption())
    .action(async (options) => (await import('../config.ts')).printConfigPath(options));
}

const CONFIG_EXAMPLES = `
Examples:
  Find mistakes in the file that is used, or in another one:
    wstun config check
    wstun config check ./wstun.toml
  Which file that is:
    wstun config path
  Where each value of a relay comes from:
    wstun config show relay --origin
  The same for a client that is started with an option:
    wstun config show client --origin -- --listen 127.0.0.1:1090

The file is the first of these: --config FILE, $WSTUN_CONFIG,
$XDG_CONFIG_HOME/wstun/wstun.toml (~/.config/wstun/wstun.toml),
/etc/wstun/wstun.toml. It has the sections [client], [relay] and [exit], whose
keys are the long options: listen = "127.0.0.1:1080". An option goes before its
variable (WSTUN_LISTEN), that before the file, and that before the default.`;
