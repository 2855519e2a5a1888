/** Edits inside one table of `access.toml`, as text: comments and order stay. Pure. The caller parses the result. */
import { formatLimit, type LimitName } from './access-limits.ts';

/** The lines of a table, without its header. */
type Lines = readonly string[];

/** Adds and removes rules; the text of the others stays as it is. */
export function editRules(lines: Lines, key: string, more: readonly string[], less: readonly string[]): Lines {
  if (more.length === 0 && less.length === 0) return lines;
  const first = indexOfKey(lines, key);
  if (first === -1)
    return more.length === 0 ? lines : insertAfterKey(lines, `${key} = [${more.map(quote).join(', ')}]`);
  const text = lines.slice(first).join('\n');
  const list = readList(text);
  if (list === undefined) return lines;
  const without = removeValues(text, list.values, less);
  const kept = list.values.filter(({ value }) => !less.includes(value));
  const changed = addValues(without, kept.length, more);
  return [...lines.slice(0, first), ...changed.split('\n')];
}

/** Sets a limit; undefined removes it. */
export function editLimit(lines: Lines, name: LimitName, value: number | undefined): Lines {
  const at = indexOfKey(lines, name);
  if (at === -1) return value === undefined ? lines : [...lines, formatLimit(name, value)];
  if (value === undefined) return lines.toSpliced(at, 1);
  const comment = /^[^#"']*?(?:"[^"]*"|'[^']*')?[^#"'\s]*(\s+#.*)$/.exec(lines[at] ?? '')?.[1] ?? '';
  const indent = /^\s*/.exec(lines[at] ?? '')?.[0] ?? '';
  return lines.with(at, `${indent}${formatLimit(name, value)}${comment}`);
}

interface Value {
  readonly value: string;
  /** Of the text in quotes; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
}

/** The texts of the first list; undefined if it holds anything else, or does not end. */
function readList(text: string): { readonly values: readonly Value[]; readonly open: number } | undefined {
  const open = text.indexOf('[');
  const token = /\s+|,|#[^\n]*|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|\]/y;
  const values: Value[] = [];
  for (token.lastIndex = open + 1; open !== -1; ) {
    const start = token.lastIndex;
    const match = token.exec(text);
    if (match === null) return undefined;
    if (match[0] === ']') return { values, open };
    const value = match[1] ?? match[2];
    if (value !== undefined) values.push({ value, start, end: token.lastIndex });
  }
  return undefined;
}

function removeValues(text: string, values: readonly Value[], less: readonly string[]): string {
  let changed = text;
  for (const { value, start, end } of values.toReversed()) {
    if (!less.includes(value)) continue;
    const after = changed.slice(end).replace(/^[ \t]*,[ \t]*/, '');
    // The comma of the last one may be before it.
    const before = changed.slice(0, start).replace(after.startsWith(']') ? /,[ \t]*$/ : /$/, '');
    changed = withoutBlankLine(before + after, before.length);
  }
  return changed;
}

/** Removes the line at that place if it is blank. */
function withoutBlankLine(text: string, at: number): string {
  const start = text.lastIndexOf('\n', at - 1) + 1;
  const end = text.indexOf('\n', at);
  const isBlank = start > 0 && end !== -1 && text.slice(start, end).trim() === '';
  return isBlank ? text.slice(0, start) + text.slice(end + 1) : text;
}

function addValues(text: string, kept: number, more: readonly string[]): string {
  if (more.length === 0) return text;
  const list = readList(text);
  if (list === undefined) return text;
  const last = list.values.at(-1);
  const added = more.map(quote).join(', ');
  // Before a comma that already follows the last one.
  if (kept > 0 && last !== undefined) return `${text.slice(0, last.end)}, ${added}${text.slice(last.end)}`;
  return `${text.slice(0, list.open + 1)}${added}${text.slice(list.open + 1)}`;
}

function indexOfKey(lines: Lines, key: string): number {
  return lines.findIndex((line) => new RegExp(`^\\s*(?:${key}|"${key}"|'${key}')\\s*=`).test(line));
}

function insertAfterKey(lines: Lines, line: string): Lines {
  return lines.toSpliced(indexOfKey(lines, 'key') + 1, 0, line);
}

function quote(rule: string): string {
  return JSON.stringify(rule);
}
