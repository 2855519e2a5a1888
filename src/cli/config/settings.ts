/**
 * The settings of a command: its options, as keys of `wstun.toml` and as variables of the environment. They come from
 * the definitions in `commands/`, and values are read by the parsers of the options: whatever an option accepts or
 * rejects, a file and a variable do, too.
 */
import { type Command, Option } from 'commander';
import { WstunError } from '../../errors.ts';
import { isCollector } from '../options.ts';

export type Role = 'client' | 'relay' | 'exit';
export const ROLES: readonly Role[] = ['client', 'relay', 'exit'];

/** `choice`: a flag, or a text in its place. */
type SettingKind = 'flag' | 'text' | 'number' | 'list' | 'choice';

export interface Setting {
  /** The long name of the option; of `--no-exit`: `exit`. */
  readonly key: string;
  /** `no-exit`, whose value says the opposite. */
  readonly opposite: string | undefined;
  readonly option: Option;
  /** Under which name the command finds the value. */
  readonly attribute: string;
  readonly kind: SettingKind;
  /** `WSTUN_…` */
  readonly variable: string;
}

/** What a file or a variable says, before it is read. */
export type RawValue = boolean | string | readonly string[];

/** What a setting is, and where it comes from. */
export interface SettingValue {
  readonly setting: Setting;
  /** As the command gets it; undefined: as if it were not set (`tether = false`). */
  readonly value: unknown;
  /** As it was written, for comparison and display: it may be a secret. */
  readonly raw: RawValue;
  /** `--listen`, `WSTUN_LISTEN`, `/etc/wstun/wstun.toml:3` */
  readonly origin: string;
}

/** Not settings: which file is read, and what only the command line can mean. */
const NO_SETTINGS: ReadonlySet<string | undefined> = new Set(['--config', '--help', '--version']);

/** Units of options whose values are numbers, in the help: `--resume-window <s>`. */
const NUMBER_FORM = /<(?:s|n|auto\|n)>/;

/** It had that name before options had variables. */
const OTHER_VARIABLES: Readonly<Record<string, string>> = { header: 'WSTUN_HEADERS' };

export function settingsOf(command: Command): readonly Setting[] {
  const options = command.options.filter(({ long }) => !NO_SETTINGS.has(long ?? undefined));
  const hasInvite = command.registeredArguments.some((argument) => argument.name() === 'invite');
  return [...(hasInvite ? [inviteSetting()] : []), ...options.map(settingOf)];
}

/** An argument of the command. */
function inviteSetting(): Setting {
  return settingOf(new Option('--invite <text>', 'the invite: the line that `wstun access add` printed'));
}

function settingOf(option: Option): Setting {
  const name = option.long?.replace(/^--/, '') ?? '';
  const key = option.negate ? name.replace(/^no-/, '') : name;
  return {
    ...{ key, option, attribute: option.attributeName(), kind: kindOf(option) },
    opposite: option.negate ? name : undefined,
    variable: OTHER_VARIABLES[key] ?? variableOf(key),
  };
}

/** Of a key: `resume-window` is WSTUN_RESUME_WINDOW. */
export function variableOf(key: string): string {
  return `WSTUN_${key.toUpperCase().replaceAll('-', '_')}`;
}

function kindOf({ parseArg, required, optional, flags }: Option): SettingKind {
  if (!required && !optional) return 'flag';
  if (optional) return 'choice';
  if (isCollector(parseArg)) return 'list';
  return NUMBER_FORM.test(flags) ? 'number' : 'text';
}

/** Further checks of values, by key: those that a command makes when it starts. They throw WstunError. */
export type ValueChecks = Readonly<Record<string, (text: string) => unknown>>;

/** Why a value was rejected, and what to do. */
export interface Rejection {
  readonly what: string;
  readonly fix: string;
}

/** As the option of the command line would be. @throws what an option's parser or a check throws */
export function readValue({ option, kind, key }: Setting, raw: RawValue, checks: ValueChecks): unknown {
  if (typeof raw === 'boolean') return kind === 'choice' && !raw ? undefined : raw;
  const texts = typeof raw === 'string' ? [raw] : raw;
  for (const text of texts) checks[key]?.(text);
  const parse = option.parseArg as ((text: string, before: unknown) => unknown) | undefined;
  if (parse === undefined) return kind === 'list' ? texts : texts[0];
  return texts.reduce<unknown>((before, text) => parse(text, before), undefined);
}

/** Of an error of `readValue`, without the name of the option in front. */
export function rejectionOf(error: unknown, { key }: Setting): Rejection {
  const own = new RegExp(`^--${key}(?:: | )`);
  if (error instanceof WstunError) {
    const what = error.fault === 'bad-option' ? error.detail : error.what;
    return { what: what.replace(own, ''), fix: error.fix };
  }
  // Of commander: "Allowed choices are on, off."
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('commander.'))
    return { what: 'it is not one of the values that are possible', fix: error.message };
  throw error;
}

/** Keys whose values are secrets, or can hold one: such a value shows only what stands before it. */
const SECRET_FORMS: Readonly<Record<string, RegExp>> = {
  invite: /^\s*(?:wstun1_)?/,
  user: /^[^:]*:/,
  'acme-eab': /^[^:]*:/,
  header: /^[^:]*:(?=.)/,
  proxy: /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?=.*@)/i,
  via: /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?=.*@)/i,
  cluster: /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?=.*@)/i,
};
/** URLs, whose hosts may be shown. */
const WITH_HOST: readonly string[] = ['proxy', 'via', 'cluster'];
/** Fields that hold no secret. */
const PLAIN_FIELD = /^(?:accept[\w-]*|user-agent|referer|origin|host|dnt|cache-control|pragma)\s*:/i;

export function mayBeSecret(key: string): boolean {
  return Object.hasOwn(SECRET_FORMS, key);
}

/** Whether a value of a key must not be seen by others. */
export function isSecret(key: string, raw: RawValue): boolean {
  return textsOf(raw).some((text) => masked(key, text) !== text);
}

/** What may be printed of a value. */
export function shownRaw(key: string, raw: RawValue): RawValue {
  if (typeof raw === 'boolean') return raw;
  return typeof raw === 'string' ? masked(key, raw) : raw.map((text) => masked(key, text));
}

function masked(key: string, text: string): string {
  const form = SECRET_FORMS[key];
  if (form === undefined || (key === 'header' && (PLAIN_FIELD.test(text) || text.startsWith('@')))) return text;
  const [shown] = form.exec(text) ?? [];
  if (shown === undefined) return WITH_HOST.includes(key) ? text : '…';
  const host = WITH_HOST.includes(key) ? text.replace(/^.*@/s, '@') : '';
  return `${shown}…${host}`;
}

function textsOf(raw: RawValue): readonly string[] {
  if (typeof raw === 'boolean') return [];
  return typeof raw === 'string' ? [raw] : raw;
}
