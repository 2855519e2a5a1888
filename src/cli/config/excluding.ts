/** Settings that exclude or need each other, and whose word counts where several places say something. Pure. */
import type { Role, SettingValue } from './settings.ts';

interface SetFault {
  /** Where it is told. */
  readonly at: SettingValue;
  readonly what: string;
  readonly fix: string;
}

/** Of two lists, one of each cannot be set with one of the other. A place that goes first hides the other's. */
const EXCLUDING: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['ipv4'], ['ipv6']],
  [['invite'], ['invite-file']],
  [['tls-self-signed'], ['tls-cert', 'tls-key']],
  [['acme'], ['tls-self-signed']],
  [['acme'], ['tls-cert', 'tls-key']],
  [['quiet'], ['verbose']],
];

/** The first has no effect without the second. */
const NEEDING: readonly (readonly [string, string])[] = [
  ['tls-cert', 'tls-key'],
  ['tls-key', 'tls-cert'],
  ['proxy-protocol', 'trust-proxy'],
  ['acme-email', 'acme'],
  ['acme-http', 'acme'],
  ['acme-directory', 'acme'],
  ['acme-ca', 'acme'],
  ['browser-arg', 'via-browser'],
];

/** What is wrong with settings of one place, such as a file. */
export function faultsOfSet(role: Role, values: readonly SettingValue[]): readonly SetFault[] {
  const set = new Map(values.filter(isOn).map((each) => [each.setting.key, each]));
  const faults: SetFault[] = [];
  for (const [some, others] of EXCLUDING) {
    const [one, other] = [some, others].map((keys) => keys.find((key) => set.has(key)));
    const at = set.get(other ?? '');
    if (one === undefined || at === undefined) continue;
    faults.push({ at, what: `${one} and ${other} exclude each other in [${role}]`, fix: 'Leave one of them out.' });
  }
  for (const [key, needed] of NEEDING) {
    const at = set.get(key);
    if (at === undefined || set.has(needed)) continue;
    faults.push({ at, what: `${key} needs ${needed}`, fix: `Add ${needed} to [${role}], or leave ${key} out.` });
  }
  return faults;
}

/** @param places what each of them sets, the one that goes first at the front */
export function merge(places: readonly (readonly SettingValue[])[]): readonly SettingValue[] {
  const merged = new Map<string, SettingValue>();
  for (const values of places) {
    // Of the places before: two settings of one place that exclude each other are for the command to reject.
    const hidden = new Set([...merged.values()].filter(isOn).flatMap(({ setting }) => excludedBy(setting.key)));
    for (const value of values) {
      const { key } = value.setting;
      if (!merged.has(key) && !hidden.has(key)) merged.set(key, value);
    }
  }
  return [...merged.values()];
}

function excludedBy(key: string): readonly string[] {
  return EXCLUDING.flatMap(([some, others]) => {
    if (some.includes(key)) return others;
    return others.includes(key) ? some : [];
  });
}

function isOn({ raw }: SettingValue): boolean {
  return raw !== false;
}
