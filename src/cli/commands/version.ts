/** `wstun version`: its options. */
import { Command } from 'commander';
import { readBuild } from '../../app/version.ts';
import { HELP_GROUP } from '../command-options.ts';
import { versionFields, versionLine } from '../version.ts';

export function versionCommand(): Command {
  return new Command('version')
    .description('Print the version, the commit, Node and the protocol')
    .helpGroup(HELP_GROUP)
    .option('--json', 'print one JSON object')
    .addHelpText('after', VERSION_EXAMPLES)
    .action(({ json }: { readonly json?: boolean }) => {
      const build = readBuild();
      process.stdout.write(`${json === true ? JSON.stringify(versionFields(build)) : versionLine(build)}\n`);
    });
}

const VERSION_EXAMPLES = `
Examples:
  For a report of an error:
    wstun version
  For a script:
    wstun version --json`;
