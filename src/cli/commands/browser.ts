/** `wstun browser`: its options, and what `--help` says. */
import { Command, Option } from 'commander';
import {
  runningProfileOption,
  runningProxyOption,
  texts,
  userOption,
  verboseOption,
  withOwnClient,
} from '../command-options.ts';

export function browserCommand(): Command {
  const command = new Command('browser')
    .description('start a browser, with a profile of its own, of which everything goes through the tunnel')
    .argument('[url]', 'what it opens (default: a page that says whether it is through)')
    .option('--browser <program>', 'path or name (default: the first found of Chrome, Edge, Chromium, Brave, Firefox)')
    .option('--keep [name]', 'keep its profile, and use it the next time (default: it is removed at the end)')
    .addOption(
      new Option('--browser-arg <arg>', 'one more argument for it; may be repeated').argParser(texts).hideHelp(),
    )
    .optionsGroup('Which client:')
    .addOption(runningProxyOption())
    .addOption(
      runningProfileOption('use the client whose invite is kept under this name, or start one with that invite'),
    )
    .addOption(userOption('user name and password of that proxy'));
  return withOwnClient(command)
    .optionsGroup('Output:')
    .addOption(verboseOption())
    .addHelpText('after', BROWSER_EXAMPLES)
    .action(async (url: string | undefined, _options, parsed: Command) => {
      const { runBrowser } = await import('../browser.ts');
      await runBrowser(url, parsed);
    });
}

const BROWSER_EXAMPLES = `
Examples:
  wstun browser
  wstun browser https://example.org/
  wstun browser --browser firefox --keep work https://example.org/

Pages do not fall back to this network where the tunnel does not work. Other
browser windows are not changed.`;
