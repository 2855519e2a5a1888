/** `wstun doctor`: its options, and what `--help` says. */
import { Command } from 'commander';
import {
  encryptionOption,
  listenOption,
  transportOption,
  verboseOption,
  WAY_GROUP,
  withConfigOption,
  withWayOptions,
} from '../command-options.ts';
import { pasted } from '../secret-arguments.ts';

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .description('Find out why `wstun client` does not get through, or whether it would: one check a line, in 15 s')
    .argument('[invite...]', 'as of `wstun client`')
    .optionsGroup('Invite and local proxy:')
    .option('--invite-file <file>', 'read the invite from a file (- for standard input)')
    .addOption(listenOption())
    .optionsGroup('What is checked:')
    .option(
      '--target <host:port|url>',
      'open a stream to this target, and download from it if it is an http:// or https:// URL (default: example.com:443)',
    )
    .option('--idle <s>', 'also hold a link idle for so many seconds, and say whether it lasts')
    .addOption(encryptionOption())
    .optionsGroup(WAY_GROUP)
    .addOption(transportOption())
    .addHelpText('after', DOCTOR_EXAMPLES)
    .action(async (given: readonly string[], _options, parsed: Command) => {
      const [{ runDoctor }, { settleLikeClient }] = await Promise.all([
        import('../doctor.ts'),
        import('../config/roles.ts'),
      ]);
      await runDoctor(await settleLikeClient(parsed), parsed.opts(), pasted(given));
    });
  return withConfigOption(withOwnOutput(withWayOptions(command)), 'client');
}

function withOwnOutput(command: Command): Command {
  return command
    .optionsGroup('Output:')
    .option('--json', 'print one JSON object at the end')
    .option('--report <file>', 'write everything that was found to a file, without secrets, for whoever helps you')
    .addOption(verboseOption());
}

const DOCTOR_EXAMPLES = `
Examples:
  With the line that the relay printed:
    wstun doctor wstun1_AQDc…
  Invisible in ps:
    wstun doctor --invite-file ~/.config/wstun.invite
  Can a target be reached, and how fast is it?
    wstun doctor wstun1_AQDc… --target git.corp.example:22
    wstun doctor wstun1_AQDc… --target https://example.org/file.iso
  For whoever helps you:
    wstun doctor wstun1_AQDc… --report wstun-report.json
  Does the network end idle connections?
    wstun doctor wstun1_AQDc… --idle 120

The exit code is 0 if wstun client gets through, by whichever route, and can
be used; else that of the class of the error (docs/errors.md).`;
