/** The commands and options as data, for what is generated from them: completions and the manual page. */
import type { Command, Option } from 'commander';
import { fullName } from './help-format.ts';

/** What a shell can complete a value with. */
export type ValueKind = 'none' | 'file' | 'directory' | 'any-path' | readonly string[];

export interface OptionNode {
  /** `-v`, if there is one. */
  readonly short: string | undefined;
  readonly long: string;
  /** As help shows it: `<file>`; undefined for a switch. */
  readonly placeholder: string | undefined;
  readonly isValueOptional: boolean;
  readonly mayRepeat: boolean;
  readonly description: string;
  readonly value: ValueKind;
  readonly heading: string;
}

interface ArgumentNode {
  readonly term: string;
  readonly description: string;
  readonly value: ValueKind;
  readonly isVariadic: boolean;
}

export interface CommandNode {
  /** `wstun access add`. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  /** `[options] <name>`. */
  readonly usage: string;
  readonly options: readonly OptionNode[];
  readonly arguments: readonly ArgumentNode[];
  readonly commands: readonly CommandNode[];
}

/** Words for arguments that accept any text: by the argument's name. */
export type ArgumentWords = Readonly<Record<string, readonly string[]>>;

export function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

export function describeTree(command: Command, words: ArgumentWords = {}): CommandNode {
  const help = command.createHelp();
  return {
    path: fullName(command),
    name: command.name(),
    description: command.description(),
    usage: command.usage(),
    options: help.visibleOptions(command).flatMap((option) => optionOf(option, help.optionDescription(option))),
    arguments: command.registeredArguments.map((argument) => ({
      term: argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      description: help.argumentDescription(argument),
      value: argument.argChoices ?? words[argument.name()] ?? 'none',
      isVariadic: argument.variadic,
    })),
    commands: command.commands.map((sub) => describeTree(sub, words)),
  };
}

/** All nodes, the root first. */
export function flatten(node: CommandNode): CommandNode[] {
  return [node, ...node.commands.flatMap(flatten)];
}

function optionOf(option: Option, description: string): OptionNode[] {
  if (option.long === undefined || option.long === null) return [];
  const [, placeholder] = /([<[].*[>\]])$/.exec(option.flags) ?? [];
  return [
    {
      short: option.short ?? undefined,
      long: option.long,
      placeholder,
      isValueOptional: option.optional,
      mayRepeat: /may be repeated/.test(description),
      description,
      value: option.argChoices ?? kindOf(placeholder),
      heading: option.helpGroupHeading ?? 'Options:',
    },
  ];
}

/** By the word in the placeholder, which readers go by, too. */
function kindOf(placeholder = ''): ValueKind {
  const word = placeholder.slice(1, -1);
  if (word === 'file') return 'file';
  if (word === 'dir') return 'directory';
  return word === 'dir|url' || word === 'program' ? 'any-path' : 'none';
}
