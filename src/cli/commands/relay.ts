/** `wstun relay`: its options, and what `--help` says. */
import { Command, Option } from 'commander';
import {
  addClusterOptions,
  adminOption,
  dnsOption,
  publicAddressOption,
  resumeWindowOption,
  stateOption,
  texts,
  viaOption,
  withConfigOption,
  withOutputOptions,
} from '../command-options.ts';
import { collect, parseCount, parseExternalAccount, parseHostPort, parseReplicas, parseWorkers } from '../options.ts';

export function relayCommand(): Command {
  const command = new Command('relay')
    .description('Run the public server that clients connect to; it connects to targets for them')
    .optionsGroup('Address and state:')
    .option(
      '--listen <host:port>',
      'address to listen on, unless systemd passes sockets; may be repeated (default: 0.0.0.0:8080, with --acme 0.0.0.0:443)',
      collect(parseHostPort),
    )
    .addOption(stateOption('relay'))
    .option(
      '--url <url>',
      'URL by which clients reach this relay, written into invites and remembered: wss://relay.example.org; may be repeated: the first is this relay’s own, and further ones are other relays with the same keys, which clients try too',
      texts,
    )
    .option(
      '--own-url <url>',
      'another URL by which clients reach this relay, not written into invites; may be repeated',
      texts,
    )
    .addOption(adminOption())
    .option('--workers <auto|n>', 'processes that share the work; auto: one for each core (default: 1)', parseWorkers)
    .optionsGroup('TLS:')
    .option('--tls-cert <file>', 'PEM certificate chain; without it, use a TLS reverse proxy in front')
    .option('--tls-key <file>', 'PEM private key')
    .option(
      '--tls-self-signed',
      'TLS without a domain: make a certificate and renew it; invites have the pin of its key, so that clients trust it',
    );
  command.addHelpText('after', RELAY_EXAMPLES).action(async (_options, parsed: Command) => {
    const [{ runRelay }, { settleCommand }] = await Promise.all([import('../relay.ts'), import('../config/roles.ts')]);
    await runRelay(await settleCommand('relay', parsed));
  });
  command.addCommand(relayStatusCommand());
  const all = withClusterOptions(withTargetOptions(withFrontOptions(withAcme(command))));
  return withConfigOption(withOutputOptions(all), 'relay');
}

function relayStatusCommand(): Command {
  const status = new Command('status')
    .description('Show what all relays of a cluster do: their exits, who is on, and by which relay')
    .option('--json', 'print one JSON object for each relay')
    .option('--watch', 'show it again every second, until Ctrl-C');
  return (
    addClusterOptions(status, 'the cluster; without it, as wstun status')
      .addHelpText('after', RELAY_STATUS_EXAMPLES)
      // Wherever they stand, commander takes them for those of `wstun relay`.
      .action(async (_own, parsed: Command) => (await import('../status.ts')).showStatus(parsed.optsWithGlobals()))
  );
}

const RELAY_STATUS_EXAMPLES = `
Examples:
  wstun relay status --cluster nats://nats.example.org`;

function withClusterOptions(command: Command): Command {
  const grouped = command.optionsGroup('Several relays with the same keys:');
  return addClusterOptions(grouped, 'work together with other relays by these NATS servers')
    .option(
      '--cluster-url <url>',
      'with --cluster: URL by which exits and other relays reach this very relay (default: the first --url)',
    )
    .option(
      '--cluster-replicas <n>',
      'with --cluster: copies of what NATS stores, 1 to 5 (default: 3, or 1 where there are fewer servers)',
      parseReplicas,
    );
}

function withFrontOptions(command: Command): Command {
  return command
    .optionsGroup('Who may connect, and what others see:')
    .option('--path <prefix>', 'accept clients only under this path (default: any path)')
    .option(
      '--decoy <dir|url>',
      'what everyone else sees: the files of a directory, or the site of a server such as http://127.0.0.1:8081 (default: a plain 404)',
    )
    .addOption(
      new Option(
        '--trust-proxy <cidr>',
        'believe what proxies at these addresses say in X-Forwarded-For or Forwarded: 10.0.0.0/8, an address, or loopback; may be repeated',
      ).argParser(texts),
    )
    .option('--proxy-protocol', 'connections from --trust-proxy begin with a PROXY protocol header (v1 or v2)')
    .option(
      '--max-pending-per-address <n>',
      'maximum of connections from one public address that are not yet links; 0: no maximum and no penalties (default: 64)',
      parseCount,
    );
}

function withTargetOptions(command: Command): Command {
  return command
    .optionsGroup('Targets and sessions:')
    .option('--no-exit', 'connect to no targets; only forward encrypted data between clients and exits (`wstun exit`)')
    .addOption(dnsOption())
    .addOption(publicAddressOption())
    .addOption(viaOption())
    .addOption(resumeWindowOption());
}

function withAcme(command: Command): Command {
  return command
    .option(
      '--acme <domain>',
      'get a certificate for this name and renew it, which agrees to the terms of the authority; may be repeated',
      texts,
    )
    .option('--acme-email <address>', 'with --acme: where the authority may write to (default: none)')
    .option(
      '--acme-http <host:port>',
      'with --acme: answer the authority over HTTP too; it asks at port 80 (default: only over TLS, at port 443)',
      parseHostPort,
    )
    .option('--acme-directory <url>', 'with --acme: directory of the certificate authority (default: Let’s Encrypt)')
    .option('--acme-ca <file>', 'with --acme: PEM certificates to trust when connecting to the authority')
    .addOption(externalAccountOption());
}

const externalAccountOption = () => {
  const what = 'with --acme: id and key (base64url) of an account that the authority requires';
  return new Option('--acme-eab <id:key>', what).argParser(parseExternalAccount).env('WSTUN_ACME_EAB');
};

const RELAY_EXAMPLES = `
Examples:
  Without a domain:
    wstun relay --tls-self-signed --listen 0.0.0.0:443
  With a certificate from Let's Encrypt, on a machine to which the name leads:
    wstun relay --acme relay.example.org
  With its own certificate:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org \\
      --tls-cert cert.pem --tls-key key.pem
  Behind nginx or Caddy:
    wstun relay --listen 127.0.0.1:8080 --url wss://www.example.org/any/path
  With an ordinary site for everyone who has no invite:
    wstun relay --listen 127.0.0.1:8080 --url wss://www.example.org \\
      --decoy http://127.0.0.1:8081
  Only forward to the exits of \`wstun exit\`:
    wstun relay --no-exit --listen 127.0.0.1:8080 \\
      --url wss://relay.example.org
  One of several relays that share an access list and know each other's exits:
    wstun relay --url wss://a.example.org --cluster nats://nats.example.org
  Print an invite for alice, while the relay is running:
    wstun access add alice

At its first start, a relay creates the access entry "default" and prints the
\`wstun client\` line for it.`;
