/** `wstun help`: the page of the program, of a command or of a topic. */
import type { Command } from 'commander';
import { WstunError } from '../errors.ts';
import { rootOf } from './command-tree.ts';
import { fullName } from './help-format.ts';
import { nearest } from './nearest.ts';
import { TOPICS } from './topics/topics.ts';

/** @param from any command of the program. @throws WstunError help-unknown */
export function showHelp(words: readonly string[], from: Command): void {
  const root = rootOf(from);
  // A line that was copied with its first word.
  const asked = words[0] === root.name() ? words.slice(1) : words;
  const topic = TOPICS.find(({ name }) => asked.length === 1 && name === asked[0]?.toLowerCase());
  if (topic !== undefined) process.stdout.write(topic.text());
  else commandOf(root, asked).outputHelp();
}

/** Of the words as far as they are commands: what follows a command without others may be its arguments. */
function commandOf(root: Command, words: readonly string[]): Command {
  let command = root;
  for (const word of words) {
    if (command.commands.length === 0) break;
    const sub = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
    if (sub === undefined) throw unknown(command, word);
    command = sub;
  }
  return command;
}

function unknown(command: Command, word: string): WstunError {
  const isRoot = command.parent === null;
  const names = [...command.commands.map((sub) => sub.name()), ...(isRoot ? TOPICS.map(({ name }) => name) : [])];
  const near = nearest(word, names);
  const prefix = ['wstun help', ...fullName(command).split(' ').slice(1)].join(' ');
  const fix = near === undefined ? `See all: ${prefix}.` : `Did you mean: ${prefix} ${near}?`;
  return new WstunError('help-unknown', word, { fix });
}
