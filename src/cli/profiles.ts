/** `wstun profiles` and `wstun forget`: the invites that clients of this user keep. Never shows one. */
import { type Profile, Profiles } from '../app/profiles.ts';
import { WstunError } from '../errors.ts';
import { defaultStateDir } from '../state/default-dir.ts';
import { placeText } from './client-invite.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { printLine } from './output.ts';
import { tableLines } from './table.ts';

export async function listProfiles({ json = false }: { readonly json?: boolean }): Promise<void> {
  const profiles = open();
  const all = await profiles.list();
  if (json) return printLine(JSON.stringify(all.map(jsonOf)));
  if (all.length === 0) process.stderr.write(`no invite is kept in ${profiles.path}\n`);
  const header = process.stdout.isTTY && all.length > 0 ? [['NAME', 'RELAY', 'EXIT', 'SINCE', 'LAST USED']] : [];
  for (const line of tableLines([...header, ...all.map(rowOf)])) printLine(line);
}

export async function forgetProfile(
  name: string,
  options: ConfirmOptions & { readonly untried?: boolean },
): Promise<void> {
  const profiles = open();
  const found = (await profiles.list()).find((each) => each.name.toLowerCase() === name.toLowerCase());
  if (found === undefined) throw new WstunError('profile-unknown', await profiles.listed());
  if (options.untried) {
    if (!(await profiles.dropUntried(name)))
      throw new WstunError('bad-option', `only one invite is kept as "${found.name}"`, {
        fix: `To remove it: wstun forget ${found.name}.`,
      });
    return tell(`wstun: "${found.name}" is the invite again that was kept before`);
  }
  const { relayUrls, exit } = found;
  const place = relayUrls === undefined ? '' : ` for ${placeText({ relayUrls, exit })}`;
  await confirm(`This removes the invite kept as "${found.name}"${place}. It cannot be shown again.`, options);
  await profiles.forget(name);
  tell(`wstun: the invite kept as "${found.name}" was removed; it stays valid until its owner revokes it`);
}

function open(): Profiles {
  return new Profiles(defaultStateDir('client', process.env));
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

function rowOf({ name, relayUrls, exit, since, used, tried, fault }: Profile): string[] {
  if (fault !== undefined || relayUrls === undefined) return [name, `cannot be used: ${fault?.detail ?? 'it is gone'}`];
  const last = used === undefined ? '–' : dateText(used);
  return [
    name,
    placeText({ relayUrls, exit: undefined }),
    exit ?? '(relay)',
    dateText(since),
    tried ? last : 'not yet',
  ];
}

/** In the time zone of this machine. */
function dateText(ms: number | undefined): string {
  if (ms === undefined) return '–';
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

function jsonOf({ name, relayUrls, exit, since, used, tried, replaces, fault }: Profile): object {
  const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());
  const error = fault && { code: fault.code, message: fault.message };
  return { name, relays: relayUrls, exit, since: iso(since), used: iso(used), tried, replaces, error };
}
