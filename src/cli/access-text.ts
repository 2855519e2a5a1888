/** How entries of an access list are shown to people. Pure. */
import { DEFAULT_SESSIONS, describeLimits, type EntryLimits, limitText } from '../state/access-limits.ts';
import type { AccessEntry } from '../state/access-list.ts';

type Entry = Pick<AccessEntry, 'name' | 'role' | 'allow' | 'listen' | 'limits'>;

export interface Shown {
  readonly entry: Entry;
  /** Used this month; undefined: nothing. */
  readonly bytes: number | undefined;
  /** Ms since 1970; undefined: nothing is recorded. */
  readonly lastUsed?: number | undefined;
}

/** As scripts read it: one line. */
export function plainLine({ entry: { name, role, allow, listen = [], limits = {} }, bytes }: Shown): string {
  const use = bytes === undefined ? [] : [`used=${(bytes / 1_000_000).toFixed(1)}MB`];
  const rules = role === 'exit' ? ['(exit)'] : [...allow, ...listen.map((rule) => `listen=${rule}`)];
  return [name, ...rules, ...describeLimits(limits), ...use].join('  ');
}

/** A header, and a row for each. @param now ms since 1970 */
export function tableOf(all: readonly Shown[], now: number): string[][] {
  return [['NAME', 'ALLOWED', 'LIMITS', 'USED'], ...all.map((each) => rowOf(each, now))];
}

function rowOf({ entry, bytes }: Shown, now: number): string[] {
  const { name, role, allow, listen = [], limits = {} } = entry;
  if (role === 'exit') return [name, '(an exit: it has its own rules)'];
  const { quota: _, ...rest } = limits;
  const targets = ['public addresses', ...allow, ...listen.map((rule) => `listen ${rule}`)].join(', ');
  return [name, targets, describeLimits(rest).join(', ') || '–', useText(limits, bytes, now)];
}

/** Everything that is known of one entry. */
export function describeEntry(
  { entry, bytes, lastUsed }: Shown,
  state: string,
  isOutdated: boolean,
  now: number,
): string[][] {
  const { name, role, allow, listen = [], limits = {} } = entry;
  const rows = [
    ['name', name],
    ['role', role],
  ];
  if (role === 'client') {
    const { sessions, rate, quota } = limits;
    rows.push(['allowed', ['public addresses', ...allow].join(', ')]);
    rows.push(['listens', listen.join(', ') || 'nowhere']);
    rows.push(['sessions', sessions === undefined ? `${DEFAULT_SESSIONS} (default)` : String(sessions)]);
    rows.push(['rate', rate === undefined ? 'no limit' : `${limitText('rate', rate)} in each direction`]);
    rows.push(['quota', quota === undefined ? 'no limit' : `${limitText('quota', quota)} a month`]);
    rows.push(['used', useText(limits, bytes, now)]);
    rows.push(['last used', lastUsed === undefined ? 'nothing is recorded' : timeText(lastUsed)]);
  } else rows.push(['allowed', 'as its own access list says']);
  rows.push(['invite', isOutdated ? `older than the keys: wstun access renew ${name}` : 'valid']);
  return [...rows, ['list', state]];
}

/** `12.3 MB of 100 GB in November`: months of quotas are those of UTC. */
function useText({ quota }: EntryLimits, bytes = 0, now: number): string {
  const of = quota === undefined ? '' : ` of ${limitText('quota', quota)}`;
  return `${bytesText(bytes)}${of} in ${new Date(now).toLocaleString('en', { month: 'long', timeZone: 'UTC' })}`;
}

/** `2026-11-30 13:05 UTC`. */
function timeText(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function bytesText(bytes: number): string {
  const [unit, size] = bytes >= 1e12 ? ['TB', 1e12] : bytes >= 1e9 ? ['GB', 1e9] : ['MB', 1e6];
  return `${(bytes / Number(size)).toFixed(1)} ${unit}`;
}
