/** How `--help` and errors about wrong usage look: width, options, last lines. */
import { type Argument, type Command, Option } from 'commander';
import { WstunError } from '../errors.ts';
import { withoutSecrets } from './secret-arguments.ts';

/** Where no terminal says how wide it is. */
const COLUMNS = 80;
/** Below, descriptions become a column of single words; above, lines are hard to read. */
const MIN_COLUMNS = 60;
const MAX_COLUMNS = 100;

/** Where every page leads. */
const LAST_LINES = `
A topic (environment, exit-codes, files, …): \`wstun help TOPIC\`.
An error by its code: \`wstun explain CODE\`.`;

export function helpWidth({ isTTY, columns }: { readonly isTTY?: boolean; readonly columns?: number }): number {
  if (isTTY !== true || columns === undefined) return COLUMNS;
  return Math.max(MIN_COLUMNS, Math.min(columns, MAX_COLUMNS));
}

/**
 * Sets what commander does not pass on to commands that were created separately.
 * @param args what was typed, whose secrets no message repeats
 */
export function configureHelp(command: Command, args: readonly string[]): void {
  command
    .description(capital(command.description()))
    .exitOverride()
    .showSuggestionAfterError()
    .helpCommand(false)
    .addHelpOption(helpOption(command))
    .configureHelp({
      subcommandTerm: termOf,
      optionDescription: (option) => withNotes(option.description, notesOf(option)),
      argumentDescription: (argument) => withNotes(argument.description, notesOf(argument)),
    })
    .configureOutput({
      // Besides errors, commander writes there only the help of a command that needs another word: the answer to it.
      writeErr: (text) => process.stdout.write(text),
      getOutHelpWidth: () => helpWidth(process.stdout),
      getErrHelpWidth: () => helpWidth(process.stdout),
      outputError: (text) => process.stderr.write(`wstun: ${withoutSecrets(usageFault(text, command), args)}\n`),
    });
  command.addHelpText('after', LAST_LINES);
  for (const sub of command.commands) configureHelp(sub, args);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `wstun access add`. */
export function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

/** Under the last heading: commander would begin another one for it. */
function helpOption(command: Command): Option {
  const option = new Option('-h, --help', 'show this help');
  const heading = command.options.at(-1)?.helpGroupHeading;
  return heading === undefined ? option : option.helpGroup(heading);
}

function termOf(command: Command): string {
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...words].join(' ');
}

function notesOf({ argChoices, defaultValue, defaultValueDescription, ...more }: Option | Argument): string[] {
  const envVar = 'envVar' in more ? more.envVar : undefined;
  const shownDefault = defaultValueDescription ?? String(defaultValue);
  return [
    ...(argChoices === undefined ? [] : [`choices: ${argChoices.join(', ')}`]),
    ...(defaultValue === undefined || typeof defaultValue === 'boolean' ? [] : [`default: ${shownDefault}`]),
    ...(envVar === undefined ? [] : [`variable: ${envVar}`]),
  ];
}

function withNotes(description: string, notes: readonly string[]): string {
  return notes.length === 0 ? description : `${description} (${notes.join('; ')})`;
}

/** Commander's text, which has its suggestion on a second line, as a fault of ours. */
function usageFault(text: string, command: Command): string {
  const [what = '', ...more] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const suggestion = more.join(' ').replace(/^\((.*)\)$/, '$1');
  const fix = suggestion === '' ? `See: ${fullName(command)} --help.` : suggestion;
  return new WstunError('bad-option', what.replace(/\.$/, ''), { fix }).message;
}
