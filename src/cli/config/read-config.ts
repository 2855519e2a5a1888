/** Reads the text of `wstun.toml`: its settings, and every fault that it has, each with its line. Pure. */

import { WstunError } from '../../errors.ts';
import { parseToml } from '../../state/toml.ts';
import { lineOf, linesOfKeys, type TomlLines } from '../../state/toml-lines.ts';
import { nearest } from '../nearest.ts';
import { faultsOfSet } from './excluding.ts';
import {
  isSecret,
  type RawValue,
  ROLES,
  type Role,
  readValue,
  rejectionOf,
  type Setting,
  type SettingValue,
  type ValueChecks,
} from './settings.ts';

export interface ConfigFault {
  readonly line: number;
  /** A whole sentence, with the key. */
  readonly what: string;
  /** What to do; empty where `what` says it. */
  readonly fix: string;
}

export interface Config {
  readonly settings: Readonly<Record<Role, readonly SettingValue[]>>;
  /** In the order of the lines. */
  readonly faults: readonly ConfigFault[];
  /** The line of a setting that others must not see. */
  readonly secretLine: number | undefined;
}

export interface ConfigContext {
  /** For origins. */
  readonly path: string;
  readonly settings: Readonly<Record<Role, readonly Setting[]>>;
  readonly checks: ValueChecks;
}

const SECTIONS = ROLES.map((role) => `[${role}]`).join(', ');
const NOTHING: Config['settings'] = { client: [], relay: [], exit: [] };

export function readConfig(text: string, context: ConfigContext): Config {
  let table: Record<string, unknown>;
  try {
    table = parseToml(text, (detail) => new WstunError('config-malformed', detail));
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return { settings: NOTHING, faults: [notToml(error.detail)], secretLine: undefined };
  }
  return new ConfigReader(linesOfKeys(text), context).read(table);
}

function notToml(detail: string): ConfigFault {
  const [, line = '1', what = detail] = /^line (\d+): (.*)$/.exec(detail) ?? [];
  return { line: Number(line), what: `this is not TOML: ${what}`, fix: 'Write KEY = VALUE, with texts in quotes.' };
}

class ConfigReader {
  private readonly faults: ConfigFault[] = [];
  private readonly settings: Record<Role, SettingValue[]> = { client: [], relay: [], exit: [] };
  private secretLine: number | undefined;

  constructor(
    private readonly lines: TomlLines,
    private readonly context: ConfigContext,
  ) {}

  read(table: Record<string, unknown>): Config {
    for (const [name, content] of Object.entries(table)) this.readTop(name, content);
    const faults = this.faults.toSorted((one, other) => one.line - other.line);
    return { settings: this.settings, faults, secretLine: this.secretLine };
  }

  private readTop(name: string, content: unknown): void {
    const line = lineOf(this.lines, [name]);
    const role = ROLES.find((each) => each === name);
    if (role !== undefined && isTable(content)) return this.readSection(role, content);
    if (role !== undefined)
      return this.add(line, `"${name}" is a section`, `Write it once, as [${name}], with its keys below.`);
    if (!isTable(content) && !Array.isArray(content))
      return this.add(line, `the key "${name}" is in no section`, `Write it below one of ${SECTIONS}.`);
    const meant = nearest(name, ROLES);
    const fix = meant === undefined ? `There are only ${SECTIONS}.` : `Did you mean [${meant}]?`;
    this.add(line, `the section [${name}] is unknown`, fix);
  }

  private readSection(role: Role, table: Record<string, unknown>): void {
    const read: SettingValue[] = [];
    for (const [key, content] of Object.entries(table)) {
      const line = lineOf(this.lines, [role, key]);
      const value = this.readKey(role, key, content, line);
      if (value === undefined) continue;
      if (read.some(({ setting }) => setting === value.setting)) {
        const { key: name, opposite } = value.setting;
        this.add(line, `${name} and ${opposite} are the same setting`, 'Leave one of the two out.');
      } else read.push(value);
    }
    this.settings[role] = read;
    for (const { at, what, fix } of faultsOfSet(role, read)) this.add(lineOfOrigin(at.origin), what, fix);
  }

  private readKey(role: Role, key: string, content: unknown, line: number): SettingValue | undefined {
    const setting = this.context.settings[role].find((each) => each.key === key || each.opposite === key);
    if (setting === undefined) return this.addUnknown(role, key, content, line);
    const found = rawOf(setting, content);
    if (found === undefined || ('raw' in found && found.raw === ''))
      return this.add(line, `${key} is empty`, 'Write its value, or leave the key out.');
    if ('needs' in found) return this.add(line, `${key} ${found.needs}`, `Write: ${key} = ${found.example}`);
    const raw = key === setting.opposite ? !found.raw : found.raw;
    if (isSecret(setting.key, raw)) this.secretLine ??= line;
    try {
      const value = readValue(setting, raw, this.context.checks);
      return { setting, value, raw, origin: `${this.context.path}:${line}` };
    } catch (error) {
      const { what, fix } = rejectionOf(error, setting);
      return this.add(line, `${key}: ${what}`, fix);
    }
  }

  private addUnknown(role: Role, key: string, content: unknown, line: number): undefined {
    if (isTable(content)) return this.add(line, `[${role}] has no section "${key}"`, `There are only ${SECTIONS}.`);
    const { settings } = this.context;
    const others = ROLES.filter((each) => each !== role && settings[each].some((setting) => setting.key === key));
    if (others.length > 0)
      return this.add(line, `[${role}] has no key "${key}"`, `It is for [${others.join('] or [')}].`);
    const names = settings[role].flatMap((each) => [each.key, ...(each.opposite === undefined ? [] : [each.opposite])]);
    const meant = nearest(key.replaceAll('_', '-'), names);
    const fix =
      meant === undefined ? `wstun ${role} --help lists the options that are keys here.` : `Did you mean ${meant}?`;
    return this.add(line, `[${role}] has no key "${key}"`, fix);
  }

  private add(line: number, what: string, fix: string): undefined {
    this.faults.push({ line, what, fix });
  }
}

function lineOfOrigin(origin: string): number {
  return Number(/:(\d+)$/.exec(origin)?.[1] ?? 1);
}

type Found = { readonly raw: RawValue } | { readonly needs: string; readonly example: string };

/** By the type that the setting needs; undefined: there is nothing in it. */
function rawOf(setting: Setting, content: unknown): Found | undefined {
  const isText = typeof content === 'string';
  switch (setting.kind) {
    case 'flag':
      return typeof content === 'boolean' ? { raw: content } : { needs: 'must be true or false', example: 'true' };
    case 'choice':
      if (typeof content === 'boolean' || isText) return { raw: content };
      return { needs: 'must be true, false or a text', example: 'true' };
    case 'number':
      if (isText || Number.isInteger(content)) return { raw: String(content) };
      return { needs: 'must be a whole number', example: '10' };
    case 'text':
      if (isText) return { raw: content };
      return { needs: 'must be a text', example: isScalar(content) ? JSON.stringify(String(content)) : '"…"' };
    case 'list':
      return listOf(Array.isArray(content) ? content : [content], setting);
  }
}

function listOf(list: readonly unknown[], { key }: Setting): Found | undefined {
  if (list.length === 0 || list.includes('')) return undefined;
  if (list.every((each) => typeof each === 'string')) return { raw: list };
  return { needs: 'must be a list of texts', example: key === 'dns' ? '["192.0.2.1"]' : '["…", "…"]' };
}

function isScalar(content: unknown): boolean {
  return typeof content === 'number' || typeof content === 'boolean';
}

function isTable(content: unknown): content is Record<string, unknown> {
  return typeof content === 'object' && content !== null && !Array.isArray(content) && !(content instanceof Date);
}
