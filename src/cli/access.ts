/** `wstun access …`: edits the access list of a state directory, or of a cluster. Whatever runs with it follows it. */
import { importEntries } from '../app/access-import.ts';
import {
  accessFile,
  findIssuer,
  type Issuer,
  inviteNewPeer,
  isInviteDead,
  newEntry,
  renewInvites,
} from '../app/invites.ts';
import { adoptUrls } from '../app/own-urls.ts';
import { parseRelayUrls } from '../app/public-url.ts';
import { WstunError } from '../errors.ts';
import { parseLimitChanges, parseLimitOptions } from '../state/access-limits.ts';
import type { AccessRole } from '../state/access-list.ts';
import { loadIdentity, loadOrCreateIdentity } from '../state/identity-file.ts';
import { openExistingStateDir, openStateDir } from '../state/state-dir.ts';
import { type ClusterTexts, withAccess, withAccessOf } from './access-place.ts';
import { describeEntry, plainLine, tableOf } from './access-text.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { exitHere, findState, findStateToAdd, type StateOption } from './find-state.ts';
import { printLine } from './output.ts';
import { shellQuote } from './shell.ts';
import { deliveryTo, requireShowable, type ShowOptions, showInvite } from './show-invite.ts';
import { tableLines } from './table.ts';

type LimitTexts = Parameters<typeof parseLimitOptions>[0];

type PlaceOptions = StateOption & ClusterTexts;

interface AddOptions extends StateOption, ClusterTexts, ConfirmOptions, LimitTexts, ShowOptions {
  readonly url?: readonly string[];
  readonly role?: AccessRole;
  readonly allow?: readonly string[];
  readonly listen?: readonly string[];
}

interface SetOptions extends PlaceOptions, LimitTexts {
  readonly allow?: readonly string[];
  readonly disallow?: readonly string[];
  readonly listen?: readonly string[];
  readonly noListen?: readonly string[];
}

/** Checks everything before it creates anything: a command that fails leaves no directory and no keys. */
export async function addAccess(name: string, options: AddOptions): Promise<void> {
  requireShowable(options);
  const { role = 'client', allow = [], listen = [] } = options;
  const entry = newEntry(name, { role, allow, listen, limits: parseLimitOptions(options) });
  const urls = parseRelayUrls(options.url ?? []);
  const { path, isNew } = findStateToAdd(options);
  if (isNew) await confirmNewKeys(path, urls, options);
  const state = await openStateDir(path);
  const issuer = await issuerOf(state, urls, loadOrCreateIdentity);
  const deliver = deliveryTo(options);
  const invite = await withAccessOf(state, options, ({ list }) => inviteNewPeer(list, issuer, entry, deliver));
  const start = `wstun relay --state ${shellQuote(state.path)}`;
  if (isNew && issuer.exitName === undefined)
    tell(`wstun: new keys were made in ${state.path}; start the relay with: ${start}`);
  showInvite({ name, role, invite }, issuer, allow, options);
}

/** A new peer under the same name, with the same rules. The previous invite is revoked. */
export async function renewAccess(name: string, options: Omit<AddOptions, 'role' | 'allow' | 'listen'>): Promise<void> {
  requireShowable(options);
  const state = await openExistingStateDir(findState(options));
  const urls = parseRelayUrls(options.url ?? []);
  await withAccessOf(state, options, async ({ list }) => {
    const before = required(await list.read(), name);
    const issuer = await issuerOf(state, urls, async () => ({ identity: await loadIdentity(state) }));
    if (!(await isInviteDead(state, before)))
      await confirm(`This revokes the current invite of ${name} and ends its sessions.`, options);
    const [renewed] = await renewInvites(list, issuer, [name], deliveryTo(options));
    if (renewed !== undefined) showInvite(renewed, issuer, before.allow, options);
  });
}

export async function listAccess(options: PlaceOptions & { json?: boolean }): Promise<void> {
  const { entries, bytes, place } = await withAccess(options, async ({ list, usage }) => {
    const entries = await list.read();
    return { entries, bytes: (await usage(Date.now())).bytes, place: list.place };
  });
  const all = entries.map(({ name, role, allow, listen = [], limits }) => {
    return { name, role, allow, listen, ...limits, used: bytes.get(name) };
  });
  if (options.json) return printLine(JSON.stringify(all));
  if (entries.length === 0) tell(`the access list in ${place} is empty`);
  const shown = entries.map((entry) => ({ entry, bytes: bytes.get(entry.name) }));
  const isForPeople = process.stdout.isTTY && entries.length > 0;
  const lines = isForPeople ? tableLines(tableOf(shown, Date.now())) : shown.map(plainLine);
  for (const line of lines) printLine(line);
}

export async function showAccess(name: string, options: PlaceOptions & { json?: boolean }): Promise<void> {
  const now = Date.now();
  const found = await withAccess(options, async ({ list, usage, isDead }) => {
    const entry = required(await list.read(), name);
    return { entry, usage: await usage(now), isOutdated: await isDead(entry), place: list.place };
  });
  const { entry, usage, isOutdated, place } = found;
  const [bytes, lastUsed] = [usage.bytes.get(name), usage.lastUsed.get(name)];
  const { role, allow, listen = [], limits } = entry;
  if (options.json) {
    const last = lastUsed === undefined ? null : new Date(lastUsed).toISOString();
    const more = { used: bytes ?? 0, month: usage.month, lastUsed: last };
    const valid = { inviteIsValid: !isOutdated, ...(options.cluster ? { cluster: place } : { state: place }) };
    return printLine(JSON.stringify({ name, role, allow, listen, ...limits, ...more, ...valid }));
  }
  for (const line of tableLines(describeEntry({ entry, bytes, lastUsed }, place, isOutdated, now))) printLine(line);
}

/** The invite stays valid, and sessions continue. */
export async function setAccess(name: string, options: SetOptions): Promise<void> {
  const { allow = [], disallow = [], listen = [], noListen = [] } = options;
  const limits = parseLimitChanges(options);
  const change = { allow, disallow, listen, noListen, limits };
  if (allow.length + disallow.length + listen.length + noListen.length + limits.size === 0)
    throw new WstunError(
      'bad-option',
      'nothing to change: give --allow, --disallow, --listen, --no-listen, --sessions, --rate or --quota',
    );
  await withAccess(options, ({ list }) => list.change(name, change));
}

export async function removeAccess(name: string, options: PlaceOptions): Promise<void> {
  const removed = await withAccess(options, async ({ list, forgetExit }) => {
    const entry = (await list.read()).find((each) => each.name === name);
    await list.remove(name);
    if (entry?.role === 'exit') await forgetExit(name);
    return entry;
  });
  if (!process.stderr.isTTY) return;
  const also = removed?.role === 'exit' ? ' Its clients can no longer reach it through this relay.' : '';
  tell(`wstun: ${name} was removed; its sessions end within two seconds, and its invite is void.${also}`);
}

/** Copies what the access list of a state directory has into the cluster. */
export async function importAccess(options: PlaceOptions): Promise<void> {
  const { cluster: _, ...here } = options;
  if (options.cluster === undefined) throw new WstunError('bad-option', 'import needs --cluster, into which to copy');
  const state = await openExistingStateDir(findState(here));
  const entries = await accessFile(state).read();
  const added = await withAccess(options, ({ list }) => importEntries(entries, list));
  for (const name of added) printLine(name);
  tell(`wstun: ${added.length} of ${entries.length} entries of ${state.path} were new in the cluster`);
}

/** @throws WstunError name-unknown */
function required<E extends { readonly name: string }>(entries: readonly E[], name: string): E {
  const entry = entries.find((each) => each.name === name);
  if (entry === undefined) throw new WstunError('name-unknown', name);
  return entry;
}

/** No relay has used this directory. If it was not named, the person may have meant another one. */
async function confirmNewKeys(path: string, urls: readonly string[], options: AddOptions): Promise<void> {
  if (urls.length === 0) throw unknownUrl(path);
  if (options.state === undefined)
    await confirm(`There are no keys in ${path} yet. wstun will make new ones, for a relay.`, options);
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** @throws WstunError bad-url where none is known */
async function issuerOf(...wanted: Parameters<typeof findIssuer>): Promise<Issuer> {
  const [state, urls] = wanted;
  const issuer = await findIssuer(...wanted);
  if (issuer === undefined) throw unknownUrl(state.path);
  if (issuer.exitName === undefined) await adoptUrls(state, urls);
  return issuer;
}

function unknownUrl(path: string): WstunError {
  const exit = exitHere();
  const isElsewhere = exit !== undefined && exit !== path;
  const instead = isElsewhere ? ` This machine has an exit: --state ${shellQuote(exit)}.` : '';
  return new WstunError('bad-url', `no URL is known in ${path} yet`, {
    fix: `Start \`wstun relay\` there once, or give the URL: --url wss://HOST.${instead}`,
  });
}
