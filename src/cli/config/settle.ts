/**
 * What a command runs with: its options, completed by variables of the environment and by `wstun.toml`, in this order.
 * The file is loaded only when there is one.
 */
import type { Command } from 'commander';
import { WstunError } from '../../errors.ts';
import { signatureOf } from '../../state/file-watch.ts';
import { shellQuote } from '../shell.ts';
import type { ConfigText } from './config-file.ts';
import { merge } from './excluding.ts';
import type { Config, ConfigFault } from './read-config.ts';
import type { RawValue, Role, Setting, SettingValue, ValueChecks } from './settings.ts';
import { readVariables, unknownVariables } from './variables.ts';

/** Options by their names, as a command's action gets them. */
export type Options = Readonly<Record<string, unknown>>;

/** What holds now, and how to look again. */
export interface Settled {
  readonly role: Role;
  /** Of the file; undefined: there is none. */
  readonly path: string | undefined;
  readonly values: readonly SettingValue[];
  readonly options: Options;
  /** Without any of the values. */
  readonly defaults: Options;
  /** Of the file when it was read, as of `signatureOf`; empty without one. */
  readonly signature: string;
  /** Variables that nothing reads, in words. */
  readonly warnings: readonly string[];
  /** By the file as it is now. @throws WstunError config-unusable, config-malformed, config-exposed */
  again(): Promise<Settled>;
}

export interface SettleContext {
  readonly role: Role;
  /** Parsed. */
  readonly command: Command;
  /** Of all commands that have settings. Secrets are deleted from it. */
  readonly environment: NodeJS.ProcessEnv;
  /** All settings of each role. */
  readonly settings: Readonly<Record<Role, readonly Setting[]>>;
}

/** @throws WstunError config-unusable, config-malformed, config-exposed, bad-variable */
export async function settle({ role, command, environment, settings }: SettleContext): Promise<Settled> {
  const given = command.opts<Options>();
  const { findConfig } = await import('./config-file.ts');
  const path = await findConfig(given.config as string | undefined, environment);
  const all = Object.values(settings).flat();
  const warnings = unknownVariables(all, environment).map(({ name, meant }) => {
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    return `the variable ${name} is unknown to wstun, and has no effect${hint}`;
  });
  const isNeeded = path !== undefined || settings[role].some(({ variable }) => environment[variable] !== undefined);
  const checks = isNeeded ? (await import('../../app/value-checks.ts')).VALUE_CHECKS : {};
  const flags = flagsOf(command, settings[role]);
  const variables = withFlags(readVariables(settings[role], environment, checks), flags);
  const defaults = Object.fromEntries(
    command.options.map((option) => [
      option.attributeName(),
      (option.defaultValue ?? (option.negate || undefined)) as unknown,
    ]),
  );
  const at = async (): Promise<Settled> => {
    // Before the file is read, so that a change in between counts as one.
    const signature = path === undefined ? '' : await signatureOf(path).catch(() => 'missing');
    const ofFile = path === undefined ? [] : (await loadConfig(path, settings, checks)).settings[role];
    const values = merge([flags, variables, ofFile]);
    const options = {
      ...defaults,
      ...Object.fromEntries(values.map(({ setting, value }) => [setting.attribute, value])),
    };
    return {
      role,
      path,
      values,
      options: withoutUndefined(options),
      defaults: withoutUndefined(defaults),
      signature,
      warnings,
      again: at,
    };
  };
  return await at();
}

/** What was typed. Its values have been read already. */
function flagsOf(command: Command, settings: readonly Setting[]): SettingValue[] {
  const given = settings.flatMap((setting): SettingValue[] => {
    if (command.getOptionValueSource(setting.attribute) !== 'cli') return [];
    const value: unknown = command.getOptionValue(setting.attribute);
    return [{ setting, value, raw: writtenOf(value), origin: setting.option.long ?? '' }];
  });
  const invite = settings.find(({ key }) => key === 'invite');
  if (invite === undefined || command.args.length === 0) return given;
  return [{ setting: invite, value: undefined, raw: command.args.join(' '), origin: 'the argument' }, ...given];
}

/** Header fields of both are sent, as ever. */
function withFlags(variables: readonly SettingValue[], flags: SettingValue[]): SettingValue[] {
  return variables.filter((value) => {
    const at = flags.findIndex(({ setting }) => setting === value.setting);
    const flag = flags[at];
    if (value.setting.key !== 'header' || flag === undefined) return true;
    const [raw, both] = [value, flag].map(({ raw: it, value: they }) => [it, they]);
    const join = (one: unknown, other: unknown) => [one, other].flat() as readonly string[];
    flags[at] = { ...flag, raw: join(raw?.[0], both?.[0]), value: join(raw?.[1], both?.[1]) };
    return false;
  });
}

/** For comparison and display: the text itself is no longer known. */
function writtenOf(value: unknown): RawValue {
  if (typeof value === 'boolean') return value;
  return Array.isArray(value) ? value.map(textOf) : textOf(value);
}

function textOf(value: unknown): string {
  return typeof value === 'object' && value !== null ? Object.values(value).join(':') : String(value);
}

function withoutUndefined(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Throws at the first fault, and says how many more there are. @throws WstunError */
async function loadConfig(path: string, settings: SettleContext['settings'], checks: ValueChecks): Promise<Config> {
  const [{ readConfigFile }, { readConfig }] = await Promise.all([
    import('./config-file.ts'),
    import('./read-config.ts'),
  ]);
  const file = await readConfigFile(path);
  const config = readConfig(file.text, { path, settings, checks });
  const [first, ...more] = config.faults;
  const exposed = faultOfSecret(file, config);
  if (exposed !== undefined) throw exposed;
  if (first === undefined) return config;
  const rest = more.length === 0 ? '' : ` ${more.length} more: wstun config check ${shellQuote(path)}`;
  throw new WstunError('config-malformed', describeFault(path, first), { fix: `${first.fix}${rest}` });
}

export function describeFault(path: string, { line, what }: ConfigFault): string {
  return `${path}:${line}: ${what}`;
}

/** A file in which others can read a secret. */
export function faultOfSecret({ path, isOpenToOthers }: ConfigText, { secretLine }: Config): WstunError | undefined {
  if (!isOpenToOthers || secretLine === undefined) return undefined;
  return new WstunError('config-exposed', `${path}:${secretLine}: others can read this secret`, {
    fix: `Run: chmod 600 ${shellQuote(path)}`,
  });
}
