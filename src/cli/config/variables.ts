/** Settings from the environment: `WSTUN_LISTEN` for `--listen`. Pure, but that secrets are deleted from it. */
import { WstunError } from '../../errors.ts';
import { nearest } from '../nearest.ts';
import {
  mayBeSecret,
  type RawValue,
  readValue,
  rejectionOf,
  type Setting,
  type SettingValue,
  type ValueChecks,
  variableOf,
} from './settings.ts';

const YES: ReadonlySet<string> = new Set(['true', '1', 'yes', 'on']);
const NO: ReadonlySet<string> = new Set(['false', '0', 'no', 'off']);

/** Their values may have commas. */
const NOT_SPLIT_AT_COMMAS: ReadonlySet<string> = new Set(['header', 'browser-arg']);

/** Of other commands and of children that wstun starts, or read elsewhere. */
const OTHER_VARIABLES = [
  'WSTUN_CONFIG',
  'WSTUN_PROXY_HOST',
  'WSTUN_PROXY_PORT',
  'WSTUN_PROXY_SCHEME',
  'WSTUN_STATE',
  'WSTUN_ENV',
  'WSTUN_PROXY_CHALLENGE',
];
/** Of wstun's own tests, which start it. */
const OF_TESTS = ['WSTUN_POISON', 'WSTUN_NODES', 'WSTUN_LONG', 'WSTUN_SWEEP', 'WSTUN_SCHEDULES', 'WSTUN_OWN_NETWORK'];
/** Kubernetes sets these in every container beside a service that is called wstun. */
const OF_KUBERNETES = /^WSTUN_(?:SERVICE_(?:HOST|PORT)|PORT)(?:_|$)/;

/** An empty variable counts as absent. @throws WstunError bad-variable */
export function readVariables(
  settings: readonly Setting[],
  environment: NodeJS.ProcessEnv,
  checks: ValueChecks = {},
): SettingValue[] {
  return settings.flatMap((setting) => readVariable(setting, environment, checks) ?? []);
}

function readVariable(setting: Setting, environment: NodeJS.ProcessEnv, checks: ValueChecks): SettingValue | undefined {
  const { opposite, key } = setting;
  const names = [setting.variable, ...(opposite === undefined ? [] : [variableOf(opposite)])];
  const given = names.filter((name) => (environment[name] ?? '') !== '');
  const [name] = given;
  if (name === undefined) return undefined;
  if (given.length > 1) throw new WstunError('bad-variable', `${given.join(' and ')} say the same: leave one out`);
  const text = environment[name] ?? '';
  const isOpposite = name !== setting.variable;
  const raw = rawOf(setting, text, name);
  // Child processes must not inherit a secret.
  if (mayBeSecret(key)) delete environment[name];
  try {
    const said = isOpposite ? !raw : raw;
    // An invite may be among other text, and is checked where it is used.
    return { setting, value: readValue(setting, said, key === 'invite' ? {} : checks), raw: said, origin: name };
  } catch (error) {
    throw named(name, error, setting);
  }
}

/** The fault of the option, with the name of the variable. */
function named(name: string, error: unknown, setting: Setting): WstunError {
  if (error instanceof WstunError && error.fault !== 'bad-option') {
    const detail = error.detail.replace(/^--[a-z-]+(?:: | )?/, '');
    return new WstunError(error.fault, [name, detail].filter((part) => part !== '').join(': '), { fix: error.fix });
  }
  const { what, fix } = rejectionOf(error, setting);
  return new WstunError('bad-variable', `${name}: ${what}`, { fix });
}

function rawOf({ kind, key }: Setting, text: string, name: string): RawValue {
  const word = text.trim().toLowerCase();
  if (kind === 'flag' || kind === 'choice') {
    if (YES.has(word)) return true;
    if (NO.has(word)) return false;
    if (kind === 'flag') throw new WstunError('bad-variable', `${name} must be true or false`, { fix: '' });
  }
  return kind === 'list' ? splitList(text, key) : text;
}

/** One value on each line or, where there is one line, between commas. */
function splitList(text: string, key: string): readonly string[] {
  const lines = text.split(/\r?\n/);
  const isOneLine = lines.filter((line) => line.trim() !== '').length <= 1;
  const parts = isOneLine && !NOT_SPLIT_AT_COMMAS.has(key) ? text.split(',') : lines;
  return parts.map((part) => part.trim()).filter((part) => part !== '' && !(key === 'header' && part.startsWith('#')));
}

/** Variables whose names begin as those of wstun do, but that nothing reads; each with the one that may be meant. */
export function unknownVariables(
  settings: readonly Setting[],
  environment: NodeJS.ProcessEnv,
): readonly { readonly name: string; readonly meant: string | undefined }[] {
  const opposites = settings.flatMap(({ opposite }) => (opposite === undefined ? [] : [variableOf(opposite)]));
  const known = new Set([...settings.map(({ variable }) => variable), ...opposites, ...OTHER_VARIABLES]);
  const isKnown = (name: string) => known.has(name) || OF_TESTS.includes(name) || OF_KUBERNETES.test(name);
  const names = Object.keys(environment).filter((name) => name.startsWith('WSTUN_') && !isKnown(name));
  return names.map((name) => ({ name, meant: nearest(name, known) }));
}
