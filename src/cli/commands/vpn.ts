/** `wstun vpn`: its options, and what `--help` says. */
import { Command, Option } from 'commander';
import { runningProfileOption, withClientOptions, withOutputOptions } from '../command-options.ts';

export function vpnCommand(): Command {
  const command = new Command('vpn')
    .description('send all connections of this machine through the tunnel, until it ends (Linux, as root)')
    .optionsGroup('Instead of running:')
    .addOption(
      new Option(
        '--print [what]',
        'change nothing; print what would be run, or the rules of nftables for wstun client --tproxy or --redirect',
      )
        .choices(['machine', 'tproxy', 'redirect'])
        .conflicts('restore'),
    )
    .option('--restore', 'undo what a wstun vpn has left that was killed; the next one does that, too')
    .optionsGroup('Its client:')
    .addOption(runningProfileOption('use the invite that is kept under this name'));
  return withOutputOptions(withClientOptions(command, 'use the invite in this file (- for standard input)'))
    .addHelpText('after', VPN_EXAMPLES)
    .action(async (_options, parsed: Command) => {
      const { runVpn } = await import('../vpn.ts');
      await runVpn(parsed);
    });
}

const VPN_EXAMPLES = `
Examples:
  sudo wstun vpn --invite-file ~/.config/wstun.invite
  What it would do:
    wstun vpn --print
  A gateway for other machines:
    wstun vpn --print tproxy

It needs tun2proxy (cargo install tun2proxy), and starts a client of its own.
Local networks stay reachable. While no link carries the connections, nothing
leaves the machine around the tunnel. docs/whole-machine.md has more.`;
