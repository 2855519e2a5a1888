/** The text of `access.toml`: parses and edits it. Edits keep comments and order, and are parsed again. Pure. */
import { formatPublicIdentity, type PublicIdentity, parsePublicIdentity } from '../crypto/keys.ts';
import { isName, requireName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import { editLimit, editRules } from './access-edit.ts';
import { type EntryLimits, formatLimits, LIMIT_NAMES, type LimitName, parseLimit } from './access-limits.ts';
import { parseToml } from './toml.ts';

/** For each the relay keeps a shared key and three hints: 1 KB, and 0.07 ms once. */
const MAX_ENTRIES = 10_000;
/** Of each kind. Every dial checks all that are for targets. */
const MAX_RULES = 256;

const KEYS: readonly string[] = ['key', 'role', 'allow', 'listen', ...LIMIT_NAMES];

const HEADER = `# Who has access here. One table per name; changes take effect within two seconds.
#
#   [alice]
#   key = "wstunpk1_..."                       her public keys
#   allow = ["10.0.0.0/8:22,80", "*.corp"]     allowed in addition to public addresses; optional
#   listen = ["127.0.0.1:8000-8999"]           where ports at the exit may lead to her; optional
#   sessions = 8                               at the same time; optional, as are the next two
#   rate = "20mbit"                            bits per second in each direction
#   quota = "100GB"                            bytes per month, both directions together
#
#   [home]
#   key = "wstunpk1_..."
#   role = "exit"                              an exit may register under this name; without this line, a client
#
# If you delete a table, its sessions end. "wstun access add NAME" adds one and prints its invite; "wstun access set NAME" changes one.
`;

/** `exit`: it registers under its name, and clients reach it through this relay. */
export type AccessRole = 'client' | 'exit';

export interface AccessEntry {
  readonly name: string;
  readonly key: PublicIdentity;
  readonly role: AccessRole;
  /** Empty for an exit, which has its own rules. */
  readonly allow: readonly string[];
  /** Where a client may listen at the exit. Missing: nowhere. */
  readonly listen?: readonly string[];
  readonly limits?: EntryLimits;
}

/** As it was read: with its rules parsed, in the order of `allow` and of `listen`. */
export interface ListedEntry<R, L> extends AccessEntry {
  readonly rules: readonly R[];
  readonly listenRules: readonly L[];
}

/** Each throws a WstunError (bad-rule) for an invalid rule. */
export interface RuleParsers<R, L> {
  readonly allow: (rule: string) => R;
  readonly listen: (rule: string) => L;
}

type AnyParsers = RuleParsers<unknown, unknown>;

/** By a key of the table. */
type Lists = Readonly<Record<keyof AnyParsers, readonly string[]>>;

const LIST_NAMES = ['allow', 'listen'] as const satisfies readonly (keyof Lists)[];
const EXAMPLES: Readonly<Record<keyof Lists, string>> = { allow: '10.0.0.0/8', listen: '127.0.0.1:8080' };

/** The entries in the order of the file. @throws WstunError access-malformed, naming the line */
export function parseAccessList<R, L>(text: string, parsers: RuleParsers<R, L>): ListedEntry<R, L>[] {
  const tables = Object.entries(parseToml(text, (detail) => malformed(undefined, detail)));
  if (tables.length > MAX_ENTRIES) throw malformed(undefined, `it has more than ${MAX_ENTRIES} names`);
  const nameOfKey = new Map<string, string>();
  return tables.map(([name, table]) => {
    const entry = entryOf(new Section(text, name), table, parsers);
    const key = formatPublicIdentity(entry.key);
    const other = nameOfKey.get(key);
    if (other !== undefined) throw malformed(lineOf(text, name, 'key'), `"${other}" and "${name}" have the same key`);
    nameOfKey.set(key, name);
    return entry;
  });
}

/** @throws WstunError bad-name, name-taken, bad-key (another entry has it), bad-rule, access-malformed */
export function addEntry(text: string | undefined, entry: AccessEntry, parsers: AnyParsers): string {
  requireName(entry.name);
  requireRules(entry, parsers);
  const before = text === undefined ? [] : parseAccessList(text, parsers);
  const key = formatPublicIdentity(entry.key);
  for (const other of before) {
    if (other.name === entry.name) throw new WstunError('name-taken', entry.name);
    if (formatPublicIdentity(other.key) === key)
      throw new WstunError('bad-key', `"${other.name}" already has this key`);
  }
  const old = text ?? HEADER;
  const gap = old === '' || old.endsWith('\n\n') ? '' : old.endsWith('\n') ? '\n' : '\n\n';
  return verified(old + gap + formatEntry(entry), [...before, entry], parsers);
}

/** Replaces the keys of these names, and changes nothing else. @throws WstunError name-unknown, access-malformed */
export function replaceKeys(text: string, keys: ReadonlyMap<string, PublicIdentity>, parsers: AnyParsers): string {
  const before = parseAccessList(text, parsers);
  const old = new Map([...keys.keys()].map((name) => [name, formatPublicIdentity(entryIn(before, name).key)]));
  let within = '';
  const changed = text.split('\n').map((line) => {
    if (/^\s*\[/.test(line)) within = headerName(line) ?? '';
    const key = keys.get(within);
    return key === undefined ? line : line.replace(old.get(within) ?? '', formatPublicIdentity(key));
  });
  const rest = before.map((entry) => ({ ...entry, key: keys.get(entry.name) ?? entry.key }));
  return verified(changed.join('\n'), rest, parsers);
}

/** What is to change; the rest stays. */
export interface EntryChange {
  readonly allow: readonly string[];
  /** Rules that the entry has. */
  readonly disallow: readonly string[];
  readonly listen?: readonly string[];
  /** Rules that the entry has. */
  readonly noListen?: readonly string[];
  /** Undefined: no limit. */
  readonly limits: ReadonlyMap<LimitName, number | undefined>;
}

/** @throws WstunError name-unknown, bad-rule, bad-option (an exit has none of these), access-malformed */
export function changeEntry(text: string, name: string, change: EntryChange, parsers: AnyParsers): string {
  const before = parseAccessList(text, parsers);
  const entry = entryIn(before, name);
  const ofExit = `"${name}" is an exit; its own access list has the rules and limits of its clients`;
  if (entry.role === 'exit') throw new WstunError('bad-option', ofExit);
  requireRules(change, parsers);
  const less: Lists = { allow: change.disallow, listen: change.noListen ?? [] };
  const more: Lists = { allow: change.allow, listen: change.listen ?? [] };
  const limits = limitsAfter(entry.limits ?? {}, change);
  const lines = text.split('\n');
  const { start, end } = editableRange(lines, name, 'edit');
  let table: readonly string[] = lines.slice(start + 1, end);
  let after: AccessEntry = { ...entry, limits };
  for (const list of LIST_NAMES) {
    const rules = rulesAfter(entry, list, more[list], less[list]);
    table = editRules(table, list, rules.added, less[list]);
    after = { ...after, [list]: rules.all };
  }
  for (const [limit, value] of change.limits) table = editLimit(table, limit, value);
  const changed = [...lines.slice(0, start + 1), ...table, ...lines.slice(end)].join('\n');
  const expected = before.map((other) => (other === entry ? after : other));
  return verified(changed, expected, parsers);
}

/** @throws WstunError bad-rule */
function requireRules({ allow, listen = [] }: Partial<Lists>, parsers: AnyParsers): void {
  for (const rule of allow ?? []) parsers.allow(rule);
  for (const rule of listen) parsers.listen(rule);
}

/** @throws WstunError bad-rule */
function rulesAfter(
  { name, ...entry }: AccessEntry,
  list: keyof Lists,
  more: readonly string[],
  less: readonly string[],
): { readonly all: readonly string[]; readonly added: readonly string[] } {
  const before = entry[list] ?? [];
  for (const rule of less)
    if (!before.includes(rule))
      throw new WstunError('bad-rule', `"${name}" does not have the rule ${rule}`, {
        fix: `See the rules that it has: wstun access show ${name}.`,
      });
  const kept = before.filter((rule) => !less.includes(rule));
  const added = [...new Set(more)].filter((rule) => !kept.includes(rule));
  return { all: [...kept, ...added], added };
}

function limitsAfter(before: EntryLimits, { limits }: EntryChange): EntryLimits {
  const after = LIMIT_NAMES.map((name) => [name, limits.has(name) ? limits.get(name) : before[name]] as const);
  return Object.fromEntries(after.filter(([, value]) => value !== undefined));
}

/** Keeps comments around the table of that name. @throws WstunError name-unknown, access-malformed */
export function removeEntry(text: string, name: string, parsers: AnyParsers): string {
  const before = parseAccessList(text, parsers);
  const removed = entryIn(before, name);
  const lines = text.split('\n');
  const { start, end } = editableRange(lines, name, 'remove');
  const above = lines.slice(0, start);
  const below = lines.slice(end);
  if (isBlank(above.at(-1) ?? '') && isBlank(below[0] ?? '')) below.shift();
  // Otherwise a comment above the removed table would seem to belong to the next one.
  else if (!isBlank(above.at(-1) ?? '') && !isBlank(below[0] ?? '')) below.unshift('');
  const rest = before.filter((entry) => entry !== removed);
  return verified([...above, ...below].join('\n'), rest, parsers);
}

function entryIn<E extends AccessEntry>(entries: readonly E[], name: string): E {
  const entry = entries.find((other) => other.name === name);
  if (entry === undefined) throw new WstunError('name-unknown', name);
  return entry;
}

/** The position of an entry in the text: needed only for faults. */
class Section {
  constructor(
    private readonly text: string,
    readonly name: string,
  ) {}

  fault(detail: string, part = ''): WstunError {
    return malformed(lineOf(this.text, this.name, part), detail);
  }
}

function entryOf<R, L>(section: Section, table: unknown, parsers: RuleParsers<R, L>): ListedEntry<R, L> {
  const { name } = section;
  if (!isName(name)) throw section.fault(`${JSON.stringify(name)} is not a valid name`);
  if (!isTable(table)) throw section.fault(`"${name}" must be a table: [${name}]`);
  for (const [key, value] of Object.entries(table)) {
    if (KEYS.includes(key)) continue;
    const hint = isTable(value) ? `; a name with a dot needs quotes: ["${name}.${key}"]` : '';
    throw section.fault(`"${name}" has "${key}", but an entry can have only ${KEYS.join(', ')}${hint}`, key);
  }
  const key = keyOf(section, table.key);
  const role = roleOf(section, table.role ?? 'client');
  const allow = listOf(section, 'allow', table.allow ?? []);
  const listen = listOf(section, 'listen', table.listen ?? []);
  const rules = parseAll(section, 'allow', allow, parsers.allow);
  const listenRules = parseAll(section, 'listen', listen, parsers.listen);
  if (role === 'exit' && allow.length + listen.length > 0)
    throw section.fault(
      `"${name}" is an exit; its own access list has the rules of its clients`,
      allow.length > 0 ? 'allow' : 'listen',
    );
  const limits = limitsOf(section, table);
  const [limited] = Object.keys(limits);
  if (role === 'exit' && limited !== undefined)
    throw section.fault(`"${name}" is an exit; its own access list has the limits of its clients`, limited);
  const more = { ...(listen.length > 0 && { listen }), ...(limited !== undefined && { limits }) };
  return { name, key, role, allow, rules, listenRules, ...more };
}

function limitsOf(section: Section, table: Readonly<Record<string, unknown>>): EntryLimits {
  const given = LIMIT_NAMES.filter((limit) => table[limit] !== undefined);
  const read = (limit: LimitName) => {
    const work = () => parseLimit(limit, table[limit]);
    return faultsAsMalformed(section, `${limit} of "${section.name}"`, limit, work);
  };
  return Object.fromEntries(given.map((limit) => [limit, read(limit)]));
}

function roleOf(section: Section, value: unknown): AccessRole {
  if (value === 'client' || value === 'exit') return value;
  throw section.fault(`the role of "${section.name}" must be "client" or "exit"`, 'role');
}

function keyOf(section: Section, value: unknown): PublicIdentity {
  if (value === undefined) throw section.fault(`"${section.name}" has no key`);
  if (typeof value !== 'string') throw section.fault(`the key of "${section.name}" must be text in quotes`, 'key');
  return faultsAsMalformed(section, `the key of "${section.name}"`, 'key', () => parsePublicIdentity(value));
}

function listOf(section: Section, list: keyof Lists, value: unknown): string[] {
  const isList = Array.isArray(value) && value.every((rule) => typeof rule === 'string');
  const { name } = section;
  if (!isList)
    throw section.fault(`${list} of "${name}" must be a list of texts in quotes: ["${EXAMPLES[list]}"]`, list);
  if (value.length > MAX_RULES) throw section.fault(`"${name}" has more than ${MAX_RULES} rules`, list);
  return value;
}

function parseAll<T>(section: Section, list: keyof Lists, rules: readonly string[], parse: (rule: string) => T): T[] {
  return rules.map((rule) => faultsAsMalformed(section, list, JSON.stringify(rule), () => parse(rule)));
}

function faultsAsMalformed<T>(section: Section, what: string, part: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    throw section.fault(`${what}: ${error.detail}`, part);
  }
}

function malformed(line: number | undefined, detail: string): WstunError {
  return new WstunError('access-malformed', line === undefined ? detail : `line ${line}: ${detail}`);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function isBlank(line: string): boolean {
  return line.trim() === '';
}

/** `[name]`, `["name"]` or `['name']`, then at most a comment. Names need no escapes. */
function headerName(line: string): string | undefined {
  const match = /^\s*\[\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*\]\s*(?:#[^\n]*)?$/.exec(line);
  return match?.[1] ?? match?.[2] ?? match?.[3];
}

/** From the header to the last line that is neither blank nor a comment; `end` is exclusive. */
function tableRange(lines: readonly string[], name: string): { start: number; end: number } | undefined {
  const start = lines.findIndex((line) => headerName(line) === name);
  if (start === -1) return undefined;
  let end = start + 1;
  for (let at = end; at < lines.length && !/^\s*\[/.test(lines[at] ?? ''); at++) {
    if (!/^\s*(#|$)/.test(lines[at] ?? '')) end = at + 1;
  }
  return { start, end };
}

function editableRange(
  lines: readonly string[],
  name: string,
  verb: 'edit' | 'remove',
): { start: number; end: number } {
  const range = tableRange(lines, name);
  if (range !== undefined) return range;
  throw malformed(undefined, `"${name}" is not written as a table [${name}]: ${verb} it by hand`);
}

/** The line, from 1, of the first that holds `part` in the table of that name; of its header if none does. */
function lineOf(text: string, name: string, part: string): number | undefined {
  const lines = text.split('\n');
  const range = tableRange(lines, name);
  if (range === undefined) {
    const at = lines.findIndex((line) => !line.trimStart().startsWith('#') && line.includes(name));
    return at === -1 ? undefined : at + 1;
  }
  const inside = lines.slice(range.start + 1, range.end).findIndex((line) => part !== '' && line.includes(part));
  return inside === -1 ? range.start + 1 : range.start + 2 + inside;
}

function formatEntry({ name, key, role, limits = {}, ...lists }: AccessEntry): string {
  const header = /^[A-Za-z0-9_-]+$/.test(name) ? `[${name}]` : `["${name}"]`;
  const rules = LIST_NAMES.map((list) => formatList(list, lists[list] ?? [])).join('');
  const part = role === 'client' ? '' : `role = "${role}"\n`;
  return `${header}\nkey = "${formatPublicIdentity(key)}"\n${part}${rules}${formatLimits(limits)}`;
}

function formatList(list: keyof Lists, rules: readonly string[]): string {
  return rules.length === 0 ? '' : `${list} = [${rules.map((rule) => JSON.stringify(rule)).join(', ')}]\n`;
}

/** An edit may fail if the text is written in an unexpected way. Its result must not reach the file then. */
function verified(text: string, expected: readonly AccessEntry[], parsers: AnyParsers): string {
  const plain = (entries: readonly AccessEntry[]): string[] => entries.map(formatEntry).sort();
  const found = plain(parseAccessList(text, parsers));
  const wanted = plain(expected);
  if (found.length === wanted.length && found.every((entry, at) => entry === wanted[at])) return text;
  throw malformed(undefined, 'wstun cannot edit it as it is written; edit it by hand');
}
