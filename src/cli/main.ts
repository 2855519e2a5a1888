/** The command line: commands, options, how the process ends. Commands are loaded when they run: --help is quick. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { tuneMemory } from '../app/memory-tuning.ts';
import { WstunError } from '../errors.ts';
import { parseCredentials } from '../proxy/credentials.ts';
import {
  collect,
  parseCount,
  parseExternalAccount,
  parseHostPort,
  parseLinkAge,
  parseLinkBytes,
  parseLinks,
  parsePublicAddress,
  parseResumeWindow,
  parseStateDir,
  parseTether,
  parseViaBrowser,
} from './options.ts';
import { isTold } from './output.ts';
import { understandPaste, withoutSecrets } from './pasted-arguments.ts';
import { addReachOptions } from './reach-options.ts';

/** Never rejects. A fault ends the process, with the exit code of its class (docs/errors.md, "Exit codes"). */
export async function main(argv: readonly string[]): Promise<void> {
  tuneMemory();
  const args = argv.slice(2);
  // An empty variable counts as absent, as with XDG_STATE_HOME.
  if (process.env.WSTUN_STATE === '') delete process.env.WSTUN_STATE;
  // A reader that goes away (`wstun access list | head`, a closed terminal) must end nothing that runs.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {});
  try {
    await buildProgram(args).parseAsync(understandPaste(args), { from: 'user' });
  } catch (error) {
    const code = report(error, args);
    await resetsAreOut();
    // Not just the exit code: a listener that is left must not keep a failed command alive.
    process.exit(code);
  }
}

/** Sockets are reset some turns later, in events. The kernel closes the rest cleanly: half a file looks complete. */
async function resetsAreOut(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
}

/** One line for a person, never a stack trace. */
function report(error: unknown, args: readonly string[]): number {
  // Commander has printed its own message by now; its code 0 is --help and --version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const fault = error instanceof WstunError ? error : new WstunError('internal', String(error));
  if (!isTold(error)) process.stderr.write(`wstun: ${withoutSecrets(fault.message, args)}\n`);
  return fault.exitCode;
}

function buildProgram(args: readonly string[]): Command {
  const program = new Command('wstun')
    .description('A TCP tunnel for networks that allow only web traffic.')
    .version(readVersion())
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', PROGRAM_EXAMPLES);
  const commands = [clientCommand, relayCommand, exitCommand, accessCommand, keysCommand, quickstartCommand];
  for (const command of commands) program.addCommand(command());
  configure(program, args);
  return program;
}

/** Commander does not pass these settings on to commands that were created separately. */
function configure(command: Command, args: readonly string[]): void {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeErr: (text) => process.stderr.write(withoutSecrets(text, args)) });
  for (const sub of command.commands) configure(sub, args);
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}

const jsonOption = () => new Option('--json', 'print one JSON event per line on stdout');
const verboseOption = () => new Option('-v, --verbose', 'log at debug level, which shows destinations');
const stateOption = (role: 'relay' | 'exit' | 'either') => {
  const whose = role === 'either' ? 'that of the relay or exit on this machine' : `$XDG_STATE_HOME/wstun/${role}`;
  const option = new Option('--state <dir>', `directory of the keys and the access list (default: ${whose})`);
  return option.argParser(parseStateDir).env('WSTUN_STATE');
};
const yesOption = () => new Option('--yes', 'do not ask for confirmation');
const texts = collect((text) => text);
const allowOption = (what: string) => new Option('--allow <rule>', what).argParser(texts);
const dnsOption = () =>
  new Option('--dns <server>', 'name server to use instead of the system’s; may be repeated').argParser(texts);

const publicAddressOption = () =>
  new Option(
    '--public-address <ip>',
    'public address of this machine, rejected as a target like its other addresses; may be repeated; none: it has none (default: detected)',
  ).argParser(collect(parsePublicAddress));

const viaOption = () =>
  new Option(
    '--via <url>',
    'proxy through which targets are dialled: http, socks4, socks4a, socks5 or socks5h://[user:pass@]host:port; rules are checked first, on addresses; $WSTUN_VIA hides a password from `ps`',
  );

const resumeWindowOption = () =>
  new Option(
    '--resume-window <s>',
    'how many seconds connections wait for a new link after theirs is lost (default: 120)',
  ).argParser(parseResumeWindow);

const linksOption = () =>
  new Option(
    '--links <auto|n>',
    'how many links carry the connections, 1 to 8; auto: more than one where packets get lost (default: auto)',
  ).argParser(parseLinks);

const linkBytesOption = () =>
  new Option(
    '--link-max-bytes <n>',
    'use another link after so many bytes, such as 16KB, where a network stops connections (default: what is learnt)',
  ).argParser(parseLinkBytes);

const linkAgeOption = () =>
  new Option(
    '--link-max-age <s>',
    'use another link after so many seconds, where a network ends connections (default: what is learnt)',
  ).argParser(parseLinkAge);

const transportOption = () => {
  const what =
    'what carries links: a WebSocket, or HTTP requests; auto: a WebSocket, and HTTP requests where the network lets none through';
  return new Option('--transport <name>', what).choices(['auto', 'websocket', 'http']).default('auto');
};

const proxyOptions = () => [
  new Option(
    '--proxy <url>',
    'proxy through which the relay is reached: http, https, socks4, socks4a, socks5 or socks5h://[user:pass@]host:port, pac+https://… or pac+file:/…, env or none; others can see a password here in `ps`, but not in $WSTUN_PROXY (default: env, what https_proxy, all_proxy and no_proxy say)',
  ),
  new Option('--proxy-auth-file <file>', 'user:password for the proxy, one line in a file that only you can read'),
  new Option(
    '--proxy-auth-command <cmd>',
    'shell command that prints the value of Proxy-Authorization, for Negotiate (Kerberos) and other schemes',
  ),
];

/** Whatever was pasted: the invite is found in it. */
function pasted(given: readonly string[]): string | undefined {
  return given.length === 0 ? undefined : given.join(' ');
}

const onceOption = () =>
  new Option(
    '--once',
    'for scripts: end with the exit code of the first failure or, once connected, of the first that lasts 10 s',
  );

const externalAccountOption = () => {
  const what = 'with --acme: id and key (base64url) of an account that the authority requires';
  return new Option('--acme-eab <id:key>', what).argParser(parseExternalAccount).env('WSTUN_ACME_EAB');
};

const userOption = () => {
  const option = new Option('--user <name:pass>', 'require this user name and password');
  return option.argParser(parseCredentials).env('WSTUN_USER');
};

const encryptionOption = () => {
  const what = 'end-to-end encryption; off is possible only over wss:// to the relay’s own exit';
  return new Option('--encryption <on|off>', what).choices(['on', 'off']).default('on');
};

function clientCommand(): Command {
  const command = new Command('client')
    .description('run a local SOCKS5, SOCKS4a and HTTP proxy that sends its connections through the relay of an invite')
    .argument('[invite...]', 'the line that `wstun access add` printed; other users of this machine can see it in `ps`')
    .optionsGroup('Invite and local proxy:')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(new Option('--listen <host:port>', 'address of the proxy').default('127.0.0.1:1080'))
    .addOption(userOption())
    .option('--allow-lan', 'let other machines use the proxy without a user name and password')
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
    .action(async (given: readonly string[], options) => {
      const { runClient } = await import('./client.ts');
      const { invite: found, tether } = parseTether(pasted(given), options.tether);
      const { invite, viaBrowser } = parseViaBrowser(found, options.viaBrowser);
      await runClient({ ...options, invite, tether, viaBrowser, listen: parseHostPort(options.listen) });
    });
  return withOutputOptions(withWayOptions(command));
}

/** Headings of `--help`. */
const SESSION_GROUP = 'Session and links:';
const WAY_GROUP = 'Way to the relay:';

/** What a client and an exit have in common. */
function withWayOptions(command: Command): Command {
  for (const option of proxyOptions()) command.addOption(option);
  return addReachOptions(command.optionsGroup('TLS, HTTP and TCP to the relay:'));
}

function withOutputOptions(command: Command): Command {
  return command.optionsGroup('Output:').addOption(jsonOption()).addOption(verboseOption());
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

function relayCommand(): Command {
  const command = new Command('relay')
    .description('run the public server that clients connect to; it connects to targets for them')
    .optionsGroup('Address and state:')
    .option(
      '--listen <host:port>',
      'address to listen on, unless systemd passes sockets; may be repeated (default: 0.0.0.0:8080, with --acme 0.0.0.0:443)',
      collect(parseHostPort),
    )
    .addOption(stateOption('relay'))
    .option(
      '--url <url>',
      'URL by which clients reach this relay, written into invites and remembered: wss://relay.example.org; may be repeated, clients try them in turn',
      texts,
    )
    .option('--admin <host:port>', 'address of the health page (GET /healthz)', parseHostPort)
    .optionsGroup('TLS:')
    .option('--tls-cert <file>', 'PEM certificate chain; without it, use a TLS reverse proxy in front')
    .option('--tls-key <file>', 'PEM private key')
    .option(
      '--tls-self-signed',
      'TLS without a domain: make a certificate and renew it; invites have the pin of its key, so that clients trust it',
    );
  return withOutputOptions(withTargetOptions(withFrontOptions(withAcme(command))))
    .addHelpText('after', RELAY_EXAMPLES)
    .action(async (options) => {
      const { runRelay } = await import('./relay.ts');
      const port = options.acme === undefined ? 8080 : 443;
      await runRelay({ ...options, listen: options.listen ?? [{ host: '0.0.0.0', port }] });
    });
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

function exitCommand(): Command {
  const command = new Command('exit')
    .description('connect to targets for clients that you invite; the relay in between cannot read the data')
    .argument('[invite...]', 'the line that `wstun access add NAME --role exit` printed at the relay; needed only once')
    .optionsGroup('Invite and state:')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(stateOption('exit'))
    .addOption(yesOption())
    .optionsGroup('Targets and sessions:')
    .addOption(dnsOption())
    .addOption(publicAddressOption())
    .addOption(viaOption())
    .addOption(resumeWindowOption())
    .addOption(onceOption())
    .optionsGroup(WAY_GROUP)
    .addOption(transportOption())
    .addHelpText('after', EXIT_EXAMPLES)
    .action(async (given: readonly string[], options) => {
      const { runExit } = await import('./exit.ts');
      await runExit({ ...options, invite: pasted(given) });
    });
  return withOutputOptions(withWayOptions(command));
}

function accessCommand(): Command {
  const access = new Command('access')
    .description('manage who may use a relay or an exit')
    .addHelpText('after', ACCESS_EXAMPLES);
  for (const sub of [accessAdd(), accessList(), accessSet(), accessRenew(), accessRemove()]) access.addCommand(sub);
  return access;
}

function accessAdd(): Command {
  return new Command('add')
    .description('add a name and print only its invite on stdout: a secret that is shown once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option(
      '--url <url>',
      'URL of the relay in the invite; may be repeated (default: those of the last `wstun relay`)',
      texts,
    )
    .addOption(
      new Option('--role <role>', 'exit: let an exit register here under this name')
        .choices(['client', 'exit'])
        .default('client'),
    )
    .addOption(allowOption('allow these targets in addition to public addresses; may be repeated'))
    .option('--sessions <n>', 'maximum number of sessions at the same time (default: 8)')
    .option('--rate <rate>', 'bits per second in each direction, such as 20mbit (default: no limit)')
    .option('--quota <bytes>', 'bytes per month in both directions together, such as 100GB (default: no limit)')
    .addOption(yesOption())
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('./access.ts')).addAccess(name, options));
}

function accessList(): Command {
  return new Command('list')
    .description('print the names with their rules, limits and use')
    .addOption(stateOption('either'))
    .option('--json', 'print one JSON list')
    .action(async (options) => (await import('./access.ts')).listAccess(options));
}

function accessSet(): Command {
  return new Command('set')
    .description('change the rules and limits of a name; its invite stays valid and its sessions continue')
    .argument('<name>')
    .addOption(stateOption('either'))
    .addOption(allowOption('allow these targets too; may be repeated'))
    .option('--disallow <rule>', 'remove this rule; may be repeated', texts)
    .option('--sessions <n>', 'maximum number of sessions at the same time; none: the default of 8')
    .option('--rate <rate>', 'bits per second in each direction, such as 20mbit; none: no limit')
    .option('--quota <bytes>', 'bytes per month in both directions together, such as 100GB; none: no limit')
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('./access.ts')).setAccess(name, options));
}

function accessRenew(): Command {
  return new Command('renew')
    .description('print only a new invite for an existing name on stdout; the old invite is revoked at once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option(
      '--url <url>',
      'URL of the relay in the invite; may be repeated (default: those of the last `wstun relay`)',
      texts,
    )
    .addOption(yesOption())
    .action(async (name: string, options) => (await import('./access.ts')).renewAccess(name, options));
}

function accessRemove(): Command {
  return new Command('remove')
    .description('remove a name; its sessions end within two seconds')
    .argument('<name>')
    .addOption(stateOption('either'))
    .action(async (name: string, options) => (await import('./access.ts')).removeAccess(name, options));
}

function keysCommand(): Command {
  const keys = new Command('keys')
    .description('manage the keys of a relay or an exit')
    .addHelpText('after', KEYS_EXAMPLES);
  keys.addCommand(
    new Command('rotate')
      .description(
        'make new keys and print the names that need new invites; for 30 days, the old invites report why they fail',
      )
      .addOption(stateOption('either'))
      .addOption(yesOption())
      .option('--dry-run', 'print what would be done, and change nothing')
      .option('--forget', 'keep none of the old keys: old invites then fail like unknown ones')
      .addHelpText('after', KEYS_EXAMPLES)
      .action(async (options) => (await import('./keys.ts')).rotate(options)),
  );
  return keys;
}

function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('try wstun: run a relay, a client and a test page on this machine')
    .addOption(new Option('--listen <host:port>', 'address of the proxy').default('127.0.0.1:1080'))
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', QUICKSTART_EXAMPLES)
    .action(async (options) => {
      const { runQuickstart } = await import('./quickstart.ts');
      await runQuickstart({ ...options, listen: parseHostPort(options.listen) });
    });
}

/** A line with a command is pasted whole, so what the command is for is on the line above it. */
const PROGRAM_EXAMPLES = `
Examples:
  On the server:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org --tls-cert cert.pem --tls-key key.pem
  On the laptop:
    wstun client wstun1_…
  Then:
    curl -x socks5h://127.0.0.1:1080 https://example.org/
  To try it on this machine:
    wstun quickstart

With your own exit, for example at home, whose data the relay cannot read:
  On the server:
    wstun access add home --role exit
  At home:
    wstun exit wstun1_…
    wstun access add alice --state ~/.local/state/wstun/exit`;

const CLIENT_EXAMPLES = `
Examples:
  With the line that the relay printed:
    wstun client wstun1_AQDc…
  Invisible in ps:
    wstun client --invite-file ~/.config/wstun.invite
    WSTUN_INVITE=wstun1_AQDc… wstun client
  Also for other machines:
    wstun client --listen 0.0.0.0:1080 --user me:secret wstun1_AQDc…
  Through a phone on the same Wi-Fi; scan the printed code:
    wstun client wstun1_AQDc… --tether
  Where the network inspects TLS:
    wstun client wstun1_AQDc… --tls-ca company-ca.pem
  Through a proxy that asks for a password:
    wstun client wstun1_AQDc… --proxy http://proxy.corp.example:3128 --proxy-auth-file ~/.wstun-proxy
  Through a browser on this machine, where a company's proxy wants its login:
    wstun client wstun1_AQDc… --via-browser

Programs:
  curl -x socks5h://127.0.0.1:1080 https://example.org/
  git -c http.proxy=socks5h://127.0.0.1:1080 clone https://…
  ssh -o ProxyCommand='nc -X 5 -x 127.0.0.1:1080 %h %p' host
  chromium --user-data-dir=/tmp/wstun-browser --proxy-server=socks5://127.0.0.1:1080
  Firefox: Settings, Network Settings, SOCKS v5 host 127.0.0.1 port 1080, "Proxy DNS when using SOCKS v5"`;

const RELAY_EXAMPLES = `
Examples:
  Without a domain:
    wstun relay --tls-self-signed --listen 0.0.0.0:443
  With a certificate from Let's Encrypt, on a machine to which the name leads:
    wstun relay --acme relay.example.org
  With its own certificate:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org --tls-cert cert.pem --tls-key key.pem
  Behind nginx or Caddy:
    wstun relay --listen 127.0.0.1:8080 --url wss://www.example.org/any/path
  With an ordinary site for everyone who has no invite:
    wstun relay --listen 127.0.0.1:8080 --url wss://www.example.org --decoy http://127.0.0.1:8081
  Only forward to the exits of \`wstun exit\`:
    wstun relay --no-exit --listen 127.0.0.1:8080 --url wss://relay.example.org
  Print an invite for alice, while the relay is running:
    wstun access add alice

At its first start, a relay creates the access entry "default" and prints the \`wstun client\` line for it.`;

const EXIT_EXAMPLES = `
Examples:
  At the relay, print the invite for the exit:
    wstun access add home --role exit
  At home; the invite is remembered, so later \`wstun exit\` is enough:
    wstun exit wstun1_AQDc…
  At home, print an invite for alice; --state is needed only if this machine also has a relay's keys:
    wstun access add alice
    wstun access add alice --state ~/.local/state/wstun/exit
  With another state directory and name server:
    wstun exit --state /var/lib/wstun-exit --dns 10.0.0.53

The owner of the exit issues the invites. The owner of the relay need not know alice, and cannot read her data.`;

const ACCESS_EXAMPLES = `
Examples:
  Only public addresses:
    wstun access add alice
  Additional targets:
    wstun access add bob --allow 10.0.0.0/8:22,80,8000-8999 --allow '[fd00::/8]:443'
    wstun access add carol --allow intranet.example:443 --allow '*.corp.example'
  Everything except the relay itself:
    wstun access add dave --allow '*'
  For \`wstun exit\`, which has its own access list:
    wstun access add home --role exit
  Change what alice may do; her invite stays valid:
    wstun access set alice --allow 10.0.0.0/8:22 --rate 20mbit --quota none
  Alice lost her invite, or the keys were rotated:
    wstun access renew alice
  Remove alice:
    wstun access remove alice

Rules: CIDR|IP|name|*.name[:ports], IPv6 in brackets, ports as a list with ranges, * for everything.`;

const KEYS_EXAMPLES = `
Examples:
  Of the relay or exit on this machine, also while it is running:
    wstun keys rotate
  See who would need a new invite:
    wstun keys rotate --dry-run
  Of an exit on a machine that also has a relay:
    wstun keys rotate --state ~/.local/state/wstun/exit
  With a new invite for every name, each in its own file:
    umask 077; for name in $(wstun keys rotate); do wstun access renew --yes "$name" >"$name.invite"; done`;

const QUICKSTART_EXAMPLES = `
Examples:
  wstun quickstart
  If another program uses port 1080:
    wstun quickstart --listen 127.0.0.1:1090`;
