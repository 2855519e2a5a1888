/** `wstun config …`: checks and shows settings, and starts nothing. */
import type { Command } from 'commander';
import { VALUE_CHECKS } from '../app/value-checks.ts';
import { WstunError } from '../errors.ts';
import { findConfig, readConfigFile, usualPlaces } from './config/config-file.ts';
import { readConfig } from './config/read-config.ts';
import { allSettings, COMMANDS } from './config/roles.ts';
import {
  type RawValue,
  ROLES,
  type Role,
  type Setting,
  type SettingValue,
  settingsOf,
  shownRaw,
} from './config/settings.ts';
import { describeFault, faultOfSecret, type Settled, settle } from './config/settle.ts';
import { printLine } from './output.ts';
import { safeText } from './terminal/safe-text.ts';
import { markTold } from './told.ts';

interface ConfigOptions {
  readonly config?: string;
}

interface ShowOptions extends ConfigOptions {
  readonly origin?: boolean;
  readonly json?: boolean;
}

/** Prints all mistakes. @throws WstunError config-malformed, which has been told, config-unusable, config-exposed */
export async function checkConfig(given: string | undefined): Promise<void> {
  const path = await requirePath(given);
  const file = await readConfigFile(path);
  const config = readConfig(file.text, { path, settings: allSettings(), checks: VALUE_CHECKS });
  for (const fault of config.faults) tell(`${describeFault(path, fault)}.${fault.fix === '' ? '' : ` ${fault.fix}`}`);
  const exposed = faultOfSecret(file, config);
  if (exposed !== undefined) throw exposed;
  const count = config.faults.length;
  if (count > 0) {
    tell(`wstun: ${path} has ${count === 1 ? 'a mistake' : `${count} mistakes`}`);
    throw markTold(new WstunError('config-malformed', path));
  }
  const counts = ROLES.flatMap((role) => {
    const settings = config.settings[role].length;
    return settings === 0 ? [] : [{ settings, role }];
  });
  const [first, ...rest] = counts.map(({ settings, role }) => ({ text: String(settings), settings, role }));
  if (first === undefined) return printLine('OK: no settings');
  const head = `${first.text} ${first.settings === 1 ? 'setting' : 'settings'} for ${first.role}`;
  printLine(`OK: ${[head, ...rest.map(({ text, role }) => `${text} for ${role}`)].join(', ')}`);
}

/** @throws WstunError config-unusable where there is none */
export async function printConfigPath({ config }: ConfigOptions): Promise<void> {
  printLine(await requirePath(config));
}

/** @throws WstunError as of `settle` */
export async function showConfig(
  name: string | undefined,
  given: readonly string[],
  options: ShowOptions,
): Promise<void> {
  const role = ROLES.find((each) => each === name);
  const shown = role === undefined ? await allSettled(options) : [await settledOf(role, given, options)];
  if (options.json === true) {
    const byRole = shown.map((settled) => [settled.role, jsonOf(settled)]);
    return printLine(JSON.stringify(Object.fromEntries(byRole)));
  }
  const blocks = shown.map((settled) => linesOf(settled, options.origin === true).join('\n'));
  if (blocks.length > 0) printLine(blocks.join('\n\n'));
}

/** Those that something is said about, else all. */
async function allSettled(options: ShowOptions): Promise<readonly Settled[]> {
  const all: Settled[] = [];
  for (const role of ROLES) all.push(await settledOf(role, [], options));
  const said = all.filter(({ values }) => values.length > 0);
  return said.length > 0 ? said : all;
}

async function settledOf(role: Role, given: readonly string[], { config }: ShowOptions): Promise<Settled> {
  const command = COMMANDS[role]();
  command.exitOverride().action(() => {});
  await command.parseAsync([...given, ...(config === undefined ? [] : ['--config', config])], { from: 'user' });
  return await settle({ role, command, environment: { ...process.env }, settings: settingsWith(role, command) });
}

function settingsWith(role: Role, command: Command): Readonly<Record<Role, readonly Setting[]>> {
  return { ...allSettings(), [role]: settingsOf(command) };
}

/** Values that are TOML, in the order of the help. */
function linesOf({ role, values }: Settled, withOrigin: boolean): string[] {
  const byKey = new Map(values.map((value) => [value.setting.key, value]));
  const lines = allSettings()[role].flatMap((setting) => {
    const value = byKey.get(setting.key);
    if (value !== undefined) return [lineOfValue(value, withOrigin)];
    const byDefault = withOrigin ? defaultOf(setting) : undefined;
    return byDefault === undefined ? [] : [`# ${setting.key}: ${byDefault}  (default)`];
  });
  return [`[${role}]`, ...lines];
}

function lineOfValue({ setting: { key, kind }, raw, origin }: SettingValue, withOrigin: boolean): string {
  const isNumber = kind === 'number' && typeof raw === 'string' && /^\d+$/.test(raw);
  const line = `${key} = ${isNumber ? raw : tomlOf(shownRaw(key, raw))}`;
  return withOrigin ? `${line}  # ${origin}` : line;
}

function tomlOf(raw: RawValue): string {
  if (typeof raw === 'boolean') return String(raw);
  return typeof raw === 'string' ? JSON.stringify(raw) : `[${raw.map((text) => JSON.stringify(text)).join(', ')}]`;
}

/** As the help says it; undefined: there is none, or it is off. */
function defaultOf({ option, kind }: Setting): string | undefined {
  if (kind === 'flag') return option.negate ? 'true' : 'false';
  if (option.defaultValueDescription !== undefined) return option.defaultValueDescription;
  if (typeof option.defaultValue === 'string') return option.defaultValue;
  return /\(default: (.*)\)$/.exec(option.description)?.[1];
}

function jsonOf({ role, values }: Settled): object {
  const byKey = new Map(values.map((value) => [value.setting.key, value]));
  const entries = allSettings()[role].map((setting) => {
    const given = byKey.get(setting.key);
    if (given !== undefined) return [setting.key, { value: shownRaw(setting.key, given.raw), origin: given.origin }];
    const isFlag = setting.kind === 'flag';
    const byDefault = isFlag ? undefined : defaultOf(setting);
    const value = isFlag ? setting.option.negate : null;
    return [setting.key, { value, origin: 'default', ...(byDefault !== undefined && { default: byDefault }) }];
  });
  return Object.fromEntries(entries);
}

async function requirePath(given: string | undefined): Promise<string> {
  const path = await findConfig(given, process.env);
  if (path !== undefined) return path;
  throw new WstunError('config-unusable', `there is none at ${usualPlaces(process.env).join(' or ')}`, {
    fix: 'Write one there, or give its path: --config FILE.',
  });
}

function tell(line: string): void {
  process.stderr.write(`${safeText(line)}\n`);
}
