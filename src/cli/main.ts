/** The command line: commands, options, how the process ends. Commands are loaded when they run: --help is quick. */
import { Command, CommanderError } from 'commander';
import { tuneMemory } from '../app/memory-tuning.ts';
import { packageVersion } from '../app/version.ts';
import { WstunError } from '../errors.ts';
import { accessCommand } from './commands/access.ts';
import { browserCommand } from './commands/browser.ts';
import { clientCommand } from './commands/client.ts';
import { configCommand } from './commands/config.ts';
import { envCommand } from './commands/env.ts';
import { exitCommand } from './commands/exit.ts';
import { keysCommand } from './commands/keys.ts';
import { quickstartCommand } from './commands/quickstart.ts';
import { relayCommand } from './commands/relay.ts';
import { runCommand } from './commands/run.ts';
import { isTold } from './output.ts';
import { understandPaste, withoutSecrets } from './pasted-arguments.ts';

/** Never rejects. A fault ends the process, with the exit code of its class (docs/errors.md, "Exit codes"). */
export async function main(argv: readonly string[]): Promise<void> {
  tuneMemory();
  const args = argv.slice(2);
  // An empty variable counts as absent, as with XDG_STATE_HOME. These are read by commander.
  for (const name of ['WSTUN_STATE', 'WSTUN_USER', 'WSTUN_ACME_EAB'])
    if (process.env[name] === '') delete process.env[name];
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
    .version(packageVersion())
    .configureHelp({ showGlobalOptions: true })
    // What stands behind the program of `wstun run` is that program's.
    .enablePositionalOptions()
    .addHelpText('after', PROGRAM_EXAMPLES);
  const commands = [
    clientCommand,
    runCommand,
    browserCommand,
    envCommand,
    relayCommand,
    exitCommand,
    accessCommand,
    keysCommand,
    configCommand,
    quickstartCommand,
  ];
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
