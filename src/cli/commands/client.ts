/** `wstun client`: its options, and what `--help` says. */
import { Command } from 'commander';
import {
  adminOption,
  dnsListenOption,
  encryptionOption,
  linkAgeOption,
  linkBytesOption,
  linksOption,
  listenOption,
  onceOption,
  resumeWindowOption,
  SESSION_GROUP,
  texts,
  transparentOption,
  transportOption,
  userOption,
  WAY_GROUP,
  withConfigOption,
  withOutputOptions,
  withWayOptions,
  yesOption,
} from '../command-options.ts';
import { pasted } from '../secret-arguments.ts';

export function clientCommand(): Command {
  const command = new Command('client')
    .description('Run a local SOCKS5, SOCKS4a and HTTP proxy that sends its connections through the relay of an invite')
    .argument(
      '[invite...]',
      'the line that `wstun access add` printed, or the name of a kept invite (default: the kept invite, else a prompt); other users of this machine can see an invite in `ps`',
    )
    .optionsGroup('Invite and local proxy:')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .option('--as <name>', 'keep the invite under this name, or use the one that is kept under it (default: default)')
    .option('--no-keep', 'keep nothing of this invite on the disk')
    .addOption(yesOption('replace the kept invite of another relay or exit without asking'))
    .addOption(listenOption())
    .addOption(userOption('require this user name and password'))
    .option('--allow-lan', 'let other machines use the proxy without a user name and password')
    .option(
      '--pac-direct <rule>',
      'host that the PAC file at the proxy’s port sends past the tunnel: name (with all below it), address or CIDR, :port; may be repeated (default: only loopback)',
      texts,
    )
    .addOption(adminOption());
  withForwards(command)
    .optionsGroup(SESSION_GROUP)
    .addOption(encryptionOption())
    .addOption(resumeWindowOption())
    .addOption(linksOption())
    .option(
      '--bond',
      'use all ways at once: this machine and each phone (--tether), each address of the relay, and each proxy (default: only the best one)',
    )
    .addOption(linkBytesOption())
    .addOption(linkAgeOption())
    .addOption(onceOption())
    .optionsGroup(WAY_GROUP)
    .addOption(transportOption())
    .option(
      '--tether [host:port]',
      'connect through a phone, whose browser opens a page on this machine (default: its local address, port 8808)',
    )
    .option('--no-direct', 'with --tether: use only the phone, even if this machine can reach the relay')
    .option(
      '--via-browser [program]',
      'connect through a browser on this machine, with its TLS, proxies and logins; open: a tab of the default browser (default: the first that is found, without a window)',
    )
    .option('--browser-arg <arg>', 'one more argument for that browser; may be repeated', texts)
    .addHelpText('after', CLIENT_EXAMPLES)
    .action(async (given: readonly string[], _options, parsed: Command) => {
      const [{ runClient }, { settleCommand }] = await Promise.all([
        import('../client.ts'),
        import('../config/roles.ts'),
      ]);
      await runClient(await settleCommand('client', parsed), pasted(given));
    });
  return withConfigOption(withOutputOptions(withWayOptions(command)), 'client');
}

function withForwards(command: Command): Command {
  return command
    .optionsGroup('Names and forwards:')
    .addOption(dnsListenOption())
    .option(
      '-L, --local-forward <spec>',
      'port here that leads to a target of the exit: [bind:]port:host:port, with /udp behind it for UDP, or unix:path:host:port; may be repeated; only this machine may use it without --allow-lan',
      texts,
    )
    .option(
      '-R, --remote-forward <spec>',
      'port at the exit that leads here: [bind:]port:host:port, with /udp or /proxy-v2 behind it, or [[bind:]port:]socks; may be repeated; the owner of the exit must allow it',
      texts,
    )
    .optionsGroup('Transparent proxies (Linux):')
    .addOption(transparentOption('tproxy', 'connections and datagrams that TPROXY of nftables leads there; needs root'))
    .addOption(transparentOption('redirect', 'connections that REDIRECT of nftables leads there'));
}

const CLIENT_EXAMPLES = `
Examples:
  With the line that the relay printed; it is kept:
    wstun client wstun1_AQDc…
  The next time, or to paste the invite at a prompt:
    wstun client
  With several invites; \`wstun profiles\` lists them:
    wstun client wstun1_AQDc… --as work
    wstun client --as work
  Invisible in ps, and not kept:
    wstun client --invite-file ~/.config/wstun.invite
    WSTUN_INVITE=wstun1_AQDc… wstun client
  Also for other machines:
    wstun client --listen 0.0.0.0:1080 --user me:secret wstun1_AQDc…
  Through a phone on the same Wi-Fi; scan the printed code:
    wstun client wstun1_AQDc… --tether
  Where the network inspects TLS:
    wstun client wstun1_AQDc… --tls-ca company-ca.pem
  Through a proxy that asks for a password:
    wstun client wstun1_AQDc… --proxy http://proxy.corp.example:3128 \\
      --proxy-auth-file ~/.wstun-proxy
  Through a browser on this machine, where a company's proxy wants its login:
    wstun client wstun1_AQDc… --via-browser

  A database of the exit's network, at port 5432 of this machine:
    wstun client -L 5432:db.intra.example:5432
  A web server on this machine, at port 8080 of the exit's:
    wstun client -R 0.0.0.0:8080:127.0.0.1:80
  A name server for this machine's programs:
    wstun client --dns-listen 127.0.0.1:5353

Programs that use the proxy:
  curl -x socks5h://127.0.0.1:1080 https://example.org/
  git -c http.proxy=socks5h://127.0.0.1:1080 clone https://…
  ssh -o ProxyCommand='wstun connect %h %p' host
  chromium --user-data-dir=/tmp/wstun-browser \\
    --proxy-server=socks5://127.0.0.1:1080
  Firefox: Settings, Network Settings: SOCKS v5 host 127.0.0.1, port 1080,
  and "Proxy DNS when using SOCKS v5"`;
