/**
 * The command line: which commands and options there are, and how the process ends. What a command does is in the file
 * of its name, loaded only when it runs, so that `--help` is quick.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { WstunError } from '../errors.ts';
import { parseCredentials } from '../proxy/credentials.ts';
import {
  collect,
  parseCount,
  parseHostPort,
  parsePublicAddress,
  parseResumeWindow,
  parseStateDir,
  parseTether,
} from './options.ts';
import { isTold } from './output.ts';
import { understandPaste, withoutSecrets } from './pasted-arguments.ts';
import { tuneMemory } from './runtime.ts';

/** Never rejects. A fault ends the process, with the exit code of its class (docs/errors.md, "Exit codes"). */
export async function main(argv: readonly string[]): Promise<void> {
  tuneMemory();
  const args = argv.slice(2);
  // As with XDG_STATE_HOME: a variable that is empty says nothing.
  if (process.env.WSTUN_STATE === '') delete process.env.WSTUN_STATE;
  // A reader that goes away (`wstun access list | head`, a closed terminal) is no fault of ours, and ends nothing that
  // runs.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {});
  try {
    await buildProgram(args).parseAsync(understandPaste(args), { from: 'user' });
  } catch (error) {
    const code = report(error, args);
    await resetsAreOut();
    // Not only the exit code: a listener that is left must not keep a failed command alive.
    process.exit(code);
  }
}

/**
 * Streams tell their sockets of a cut in events, which take a few turns; the kernel would end what is left of a process
 * that is gone cleanly, and half a download would pass for a whole one.
 */
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
    .description('Carries TCP connections through networks that only let web traffic out.')
    .version(readVersion())
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', PROGRAM_EXAMPLES);
  program.addCommand(clientCommand());
  program.addCommand(relayCommand());
  program.addCommand(exitCommand());
  program.addCommand(accessCommand());
  program.addCommand(keysCommand());
  program.addCommand(quickstartCommand());
  configure(program, args);
  return program;
}

/** Commander hands none of these down to commands that were made apart. */
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

const jsonOption = () => new Option('--json', 'print one JSON event a line on stdout');
const verboseOption = () => new Option('-v, --verbose', 'log at debug level; shows destinations');
const stateOption = (role: 'relay' | 'exit' | 'either') => {
  const whose = role === 'either' ? 'that of the relay or the exit of this machine' : `$XDG_STATE_HOME/wstun/${role}`;
  const option = new Option('--state <dir>', `keys and access list (default: ${whose})`);
  return option.argParser(parseStateDir).env('WSTUN_STATE');
};
const yesOption = () => new Option('--yes', 'ask nothing, not even on a terminal');
const allowOption = (what: string) => new Option('--allow <rule>', what).argParser(collect((text) => text));
const dnsOption = () =>
  new Option('--dns <server>', 'name server instead of the system’s; may be given several times').argParser(
    collect((text) => text),
  );

const publicAddressOption = () =>
  new Option(
    '--public-address <ip>',
    'public address of this machine, refused like its others; may be given several times; none: it has none (default: learnt)',
  ).argParser(collect(parsePublicAddress));

const resumeWindowOption = () =>
  new Option('--resume-window <s>', 'how long connections wait for a lost link, in seconds (default: 120)').argParser(
    parseResumeWindow,
  );

/** Whatever was pasted: the invite is found in it. */
function pasted(given: readonly string[]): string | undefined {
  return given.length === 0 ? undefined : given.join(' ');
}

const onceOption = () =>
  new Option(
    '--once',
    'for scripts: end with the exit code of the first failure, or, once connected, of the first that lasts 10 s',
  );

function clientCommand(): Command {
  return new Command('client')
    .description('offers a SOCKS5, SOCKS4a and HTTP proxy here, and carries its connections to the relay of an invite')
    .argument('[invite...]', 'the line that `wstun access add` printed; others on this machine can see it in `ps`')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(new Option('--listen <host:port>', 'where programs find the proxy').default('127.0.0.1:1080'))
    .addOption(
      new Option('--user <name:pass>', 'ask programs for this user and password')
        .argParser(parseCredentials)
        .env('WSTUN_USER'),
    )
    .addOption(
      new Option('--encryption <on|off>', 'off only over wss:// to the relay’s own exit')
        .choices(['on', 'off'])
        .default('on'),
    )
    .option('--allow-lan', 'listen beyond this machine without a user and password')
    .addOption(resumeWindowOption())
    .addOption(onceOption())
    .option(
      '--tether [host:port]',
      'let a phone carry it: its browser opens a page of this machine (default: its local address as it is, port 8808)',
    )
    .option('--no-direct', 'with --tether: by the phone alone, also where the relay can be reached from here')
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', CLIENT_EXAMPLES)
    .action(async (given: readonly string[], options) => {
      const { runClient } = await import('./client.ts');
      const { invite, tether } = parseTether(pasted(given), options.tether);
      await runClient({ ...options, invite, tether, listen: parseHostPort(options.listen) });
    });
}

function relayCommand(): Command {
  return new Command('relay')
    .description('meets clients on a public address, and dials for them')
    .addOption(
      new Option(
        '--listen <host:port>',
        'where to listen, unless sockets were passed on (systemd); may be given several times (default: 0.0.0.0:8080)',
      ).argParser(collect(parseHostPort)),
    )
    .addOption(stateOption('relay'))
    .option('--url <url>', 'how clients reach this relay, for its invites: wss://relay.example.org; it is remembered')
    .option('--path <prefix>', 'answer only under this path (default: under any)')
    .option('--tls-cert <file>', 'PEM certificate chain; without it, put a TLS reverse proxy in front')
    .option('--tls-key <file>', 'PEM private key')
    .addOption(new Option('--admin <host:port>', 'health page (GET /healthz)').argParser(parseHostPort))
    .addOption(dnsOption())
    .addOption(publicAddressOption())
    .addOption(
      new Option(
        '--max-pending-per-address <n>',
        'connections of one public address that are no links; 0: no such bound, nor penalties (default: 64)',
      ).argParser(parseCount),
    )
    .option('--no-exit', 'dial nothing from here: only carry, unread, between clients and the exits of `wstun exit`')
    .addOption(resumeWindowOption())
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', RELAY_EXAMPLES)
    .action(async (options) => {
      const { runRelay } = await import('./relay.ts');
      await runRelay({ ...options, listen: options.listen ?? [{ host: '0.0.0.0', port: 8080 }] });
    });
}

function exitCommand(): Command {
  return new Command('exit')
    .description('dials for the clients that it invites itself, behind a relay that can read nothing of it')
    .argument('[invite...]', 'the line that `wstun access add NAME --role exit` printed at the relay; needed once')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(stateOption('exit'))
    .addOption(yesOption())
    .addOption(dnsOption())
    .addOption(publicAddressOption())
    .addOption(resumeWindowOption())
    .addOption(onceOption())
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', EXIT_EXAMPLES)
    .action(async (given: readonly string[], options) => {
      const { runExit } = await import('./exit.ts');
      await runExit({ ...options, invite: pasted(given) });
    });
}

function accessCommand(): Command {
  const access = new Command('access')
    .description('who may use the relay, or an exit')
    .addHelpText('after', ACCESS_EXAMPLES);
  for (const sub of [accessAdd(), accessList(), accessSet(), accessRenew(), accessRemove()]) access.addCommand(sub);
  return access;
}

function accessAdd(): Command {
  return new Command('add')
    .description('adds a name and prints its invite, and only that, on stdout: it is a secret, shown once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option('--url <url>', 'the relay’s URL in the invite (default: that of the last `wstun relay`)')
    .addOption(
      new Option('--role <role>', 'exit: lets an exit register here under the name')
        .choices(['client', 'exit'])
        .default('client'),
    )
    .addOption(allowOption('opens more than public addresses; may be given several times'))
    .option('--sessions <n>', 'sessions at once (default: 8)')
    .option('--rate <rate>', 'bits a second in each direction, as 20mbit (default: no limit)')
    .option('--quota <bytes>', 'bytes a month in both directions together, as 100GB (default: no limit)')
    .addOption(yesOption())
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('./access.ts')).addAccess(name, options));
}

function accessList(): Command {
  return new Command('list')
    .description('prints the names, and what is open to them')
    .addOption(stateOption('either'))
    .option('--json', 'print all of it as one JSON list')
    .action(async (options) => (await import('./access.ts')).listAccess(options));
}

function accessSet(): Command {
  return new Command('set')
    .description('changes what is open to a name, and its limits; its invite stays, and its sessions go on')
    .argument('<name>')
    .addOption(stateOption('either'))
    .addOption(allowOption('opens this too; may be given several times'))
    .addOption(
      new Option('--disallow <rule>', 'takes back what was opened; may be given several times').argParser(
        collect((text) => text),
      ),
    )
    .option('--sessions <n>', 'sessions at once; none: the default of 8')
    .option('--rate <rate>', 'bits a second in each direction, as 20mbit; none: no limit')
    .option('--quota <bytes>', 'bytes a month in both directions together, as 100GB; none: no limit')
    .addHelpText('after', ACCESS_EXAMPLES)
    .action(async (name: string, options) => (await import('./access.ts')).setAccess(name, options));
}

function accessRenew(): Command {
  return new Command('renew')
    .description('prints a new invite for a name that is there, and only that; the one before is void at once')
    .argument('<name>')
    .addOption(stateOption('either'))
    .option('--url <url>', 'the relay’s URL in the invite (default: that of the last `wstun relay`)')
    .addOption(yesOption())
    .action(async (name: string, options) => (await import('./access.ts')).renewAccess(name, options));
}

function accessRemove(): Command {
  return new Command('remove')
    .description('removes a name; its sessions end within two seconds')
    .argument('<name>')
    .addOption(stateOption('either'))
    .action(async (name: string, options) => (await import('./access.ts')).removeAccess(name, options));
}

function keysCommand(): Command {
  const keys = new Command('keys').description('the keys of a relay or an exit').addHelpText('after', KEYS_EXAMPLES);
  keys.addCommand(
    new Command('rotate')
      .description('makes new keys and prints the names whose invites are void; those say why for 30 days')
      .addOption(stateOption('either'))
      .addOption(yesOption())
      .option('--dry-run', 'say what it would do, and change nothing')
      .option('--forget', 'keep none of the old keys: old invites are refused as a stranger’s')
      .addHelpText('after', KEYS_EXAMPLES)
      .action(async (options) => (await import('./keys.ts')).rotate(options)),
  );
  return keys;
}

function quickstartCommand(): Command {
  return new Command('quickstart')
    .description('a relay, a client and a page to fetch, all on this machine: to see it work')
    .addOption(new Option('--listen <host:port>', 'where the proxy is').default('127.0.0.1:1080'))
    .addOption(jsonOption())
    .addOption(verboseOption())
    .addHelpText('after', QUICKSTART_EXAMPLES)
    .action(async (options) => {
      const { runQuickstart } = await import('./quickstart.ts');
      await runQuickstart({ ...options, listen: parseHostPort(options.listen) });
    });
}

/** What stands on a line with a command is pasted with it: what a command is for stands above it. */
const PROGRAM_EXAMPLES = `
Examples:
  On the server:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org --tls-cert cert.pem --tls-key key.pem
  On the laptop:
    wstun client wstun1_…
  And then:
    curl -x socks5h://127.0.0.1:1080 https://example.org/
  To try it here:
    wstun quickstart

Or with an exit elsewhere, at home say, of which the relay can read nothing:
  On the server:
    wstun access add home --role exit
  At home:
    wstun exit wstun1_…
    wstun access add alice --state ~/.local/state/wstun/exit`;

const CLIENT_EXAMPLES = `
Examples:
  With the line that the relay printed:
    wstun client wstun1_AQDc…
  Not seen in ps:
    wstun client --invite-file ~/.config/wstun.invite
    WSTUN_INVITE=wstun1_AQDc… wstun client
  For other machines too:
    wstun client --listen 0.0.0.0:1080 --user me:secret wstun1_AQDc…
  Through a phone on the same Wi-Fi; scan the code that it prints:
    wstun client wstun1_AQDc… --tether

Programs:
  curl -x socks5h://127.0.0.1:1080 https://example.org/
  git -c http.proxy=socks5h://127.0.0.1:1080 clone https://…
  ssh -o ProxyCommand='nc -X 5 -x 127.0.0.1:1080 %h %p' host
  chromium --user-data-dir=/tmp/wstun-browser --proxy-server=socks5://127.0.0.1:1080
  Firefox: Settings, Network Settings, SOCKS v5 host 127.0.0.1 port 1080, "Proxy DNS when using SOCKS v5"`;

const RELAY_EXAMPLES = `
Examples:
  With a certificate of its own:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org --tls-cert cert.pem --tls-key key.pem
  Behind nginx or Caddy:
    wstun relay --listen 127.0.0.1:8080 --url wss://www.example.org/any/path
  Only forwards, for \`wstun exit\`:
    wstun relay --no-exit --listen 127.0.0.1:8080 --url wss://relay.example.org
  Prints an invite for alice, while the relay runs:
    wstun access add alice

At its first start a relay makes an access entry "default" and prints the whole \`wstun client\` line for it.`;

const EXIT_EXAMPLES = `
Examples:
  At the relay, prints the invite for the exit:
    wstun access add home --role exit
  At home; it is remembered, so later just \`wstun exit\`:
    wstun exit wstun1_AQDc…
  At home, prints an invite for alice; --state only where a relay has keys on this machine, too:
    wstun access add alice
    wstun access add alice --state ~/.local/state/wstun/exit
  With a state directory and a name server of its own:
    wstun exit --state /var/lib/wstun-exit --dns 10.0.0.53

Who dials hands out the invites: the relay's owner need not know of alice, and cannot read what she does.`;

const ACCESS_EXAMPLES = `
Examples:
  Public addresses alone:
    wstun access add alice
  More than these:
    wstun access add bob --allow 10.0.0.0/8:22,80,8000-8999 --allow '[fd00::/8]:443'
    wstun access add carol --allow intranet.example:443 --allow '*.corp.example'
  Everything but the relay itself:
    wstun access add dave --allow '*'
  For \`wstun exit\`, which then has its own list:
    wstun access add home --role exit
  More for alice, or less; her invite stays:
    wstun access set alice --allow 10.0.0.0/8:22 --rate 20mbit --quota none
  Alice has lost her invite, or the keys were rotated:
    wstun access renew alice
  Alice may come no more:
    wstun access remove alice

Rules: CIDR|IP|name|*.name[:ports], IPv6 in brackets, ports as list and ranges, * for all.`;

const KEYS_EXAMPLES = `
Examples:
  Of the relay or the exit of this machine; takes effect while it runs:
    wstun keys rotate
  Who would need a new invite:
    wstun keys rotate --dry-run
  Of an exit beside a relay:
    wstun keys rotate --state ~/.local/state/wstun/exit
  And a new invite for everybody, each in a file:
    umask 077; for name in $(wstun keys rotate); do wstun access renew --yes "$name" >"$name.invite"; done`;

const QUICKSTART_EXAMPLES = `
Examples:
  wstun quickstart
  When something else has port 1080:
    wstun quickstart --listen 127.0.0.1:1090`;
