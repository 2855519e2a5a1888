/** The command line: commands, options, how the process ends. Commands are loaded when they run: --help is quick. */
import { Command, CommanderError } from 'commander';
import { tuneMemory } from '../app/memory-tuning.ts';
import { readBuild } from '../app/version.ts';
import { onLongWait } from '../async/long-wait.ts';
import { WstunError } from '../errors.ts';
import { accessCommand } from './commands/access.ts';
import { browserCommand } from './commands/browser.ts';
import { clientCommand } from './commands/client.ts';
import { completionsCommand } from './commands/completions.ts';
import { configCommand } from './commands/config.ts';
import { connectCommand } from './commands/connect.ts';
import { doctorCommand } from './commands/doctor.ts';
import { envCommand } from './commands/env.ts';
import { exitCommand } from './commands/exit.ts';
import { explainCommand } from './commands/explain.ts';
import { helpCommand } from './commands/help.ts';
import { keysCommand } from './commands/keys.ts';
import { manCommand } from './commands/man.ts';
import { forgetCommand, profilesCommand } from './commands/profiles.ts';
import { quickstartCommand } from './commands/quickstart.ts';
import { relayCommand } from './commands/relay.ts';
import { runCommand } from './commands/run.ts';
import { pingCommand, statusCommand } from './commands/status.ts';
import { versionCommand } from './commands/version.ts';
import { vpnCommand } from './commands/vpn.ts';
import { configureHelp } from './help-format.ts';
import { holdsInvite, withoutSecrets } from './secret-arguments.ts';
import { safeLines, safeText } from './terminal/safe-text.ts';
import { isTold, markTold } from './told.ts';
import { versionLine } from './version.ts';

/** Never rejects. A fault ends the process, with the exit code of its class (docs/errors.md, "Exit codes"). */
export async function main(argv: readonly string[]): Promise<void> {
  tuneMemory();
  const args = argv.slice(2);
  // An empty variable counts as absent, as with XDG_STATE_HOME. These are read by commander.
  for (const name of ['WSTUN_STATE', 'WSTUN_USER', 'WSTUN_ACME_EAB'])
    if (process.env[name] === '') delete process.env[name];
  // A reader that goes away (`wstun access list | head`, a closed terminal) must end nothing that runs.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {});
  onLongWait((what) => process.stderr.write(`wstun: waiting for ${safeText(what)} …\n`));
  if (args.length === 0) {
    process.stdout.write(SHORT_HELP);
    return;
  }
  try {
    await buildProgram(args).parseAsync(await understand(args), { from: 'user' });
  } catch (error) {
    const code = await report(error, args);
    await resetsAreOut();
    // Not just the exit code: a listener that is left must not keep a failed command alive.
    process.exit(code);
  }
}

/** Who types no invite waits for no cryptography. */
async function understand(args: readonly string[]): Promise<readonly string[]> {
  if (args[0] !== 'wstun' && !args.some(holdsInvite)) return args;
  return (await import('./pasted-arguments.ts')).understandPaste(args);
}

/** Sockets are reset some turns later, in events. The kernel closes the rest cleanly: half a file looks complete. */
async function resetsAreOut(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
}

/** One line for a person, never a stack trace; with `--json` also the event of the end. @returns the exit code */
async function report(error: unknown, args: readonly string[]): Promise<number> {
  const isCommanders = error instanceof CommanderError;
  // --help and --version.
  if (isCommanders && (error.exitCode === 0 || error.code === 'commander.help')) return 0;
  const fault = isCommanders ? faultOfUsage(error) : faultOf(error);
  if (isTold(error)) return fault.exitCode;
  if (printsEvents(args)) {
    const { Output } = await import('./output.ts');
    const { startOf } = await import('../workers/worker-environment.ts');
    if (isCommanders) markTold(fault);
    const output = new Output({ json: true });
    // A relay goes on without a worker that cannot start.
    if (startOf(process.env, process.send !== undefined) !== undefined) output.sayFault(fault);
    else output.end({ error: fault });
  } else if (!isCommanders) process.stderr.write(`wstun: ${safeLines(withoutSecrets(fault.message, args))}\n`);
  return fault.exitCode;
}

/** Commander prints it itself, where no program reads along. */
function faultOfUsage({ message }: CommanderError): WstunError {
  const fix = 'Run the command with --help, which shows its options.';
  return new WstunError('bad-option', message.replace(/^error: /, ''), { fix });
}

function faultOf(error: unknown): WstunError {
  return error instanceof WstunError ? error : new WstunError('internal', String(error));
}

/** A command that runs until it is told to end, and whose events are JSON. */
function printsEvents(args: readonly string[]): boolean {
  const [command = ''] = args[0] === 'wstun' ? args.slice(1) : args;
  return args.includes('--json') && ['client', 'relay', 'exit', 'quickstart'].includes(command);
}

/** @param args what was typed, whose secrets no message repeats */
export function buildProgram(args: readonly string[]): Command {
  const program = new Command('wstun')
    .description('Carry TCP connections and UDP out of networks that allow only web traffic.')
    .version(versionLine(readBuild()), '-V, --version', 'print version, commit, Node and protocol')
    // What stands behind the program of `wstun run` is that program's.
    .enablePositionalOptions()
    .addHelpText('after', PROGRAM_EXAMPLES);
  const commands = [
    ...[clientCommand, runCommand, browserCommand, vpnCommand, connectCommand, envCommand],
    ...[profilesCommand, forgetCommand],
    ...[statusCommand, pingCommand, doctorCommand],
    ...[relayCommand, exitCommand, accessCommand, keysCommand, configCommand, quickstartCommand],
    ...[helpCommand, explainCommand, completionsCommand, manCommand, versionCommand],
  ];
  for (const command of commands) program.addCommand(command());
  configureHelp(program, args);
  return program;
}

/** For who types `wstun` alone. clig.dev: short, with examples, and no error. */
const SHORT_HELP = `wstun carries TCP connections out of networks that allow only web traffic.

Try it on this machine:
  wstun quickstart
On a server, which prints an invite for the laptop:
  wstun relay --tls-self-signed --listen 0.0.0.0:443
On the laptop, which then has a SOCKS and HTTP proxy at 127.0.0.1:1080:
  wstun client wstun1_…

All commands and topics: wstun help. One of them: wstun help COMMAND.
`;

/** A line with a command is pasted whole, so what the command is for is on the line above it. */
const PROGRAM_EXAMPLES = `
Examples:
  On the server:
    wstun relay --listen 0.0.0.0:443 --url wss://relay.example.org \\
      --tls-cert cert.pem --tls-key key.pem
  On the laptop; the next time, \`wstun client\` is enough:
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
    wstun access add alice

Topics: environment, exit-codes, files, proxies, invites, encryption,
troubleshooting.`;
