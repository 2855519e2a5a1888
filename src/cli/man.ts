/** `wstun man`: the manual page, in the macros of man(7), made of the commands, their help and the topics. */
import type { Command } from 'commander';
import { type Build, readBuild } from '../app/version.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { type CommandNode, describeTree, flatten, rootOf } from './command-tree.ts';
import { fullName } from './help-format.ts';
import { TOPICS } from './topics/topics.ts';

export function printManual(from: Command): void {
  process.stdout.write(manual(rootOf(from), readBuild()));
}

/** The same for every user: paths are those of anyone's home. */
export function manual(root: Command, { version, date }: Build): string {
  const tree = describeTree(root);
  const page = [
    `.TH WSTUN 1 "${date}" "wstun ${version}" "User Commands"`,
    '.SH NAME',
    `wstun \\- ${text(lowerFirst(withoutDot(tree.description)))}`,
    '.SH SYNOPSIS',
    `.B wstun\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]`,
    '.SH COMMANDS',
    ...flatten(tree)
      .filter(({ commands }) => commands.length === 0)
      .map(sectionOf),
    '.SH EXAMPLES',
    ...examplesOf(root, []),
    ...TOPICS.map((topic) => topicOf(topic.text())),
    '.SH SEE ALSO',
    '.BR curl (1),\n.BR ssh (1),\n.BR systemd.service (5)',
  ].join('\n');
  return `${page.replace(/\n{2,}/g, '\n')}\n`;
}

function sectionOf({ path, usage, description, options, arguments: args }: CommandNode): string {
  return [
    `.SS "${text(`${path} ${usage}`)}"`,
    text(`${description}.`),
    ...args.map((argument) => entry(`\\fI${text(argument.term)}\\fR`, argument.description)),
    ...options.map(({ short, long, placeholder, description: what }) => {
      const names = [...(short === undefined ? [] : [short]), long].map((name) => `\\fB${text(name)}\\fR`);
      const value = placeholder === undefined ? '' : ` \\fI${text(placeholder)}\\fR`;
      return entry(`${names.join(', ')}${value}`, what);
    }),
  ].join('\n');
}

function entry(term: string, what: string): string {
  return `.TP\n${term}\n${text(everyHome(what))}`;
}

/** Those of the program and of each command under its name, without the last lines, which lead to other pages. */
function examplesOf(command: Command, seen: string[]): string[] {
  const [, after] = helpOf(command).split('\nExamples:\n');
  const found = after?.split(/\nTopics: |\nA topic /)[0]?.trimEnd();
  const own =
    found === undefined || seen.includes(found) ? [] : [`.SS "${text(fullName(command))}"\n${literal(found)}`];
  if (found !== undefined) seen.push(found);
  return [...own, ...command.commands.flatMap((sub) => examplesOf(sub, seen))];
}

/** Commander tells what follows the options only to who prints it. */
function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({
    writeOut: (part) => {
      help += part;
    },
  });
  command.outputHelp();
  command.configureOutput({ writeOut: (part) => process.stdout.write(part) });
  return help;
}

function topicOf(page: string): string {
  const [title = '', ...lines] = page.trimEnd().split('\n');
  return `.SH "${text(title.toUpperCase())}"\n${literal(lines.join('\n').trim())}`;
}

/** Lines as they are. An empty one would be one too many for some readers. */
function literal(lines: string): string {
  const rows = everyHome(lines).split('\n');
  return `.nf\n${rows.map((row) => (row.trim() === '' ? '.sp' : text(row))).join('\n')}\n.fi`;
}

function everyHome(what: string): string {
  return (['relay', 'exit', 'client'] as const).reduce(
    (shown, role) => shown.replaceAll(defaultStateDir(role, process.env), `~/.local/state/wstun/${role}`),
    what,
  );
}

/** In roff some characters mean something else, or become typographic ones that cannot be pasted. */
const ROFF: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
};

function text(plain: string): string {
  const escaped = [...plain].map((char) => ROFF[char] ?? (char > '~' ? `\\[u${hexOf(char)}]` : char)).join('');
  return escaped.startsWith('.') ? `\\&${escaped}` : escaped;
}

function hexOf(char: string): string {
  return (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
}

function lowerFirst(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}

function withoutDot(sentence: string): string {
  return sentence.replace(/\.$/, '');
}
