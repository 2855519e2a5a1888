/** `wstun completions`: scripts for bash, zsh and fish, made of the commands and options. Pure but for the output. */
import type { Command } from 'commander';
import { FAULTS } from '../errors.ts';
import { type CommandNode, describeTree, flatten, type OptionNode, rootOf, type ValueKind } from './command-tree.ts';
import type { Shell } from './commands/completions.ts';
import { TOPICS } from './topics/topics.ts';

export function printCompletions(shell: Shell, from: Command): void {
  process.stdout.write(completions(shell, rootOf(from)));
}

export function completions(shell: Shell, root: Command): string {
  const topic = [...root.commands.map((command) => command.name()), ...TOPICS.map(({ name }) => name)];
  const tree = describeTree(root, { topic, code: Object.keys(FAULTS) });
  switch (shell) {
    case 'bash':
      return bash(tree);
    case 'zsh':
      return zsh(tree);
    case 'fish':
      return fish(tree);
  }
}

/** Runs in bash 3.2 (macOS), and without the package bash-completion. */
function bash(tree: CommandNode): string {
  const nodes = flatten(tree);
  const paths = nodes.slice(1).map(({ path }) => quoted(path));
  const values = nodes.flatMap((node) => node.options.flatMap((option) => bashValue(node, option)));
  const words = nodes.map((node) => {
    const options = node.options.flatMap(({ long, short }) => [long, ...(short === undefined ? [] : [short])]);
    return `    ${quoted(node.path)}) words=${quoted(wordsOf(node).join(' '))} options=${quoted(options.join(' '))} ;;`;
  });
  return `# Completion of wstun for bash, made by \`wstun completions bash\`.
_wstun() {
  local i path=wstun words= options= cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} IFS=$' \\t\\n'
  # --option=value comes as three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
      ${paths.join(' | ')}) path="$path \${COMP_WORDS[i]}" ;;
    esac
  done
  COMPREPLY=()
  case "$path $prev" in
${values.join('\n')}
  esac
  case $path in
${words.join('\n')}
  esac
  if [[ $cur == -* || -z $words ]]; then words=$options; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
_wstun_paths() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen "$1" -- "$2"))
}
complete -F _wstun wstun
`;
}

/** What follows an option, and that nothing is offered for a value which only its user knows. */
function bashValue({ path }: CommandNode, option: OptionNode): string[] {
  if (option.placeholder === undefined || (option.isValueOptional && option.value === 'none')) return [];
  const names = [option.long, ...(option.short === undefined ? [] : [option.short])];
  const pattern = names.map((name) => quoted(`${path} ${name}`)).join(' | ');
  const { value } = option;
  if (typeof value !== 'string')
    return [`    ${pattern}) COMPREPLY=($(compgen -W ${quoted(value.join(' '))} -- "$cur")); return ;;`];
  if (value === 'none') return [`    ${pattern}) return ;;`];
  const call = `_wstun_paths ${value === 'directory' ? '-d' : '-f'} "$cur"; return`;
  return [`    ${pattern}) ${option.isValueOptional ? `if [[ $cur != -* ]]; then ${call}; fi` : call} ;;`];
}

function zsh(tree: CommandNode): string {
  return `#compdef wstun
# Completion of wstun for zsh, made by \`wstun completions zsh\`.

${flatten(tree).map(zshFunction).join('\n')}
if [ "$funcstack[1]" = _wstun ]; then
  _wstun "$@"
else
  compdef _wstun wstun
fi
`;
}

function zshFunction(node: CommandNode): string {
  const options = node.options.map((option) => `    ${zshOption(option)}`);
  if (node.commands.length === 0) {
    const rest = node.arguments.map(
      ({ term, value, isVariadic }, at) =>
        `    ${quoted(`${isVariadic ? '*' : at + 1}:${zshText(term.slice(1, -1))}:${zshAction(value)}`)}`,
    );
    return `${zshName(node)}() {\n  _arguments -s -S \\\n${[...options, ...rest].join(' \\\n')}\n}\n`;
  }
  const names = node.commands.map((sub) => quoted(`${sub.name}:${sub.description}`)).join(' ');
  const cases = node.commands.map((sub) => `        ${sub.name}) ${zshName(sub)} ;;`);
  return `${zshName(node)}() {
  local curcontext=$curcontext state line
  local -a commands=(${names})
  _arguments -C \\
${options.join(' \\\n')} \\
    '1: :->command' \\
    '*:: :->rest'
  case $state in
    command) _describe command commands ;;
    rest)
      case $line[1] in
${cases.join('\n')}
      esac ;;
  esac
}
`;
}

function zshOption({ short, long, placeholder, isValueOptional, mayRepeat, description, value }: OptionNode): string {
  const colons = isValueOptional ? '::' : ':';
  const text = `[${zshText(brief(description))}]`;
  const rest =
    placeholder === undefined ? text : `${text}${colons}${zshText(placeholder.slice(1, -1))}:${zshAction(value)}`;
  // With "=", zsh also completes --option=value.
  const name = placeholder === undefined ? long : `${long}=`;
  if (mayRepeat) return quoted(`*${name}${rest}`);
  return short === undefined ? quoted(`${name}${rest}`) : `'(${short} ${long})'{${short},${long}}${quoted(rest)}`;
}

function zshAction(value: ValueKind): string {
  if (typeof value !== 'string') return `(${value.join(' ')})`;
  switch (value) {
    case 'none':
      return ' ';
    case 'directory':
      return '_files -/';
    case 'file':
    case 'any-path':
      return '_files';
  }
}

/** Inside of a specification of _arguments. */
function zshText(text: string): string {
  return text.replace(/[\\[\]:]/g, '\\$&');
}

function zshName({ path }: CommandNode): string {
  return `_${path.replaceAll(/[ -]/g, '_')}`;
}

function fish(tree: CommandNode): string {
  const nodes = flatten(tree);
  return `# Completion of wstun for fish, made by \`wstun completions fish\`.
set -g __wstun_paths ${nodes.map(({ path }) => fishQuoted(path)).join(' ')}
function __wstun_at
  set -l path wstun
  for word in (commandline -opc)[2..-1]
    contains -- "$path $word" $__wstun_paths; and set path "$path $word"
  end
  test "$path" = "$argv[1]"
end
complete -c wstun -f
${nodes.flatMap(fishLines).join('\n')}
`;
}

function fishLines(node: CommandNode): string[] {
  const start = `complete -c wstun -n ${fishQuoted(`__wstun_at "${node.path}"`)}`;
  const subs = node.commands.map(({ name, description }) => `${start} -a ${name} -d ${fishQuoted(description)}`);
  const words = node.commands.length > 0 ? [] : wordsOf(node);
  return [
    ...subs,
    ...(words.length === 0 ? [] : [`${start} -a ${fishQuoted(words.join(' '))}`]),
    ...node.options.map((option) => `${start}${fishOption(option)}`),
  ];
}

function fishOption({ short, long, placeholder, isValueOptional, description, value }: OptionNode): string {
  const name = ` -l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`;
  const about = ` -d ${fishQuoted(brief(description))}`;
  if (placeholder === undefined) return name + about;
  if (typeof value !== 'string') return `${name} -x -a ${fishQuoted(value.join(' '))}${about}`;
  if (value === 'directory') return `${name} -x -a '(__fish_complete_directories)'${about}`;
  if (value === 'none') return `${name}${isValueOptional ? '' : ' -x'}${about}`;
  return `${name}${isValueOptional ? ' -F' : ' -r -F'}${about}`;
}

/** Of what may stand at the place of an argument. */
function wordsOf(node: CommandNode): readonly string[] {
  if (node.commands.length > 0) return node.commands.map(({ name }) => name);
  return node.arguments.flatMap(({ value }) => (typeof value === 'string' ? [] : value));
}

/** The first part of a description: a list of options has a line for each. */
function brief(description: string): string {
  const [first = ''] = description.split(/[;(:]| which | such as /);
  return first.trim().replace(/,$/, '');
}

/** For bash and zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function fishQuoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
