/** `wstun access …`: edits the access list of a state directory. A running relay or exit follows the file. */
import {
  accessFile,
  findIssuer,
  type Issuer,
  inviteNewPeer,
  isInviteDead,
  newEntry,
  renewInvite,
} from '../app/invites.ts';
import { parseRelayUrls } from '../app/public-url.ts';
import { WstunError } from '../errors.ts';
import { describeLimits, type EntryLimits, parseLimitChanges, parseLimitOptions } from '../state/access-limits.ts';
import type { AccessRole } from '../state/access-list.ts';
import { loadIdentity, loadOrCreateIdentity } from '../state/identity-file.ts';
import { openExistingStateDir, openStateDir } from '../state/state-dir.ts';
import { readUsage } from '../state/usage-file.ts';
import { type ConfirmOptions, confirm } from './confirm.ts';
import { exitHere, findState, findStateToAdd, type StateOption } from './find-state.ts';
import { printLine } from './output.ts';
import { shellQuote } from './shell.ts';

type LimitTexts = Parameters<typeof parseLimitOptions>[0];

interface AddOptions extends StateOption, ConfirmOptions, LimitTexts {
  readonly url?: readonly string[];
  readonly role?: AccessRole;
  readonly allow?: readonly string[];
}

interface SetOptions extends StateOption, LimitTexts {
  readonly allow?: readonly string[];
  readonly disallow?: readonly string[];
}

/** Checks everything before it creates anything: a command that fails leaves no directory and no keys. */
export async function addAccess(name: string, options: AddOptions): Promise<void> {
  const { role, allow } = options;
  const entry = newEntry(name, { role, allow, limits: parseLimitOptions(options) });
  const urls = parseRelayUrls(options.url ?? []);
  const { path, isNew } = findStateToAdd(options);
  if (isNew) await confirmNewKeys(path, urls, options);
  const state = await openStateDir(path);
  const issuer = await issuerOf(state, urls, loadOrCreateIdentity);
  const invite = await inviteNewPeer(accessFile(state), issuer, entry);
  const start = `wstun relay --state ${shellQuote(state.path)}`;
  if (isNew && issuer.exitName === undefined)
    tell(`wstun: new keys were made in ${state.path}; start the relay with: ${start}`);
  showInvite(name, issuer, invite);
}

/** A new peer under the same name, with the same rules. The previous invite is revoked. */
export async function renewAccess(name: string, options: Pick<AddOptions, 'state' | 'yes' | 'url'>): Promise<void> {
  const state = await openExistingStateDir(findState(options));
  const file = accessFile(state);
  const before = (await file.read()).find((entry) => entry.name === name);
  if (before === undefined) throw new WstunError('name-unknown', name);
  const urls = parseRelayUrls(options.url ?? []);
  const issuer = await issuerOf(state, urls, async () => ({ identity: await loadIdentity(state) }));
  if (!(await isInviteDead(state, before)))
    await confirm(`This revokes the current invite of ${name} and ends its sessions.`, options);
  showInvite(name, issuer, await renewInvite(file, issuer, name));
}

export async function listAccess(options: StateOption & { json?: boolean }): Promise<void> {
  const state = await openExistingStateDir(findState(options));
  const entries = await accessFile(state).read();
  const { bytes } = await readUsage(state, Date.now());
  const all = entries.map(({ name, role, allow, limits }) => ({ name, role, allow, ...limits, used: bytes.get(name) }));
  if (options.json) return printLine(JSON.stringify(all));
  if (entries.length === 0) tell(`the access list in ${state.path} is empty`);
  for (const { name, role, allow, limits = {} } of entries)
    printLine([name, ...(role === 'exit' ? ['(exit)'] : allow), ...describeUse(limits, bytes.get(name))].join('  '));
}

/** The invite stays valid, and sessions continue. */
export async function setAccess(name: string, options: SetOptions): Promise<void> {
  const { allow = [], disallow = [] } = options;
  const limits = parseLimitChanges(options);
  if (allow.length + disallow.length + limits.size === 0)
    throw new WstunError('bad-option', 'nothing to change: give --allow, --disallow, --sessions, --rate or --quota');
  await accessFile(await openExistingStateDir(findState(options))).change(name, { allow, disallow, limits });
}

export async function removeAccess(name: string, options: StateOption): Promise<void> {
  await accessFile(await openExistingStateDir(findState(options))).remove(name);
  if (process.stderr.isTTY) tell(`wstun: ${name} was removed; its sessions end within two seconds`);
}

/** No relay has used this directory. If it was not named, the person may have meant another one. */
async function confirmNewKeys(path: string, urls: readonly string[], options: AddOptions): Promise<void> {
  if (urls.length === 0) throw unknownUrl(path);
  if (options.state === undefined)
    await confirm(`There are no keys in ${path} yet. wstun will make new ones, for a relay.`, options);
}

/** Only the invite on stdout. A person also sees its URL. */
function showInvite(name: string, { relayUrls }: Issuer, invite: string): void {
  if (process.stderr.isTTY) tell(`invite for ${name}, through ${relayUrls.join(' or ')}`);
  printLine(invite);
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** @param bytes used in this month */
function describeUse(limits: EntryLimits, bytes: number | undefined): string[] {
  const texts = describeLimits(limits);
  return bytes === undefined ? texts : [...texts, `used=${(bytes / 1_000_000).toFixed(1)}MB`];
}

/** @throws WstunError bad-url where none is known */
async function issuerOf(...wanted: Parameters<typeof findIssuer>): Promise<Issuer> {
  const issuer = await findIssuer(...wanted);
  if (issuer === undefined) throw unknownUrl(wanted[0].path);
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
