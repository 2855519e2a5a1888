/** What `--help`, topics and explanations say of commands and options, held to the commands themselves. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeTree, flatten } from '../../src/cli/command-tree.ts';
import { completions } from '../../src/cli/completions.ts';
import { EXPLANATIONS } from '../../src/cli/explanations.ts';
import { fullName, helpWidth } from '../../src/cli/help-format.ts';
import { buildProgram } from '../../src/cli/main.ts';
import { manual } from '../../src/cli/man.ts';
import { nearest } from '../../src/cli/nearest.ts';
import { TOPICS } from '../../src/cli/topics/topics.ts';
import { wrap } from '../../src/cli/wrap.ts';

const program = buildProgram([]);
const commands = allOf(program);
const nodes = flatten(describeTree(program));

function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)];
}

/** As commander prints it where no terminal is. */
function helpOf(command: Command): string {
  let text = '';
  const writeOut = (part: string): void => {
    text += part;
  };
  command.configureOutput({ writeOut, getOutHelpWidth: () => 80 });
  command.outputHelp();
  return text;
}

const tooLong = (text: string): string[] => text.split('\n').filter((line) => [...line].length > 80);

describe('--help', () => {
  it.each(commands.map((command) => [fullName(command), command] as const))(
    'no line of `%s --help` is longer than 80 characters',
    (_, command) => {
      expect(tooLong(helpOf(command))).toEqual([]);
    },
  );

  it.each(commands.map((command) => [fullName(command), command] as const))(
    '`%s --help` begins its description with a capital, and shows an example, or the page above it does',
    (name, command) => {
      expect(command.description()).toMatch(/^[A-Z]/);
      const pages = [command, ...(command.parent === null ? [] : [command.parent])].map(helpOf);
      expect(pages.some((page) => page.split('\nExamples:\n')[1]?.includes(` ${name}`))).toBe(true);
    },
  );

  it('the width is that of the terminal, within 60 and 100 columns, and 80 without one', () => {
    const widths = [200, 90, 40, undefined].map((columns) => helpWidth({ isTTY: true, ...(columns && { columns }) }));
    expect(widths).toEqual([100, 90, 60, 80]);
    expect(helpWidth({ columns: 200 })).toBe(80);
  });

  it('defaults are shown as a person writes them', () => {
    const pages = commands.map(helpOf);
    for (const page of pages) expect(page).not.toContain('[object');
    expect(pages.some((page) => page.includes('(default: 127.0.0.1:1080)'))).toBe(true);
  });

  it('--state shows the path of this user, not a variable', () => {
    const texts = ['wstun relay', 'wstun exit'].map((path) => nodes.find((node) => node.path === path));
    for (const node of texts) {
      const state = node?.options.find(({ long }) => long === '--state')?.description;
      expect(state).toMatch(/default: \/.*\/wstun\/(relay|exit)/);
    }
  });
});

describe('help topics', () => {
  it.each(TOPICS.map((topic) => [topic.name, topic] as const))(
    '%s has at most 40 lines of 80 characters',
    (_, topic) => {
      const text = topic.text();
      expect(tooLong(text)).toEqual([]);
      expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(40);
    },
  );

  it('each topic is named in `wstun help` and in `wstun help help`', () => {
    const help = commands.find((command) => fullName(command) === 'wstun help');
    for (const { name } of TOPICS)
      for (const page of [helpOf(program), help === undefined ? '' : helpOf(help)]) expect(page).toContain(name);
  });
});

describe('options that texts mention', () => {
  const known = new Set(nodes.flatMap((node) => node.options.map(({ long }) => long)));
  const root = join(import.meta.dirname, '../..');
  const docs = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const commandLines = (text: string): string[] =>
    text.replaceAll(/\\\n\s*/g, '').match(/\bwstun (?:client|relay|exit|access|keys|quickstart)\b[^\n`]*/g) ?? [];

  function unknownOptions(text: string): string[] {
    const used = commandLines(text).flatMap((line) => line.match(/(?<=\s|\[)--[a-z][a-z-]+/g) ?? []);
    return used.filter((option) => !known.has(option.replace(/^--no-direct$/, '--no-direct')));
  }

  it.each([...docs.map((name) => join('docs', name)), 'README.md', 'CONTRIBUTING.md'])(
    'every option of a wstun command in %s exists',
    (page) => {
      expect(unknownOptions(readFileSync(join(root, page), 'utf8'))).toEqual([]);
    },
  );

  it('every option of a wstun command in a topic or an explanation exists', () => {
    const texts = [...TOPICS.map(({ text }) => text()), ...Object.values(EXPLANATIONS)];
    for (const text of texts) expect(unknownOptions(text)).toEqual([]);
    for (const text of texts)
      for (const [option] of text.matchAll(/(?<=^|\s|\()--[a-z][a-z-]+/gm))
        if (!/--pidfile|--ulimit/.test(option)) expect([option, known.has(option)]).toEqual([option, true]);
  });
});

describe('what is made of the commands', () => {
  it.each(['bash', 'zsh', 'fish'] as const)('completions for %s name every command and every option', (shell) => {
    const script = completions(shell, program);
    for (const { name, options } of nodes.slice(1)) {
      expect(script).toContain(name);
      for (const { long } of options) expect(script).toContain(shell === 'fish' ? `-l ${long.slice(2)}` : long);
    }
  });

  it('the manual page has every command, option and topic, and no path of the user who made it', () => {
    const page = manual(program, { version: '1.2.3', commit: 'abc1234', date: '2026-01-02' }).replaceAll('\\-', '-');
    expect(page).toMatch(/^\.TH WSTUN 1 "2026-01-02" "wstun 1\.2\.3"/);
    for (const { path, commands: subs, options } of nodes) {
      if (subs.length > 0) continue;
      expect(page).toContain(`.SS "${path}`);
      for (const { long } of options) expect(page).toContain(`\\fB${long}\\fR`);
    }
    for (const topic of TOPICS) expect(page).toContain(`.SH "${topic.text().split('\n')[0]?.toUpperCase()}"`);
    expect(page).not.toContain(process.env.HOME === '/' ? '/.local' : `${process.env.HOME}/`);
    expect(page).toContain('\\(ti/.local/state/wstun/relay');
  });
});

describe('texts', () => {
  it('wrap keeps every word, and no line is longer than asked unless it is one word', () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,30}$/), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(words, fc.integer({ min: 10, max: 90 }), (list, columns) => {
        const lines = wrap(list.join(' '), columns, '  ').split('\n');
        expect(lines.flatMap((line) => line.trim().split(' '))).toEqual(list);
        for (const line of lines) expect(line.length <= columns || !line.trim().includes(' ')).toBe(true);
      }),
    );
  });

  it('the nearest name is one with few changes, and a word that is far from all has none', () => {
    expect(nearest('clinet', ['relay', 'client', 'exit'])).toBe('client');
    expect(nearest('nonsense', ['relay', 'client', 'exit'])).toBeUndefined();
    expect(nearest('x'.repeat(100_000), ['relay'])).toBeUndefined();
  });
});
