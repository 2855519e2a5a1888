/** Options that several commands have in common, and the headings under which `--help` shows them. */
import { type Command, Option } from 'commander';
import { parseCredentials } from '../proxy/credentials.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import {
  collect,
  parseHostPort,
  parseLinkAge,
  parseLinkBytes,
  parseLinks,
  parsePublicAddress,
  parseResumeWindow,
  parseStateDir,
  parseTransparent,
} from './options.ts';
import { addReachOptions } from './reach-flags.ts';

export const configOption = () =>
  new Option(
    '--config <file>',
    'read options that are not given from this file; none: from no file (default: wstun.toml in ~/.config/wstun or /etc/wstun)',
  );
export const jsonOption = () => new Option('--json', 'print one JSON event per line on stdout');
export const verboseOption = () => new Option('-v, --verbose', 'log at debug level, which shows destinations');
const quietOption = () => new Option('-q, --quiet', 'print only what is wrong').conflicts('verbose');
const logFormatOption = () =>
  new Option('--log-format <form>', 'of stderr, one line each (default: json with --json)').choices(['text', 'json']);
export const stateOption = (role: 'relay' | 'exit' | 'either') => {
  const whose = role === 'either' ? 'that of the relay or exit on this machine' : defaultStateDir(role, process.env);
  const option = new Option('--state <dir>', `directory of the keys and the access list (default: ${whose})`);
  return option.argParser(parseStateDir).env('WSTUN_STATE');
};
/** How the NATS servers of a cluster are reached. @param what is done there, for help */
export function addClusterOptions(command: Command, what: string): Command {
  return command
    .addOption(
      new Option('--cluster <url>', `${what}: nats://HOST:4222, or tls:// for TLS; several by commas, may be repeated`)
        .argParser(texts)
        .env('WSTUN_CLUSTER'),
    )
    .addOption(
      new Option(
        '--cluster-name <name>',
        'with --cluster: which one, where the servers have several (default: wstun)',
      ).env('WSTUN_CLUSTER_NAME'),
    )
    .addOption(
      new Option(
        '--cluster-creds <file>',
        'with --cluster: credentials of NATS, as `nsc generate creds` writes them',
      ).env('WSTUN_CLUSTER_CREDS'),
    )
    .addOption(
      new Option('--cluster-ca <file>', 'with --cluster: PEM certificates to trust for the NATS servers').env(
        'WSTUN_CLUSTER_CA',
      ),
    );
}

export const yesOption = (what = 'do not ask for confirmation') => new Option('--yes', what);
export const texts = collect((text) => text);
export const allowOption = (what: string) => new Option('--allow <rule>', what).argParser(texts);
export const listenRuleOption = () =>
  new Option('--listen <rule>', 'let ports at the exit lead to the client: ADDRESS:PORTS; may be repeated').argParser(
    texts,
  );

/** For commander, `--no-listen` would be the opposite of `--listen`, without a value. */
export function noListenRuleOption(): Option {
  const option = new Option('--no-listen <rule>', 'remove this rule of --listen; may be repeated').argParser(texts);
  option.negate = false;
  option.attributeName = () => 'noListen';
  return option;
}

export const dnsOption = () =>
  new Option('--dns <server>', 'name server to use instead of the system’s; may be repeated').argParser(texts);

export const publicAddressOption = () =>
  new Option(
    '--public-address <ip>',
    'public address of this machine, rejected as a target like its other addresses; may be repeated; none: it has none (default: detected)',
  ).argParser(collect(parsePublicAddress));

export const viaOption = () =>
  new Option(
    '--via <url>',
    'proxy through which targets are dialled: http, socks4, socks4a, socks5 or socks5h://[user:pass@]host:port; rules are checked first, on addresses; $WSTUN_VIA hides a password from `ps`',
  );

/** Of each role. */
export const adminOption = () =>
  new Option(
    '--admin <host:port>',
    'address of pages for whoever runs it: GET /healthz, /readyz and /metrics for Prometheus (default: none)',
  ).argParser(parseHostPort);

/** Of a client's proxy. */
export const listenOption = () => {
  const option = new Option('--listen <host:port>', 'address of the proxy').argParser(parseHostPort);
  return option.default({ host: '127.0.0.1', port: 1080 }, '127.0.0.1:1080');
};

export const dnsListenOption = () =>
  new Option(
    '--dns-listen <host:port>',
    'also run a name server there, UDP and TCP, that resolves names at the exit (default: none)',
  ).argParser(parseHostPort);

export const userOption = (what: string) =>
  new Option('--user <name:pass>', what).argParser(parseCredentials).env('WSTUN_USER');

export const resumeWindowOption = () =>
  new Option(
    '--resume-window <s>',
    'how many seconds connections wait for a new link after theirs is lost (default: 120)',
  ).argParser(parseResumeWindow);

export const linksOption = () =>
  new Option(
    '--links <auto|n>',
    'how many links carry the connections, 1 to 8; auto: more than one where packets get lost (default: auto)',
  ).argParser(parseLinks);

export const linkBytesOption = () =>
  new Option(
    '--link-max-bytes <n>',
    'use another link after so many bytes, such as 16KB, where a network stops connections (default: what is learnt)',
  ).argParser(parseLinkBytes);

export const linkAgeOption = () =>
  new Option(
    '--link-max-age <s>',
    'use another link after so many seconds, where a network ends connections (default: what is learnt)',
  ).argParser(parseLinkAge);

export const transportOption = () => {
  const what =
    'what carries links: a WebSocket, or HTTP requests; auto: a WebSocket, and HTTP requests where the network lets none through';
  return new Option('--transport <name>', what).choices(['auto', 'websocket', 'http']).default('auto');
};

export const transparentOption = (name: 'tproxy' | 'redirect', what: string) =>
  new Option(
    `--${name} <port>`,
    `take ${what}; wstun vpn --print shows the rules (HOST:PORT: only that address; default: none)`,
  ).argParser(parseTransparent);

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

export const onceOption = () =>
  new Option(
    '--once',
    'for scripts: end with the exit code of the first failure or, once connected, of the first that lasts 10 s',
  );

export const encryptionOption = () => {
  const what = 'end-to-end encryption; off is possible only over wss:// to the relay’s own exit';
  return new Option('--encryption <on|off>', what).choices(['on', 'off']).default('on');
};

export const runningProxyOption = () =>
  new Option(
    '--listen <host:port>',
    'use the running client whose proxy has this address (default: that of the client that runs, else 127.0.0.1:1080)',
  ).argParser(parseHostPort);

/** For commands that use a running client. */
export const runningProfileOption = (what: string) => new Option('--as <name>', what).conflicts('listen');

export const socksOption = () =>
  new Option('--no-socks', 'leave out ALL_PROXY, for programs that fail when they find SOCKS there');

/** For commands that start a client of their own where none runs. */
export function withOwnClient(command: Command): Command {
  const what = 'start one in any case, with the invite in this file (- for standard input)';
  return withClientOptions(command.optionsGroup('If no client runs, one is started:'), what);
}

/** For commands that start a client of their own. @param inviteFile what that option does */
export function withClientOptions(command: Command, inviteFile: string): Command {
  const option = new Option('--invite-file <file>', inviteFile).conflicts(['as', 'listen']);
  return withWayOptions(command.addOption(option).addOption(transportOption()));
}

/** Headings of `--help`: of commands, and of options. */
export const HELP_GROUP = 'Help and shell:';
export const SESSION_GROUP = 'Session and links:';
export const WAY_GROUP = 'Way to the relay:';

/** What a client and an exit have in common. */
export function withWayOptions(command: Command): Command {
  for (const option of proxyOptions()) command.addOption(option);
  return addReachOptions(command.optionsGroup('TLS, HTTP and TCP to the relay:'));
}

export function withOutputOptions(command: Command): Command {
  const options = [jsonOption(), logFormatOption(), quietOption(), verboseOption()];
  command.optionsGroup('Output:');
  for (const option of options) command.addOption(option);
  return command;
}

/** For commands whose options may also come from `wstun.toml` and from the environment. */
export function withConfigOption(command: Command, role: string): Command {
  return command
    .optionsGroup('Configuration:')
    .addOption(configOption())
    .addHelpText(
      'after',
      `
Options may also come from wstun.toml and from the environment: --listen is
listen in [${role}] there, and WSTUN_LISTEN here (docs/config.md).`,
    );
}
