/** `wstun access add | list | remove`: edits the access list of a state directory; a running relay follows by itself. */
import { encodeInvite, type Invite } from '../crypto/invite.ts';
import { createIdentity, type Identity } from '../crypto/keys.ts';
import { parseRelayUrl } from '../crypto/relay-url.ts';
import { WstunError } from '../errors.ts';
import { parseRule } from '../exit/rules.ts';
import { AccessFile } from '../state/access-file.ts';
import { describeLimits, parseLimitOptions } from '../state/access-limits.ts';
import type { AccessEntry, AccessRole } from '../state/access-list.ts';
import { loadOrCreateIdentity } from '../state/identity-file.ts';
import { readRegistration } from '../state/registration-file.ts';
import { readRelayUrl } from '../state/relay-settings.ts';
import { defaultStateDir, openExistingStateDir, openStateDir, type StateDir } from '../state/state-dir.ts';
import { readUsage } from '../state/usage-file.ts';
import { printLine } from './output.ts';

export interface StateOption {
  readonly state?: string;
}

interface AddOptions extends StateOption {
  readonly url?: string;
  readonly role?: AccessRole;
  readonly allow?: readonly string[];
  readonly sessions?: string;
  readonly rate?: string;
  readonly quota?: string;
}

export async function addAccess(name: string, options: AddOptions): Promise<void> {
  const { role = 'client', allow = [] } = options;
  const state = await openState(options);
  const issuer = await findIssuer(state, options.url);
  if (role === 'exit' && issuer.exitName !== undefined)
    throw new WstunError('bad-option', 'exits register at a relay: add them in the state directory of the relay');
  if (role === 'exit' && allow.length > 0)
    throw new WstunError(
      'bad-option',
      'an exit has no --allow here: what its clients may reach is said in its own list',
    );
  const limits = parseLimitOptions(options);
  if (role === 'exit' && limits !== undefined)
    throw new WstunError('bad-option', 'an exit has no limits here: those of its clients stand in its own list');
  printLine(await inviteNewBearer(accessFile(state), issuer, { name, role, allow, ...(limits && { limits }) }));
}

/** A new bearer under the same name, with the same rules: the invite before is void from then on. */
export async function renewAccess(name: string, options: StateOption & { readonly url?: string }): Promise<void> {
  const state = await openExistingStateDir(stateDirOf(options));
  const issuer = await findIssuer(state, options.url);
  const bearer = createIdentity();
  const { role } = await accessFile(state).replaceKey(name, bearer.public);
  printLine(inviteOf(issuer, { name, role }, bearer));
}

export async function listAccess(options: StateOption & { json?: boolean }): Promise<void> {
  const state = await openExistingStateDir(stateDirOf(options));
  const entries = await accessFile(state).read();
  const { bytes } = await readUsage(state, Date.now());
  if (options.json)
    printLine(
      JSON.stringify(
        entries.map(({ name, role, allow, limits }) => ({ name, role, allow, ...limits, used: bytes.get(name) })),
      ),
    );
  else
    for (const { name, role, allow, limits = {} } of entries)
      printLine(
        [
          name,
          ...(role === 'exit' ? ['(exit)'] : allow),
          ...describeLimits(limits),
          ...describeUse(bytes.get(name)),
        ].join('  '),
      );
}

export async function removeAccess(name: string, options: StateOption): Promise<void> {
  await accessFile(await openExistingStateDir(stateDirOf(options))).remove(name);
}

export function openState(options: StateOption): Promise<StateDir> {
  return openStateDir(stateDirOf(options));
}

export function stateDirOf({ state }: StateOption): string {
  return state ?? defaultStateDir('relay', process.env);
}

export function accessFile(state: StateDir): AccessFile {
  return new AccessFile(state, parseRule);
}

/** Of this month. */
function describeUse(bytes: number | undefined): string[] {
  return bytes === undefined ? [] : [`used=${(bytes / 1_000_000).toFixed(1)}MB`];
}

/** Who invites: all of an invite but its bearer. */
type Issuer = Omit<Invite, 'bearer'>;

/** A relay, for its own exit. */
export function relayIssuer(relay: Identity, url: string): Issuer {
  const { gate, session } = relay.public;
  return { relayUrls: [url], relayGateKey: gate, exitSessionKey: session, exitName: undefined };
}

/** The relay or the exit that the directory belongs to. Where the command must fail, it leaves no new identity behind. */
async function findIssuer(state: StateDir, url: string | undefined): Promise<Issuer> {
  const registration = await readRegistration(state);
  const given = url === undefined ? undefined : parseRelayUrl(url);
  if (registration !== undefined) {
    const { relayUrls, relayGateKey, exitName } = registration;
    const { identity } = await loadOrCreateIdentity(state);
    // The exit's own key: the invite by which it registered pins the relay's.
    const exitSessionKey = identity.public.session;
    return { relayUrls: given === undefined ? relayUrls : [given], relayGateKey, exitSessionKey, exitName };
  }
  const known = given ?? (await readRelayUrl(state));
  if (known === undefined)
    throw new WstunError('bad-url', 'none is known yet: start `wstun relay` or `wstun exit` once, or give --url');
  const { identity } = await loadOrCreateIdentity(state);
  return relayIssuer(identity, known);
}

/** Makes a bearer, puts its public keys on the list, and returns its invite: the only copy of its secret. */
export async function inviteNewBearer(
  file: AccessFile,
  issuer: Issuer,
  entry: Pick<AccessEntry, 'name' | 'role' | 'allow' | 'limits'>,
): Promise<string> {
  const bearer = createIdentity();
  await file.add({ ...entry, key: bearer.public });
  return inviteOf(issuer, entry, bearer);
}

function inviteOf(issuer: Issuer, { name, role }: Pick<AccessEntry, 'name' | 'role'>, bearer: Identity): string {
  return encodeInvite({ ...issuer, bearer, role, ...(role === 'exit' && { exitName: name }) });
}
