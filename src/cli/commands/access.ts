/** `wstun access …`: their options, and what `--help` says. */
import { Command, Option } from 'commander';
import {
  addClusterOptions,
  allowOption,
  listenRuleOption,
  noListenRuleOption,
  stateOption,
  texts,
  yesOption,
} from '../command-options.ts';

export function accessCommand(): Command {
  const access = new Command('access')
    .description('Manage who may use a relay or an exit')
    .addHelpText('after', ACCESS_EXAMPLES);
  const edits = [accessAdd(), accessList(), accessShow(), accessSet(), accessRenew(), accessRemove()];
  for (const sub of edits) access.addCommand(addClusterOptions(sub, 'the access list of a cluster of relays'));
  access.addCommand(addClusterOptions(accessImport(), 'where to copy it'));
  return access;
}

function accessAdd(): Command {
  return new Command('add')
    .description('Add a name and print only its invite on stdout: a secret that is shown once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option(
      '--url <url>',
      'URL of the relay in the invite; may be repeated (default: those of the last `wstun relay`)',
      texts,
    )
    .addOption(
      new Option('--role <role>', 'who gets the invite; exit: an exit that registers here under this name')
        .choices(['client', 'exit'])
        .default('client'),
    )
    .addOption(allowOption('allow these targets in addition to public addresses; may be repeated'))
    .addOption(listenRuleOption())
    .option('--sessions <n>', 'maximum number of sessions at the same time (default: 8)')
    .option('--rate <rate>', 'bits per second in each direction, such as 20mbit (default: no limit)')
    .option('--quota <bytes>', 'bytes per month in both directions together, such as 100GB (default: no limit)')
    .option('--qr', 'show the invite as a QR code, too')
    .option('--out <file>', 'write the invite to a new file that only you can read, instead of stdout')
    .option('--json', 'print one JSON object')
    .addOption(yesOption())
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('../access.ts')).addAccess(name, options));
}

function accessList(): Command {
  return new Command('list')
    .alias('ls')
    .description('Print the names with their rules, limits and use')
    .addOption(stateOption('either'))
    .option('--json', 'print one JSON list')
    .action(async (options) => (await import('../access.ts')).listAccess(options));
}

function accessShow(): Command {
  return new Command('show')
    .description('Print the rules, limits and use of a name')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option('--json', 'print one JSON object')
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('../access.ts')).showAccess(name, options));
}

function accessSet(): Command {
  return new Command('set')
    .description('Change the rules and limits of a name; its invite stays valid and its sessions continue')
    .argument('<name>')
    .addOption(stateOption('either'))
    .addOption(allowOption('allow these targets too; may be repeated'))
    .option('--disallow <rule>', 'remove this rule; may be repeated', texts)
    .addOption(listenRuleOption())
    .addOption(noListenRuleOption())
    .option('--sessions <n>', 'maximum number of sessions at the same time; none: the default of 8')
    .option('--rate <rate>', 'bits per second in each direction, such as 20mbit; none: no limit')
    .option('--quota <bytes>', 'bytes per month in both directions together, such as 100GB; none: no limit')
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('../access.ts')).setAccess(name, options));
}

function accessRenew(): Command {
  return new Command('renew')
    .description('Print only a new invite for an existing name on stdout; the old invite is revoked at once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option(
      '--url <url>',
      'URL of the relay in the invite; may be repeated (default: those of the last `wstun relay`)',
      texts,
    )
    .option('--qr', 'show the invite as a QR code, too')
    .option('--out <file>', 'write the invite to a new file that only you can read, instead of stdout')
    .option('--json', 'print one JSON object')
    .addOption(yesOption())
    .action(async (name: string, options) => (await import('../access.ts')).renewAccess(name, options));
}

function accessRemove(): Command {
  return new Command('remove')
    .alias('rm')
    .description('Remove a name; its sessions end within two seconds')
    .argument('<name>')
    .addOption(stateOption('either'))
    .action(async (name: string, options) => (await import('../access.ts')).removeAccess(name, options));
}

function accessImport(): Command {
  return new Command('import')
    .description('Copy the access list of a relay into its cluster, and print the names that were new there')
    .addOption(stateOption('either'))
    .action(async (options) => (await import('../access.ts')).importAccess(options));
}

const ACCESS_EXAMPLES = `
Examples:
  Only public addresses:
    wstun access add alice
  Additional targets:
    wstun access add bob --allow 10.0.0.0/8:22,80 --allow '[fd00::/8]:443'
    wstun access add carol --allow web.example:443 --allow '*.corp.example'
  Everything except the relay itself:
    wstun access add dave --allow '*'
  For \`wstun exit\`, which has its own access list:
    wstun access add home --role exit
  Into a file, or as a code to scan:
    wstun access add erin --out erin.invite
    wstun access add frank --qr
  What alice may do, and what she has used this month:
    wstun access show alice
  Change what alice may do; her invite stays valid:
    wstun access set alice --allow 10.0.0.0/8:22 --rate 20mbit
    wstun access set alice --quota none
  Let ports of this machine lead to alice's (wstun client -R):
    wstun access set alice --listen 127.0.0.1:8000-8999 --listen 0.0.0.0:8443
    wstun access set alice --no-listen 0.0.0.0:8443
  Alice lost her invite, or the keys were rotated:
    wstun access renew alice
  Remove alice:
    wstun access remove alice
  See all names, with their rules and use:
    wstun access list
  Of relays that have one list in a cluster (wstun relay --cluster):
    wstun access add grace --cluster nats://nats.example.org
    wstun access import --cluster nats://nats.example.org

Rules: CIDR|IP|name|*.name[:ports], * for everything. IPv6 in brackets; ports
are a list with ranges: 22,80,8000-8999. Of --listen: ADDRESS:PORTS, where
0.0.0.0 is all IPv4 addresses and * is all; ports below 1024 must be named.`;
