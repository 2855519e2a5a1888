/** Invites: who issues them, and the peer that each of them is made for. */
import { encodeInvite, type Invite } from '../crypto/invite.ts';
import { createIdentity, formatPublicIdentity, type Identity, type PublicIdentity } from '../crypto/keys.ts';
import { requireName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import { type ListenRule, parseListenRule } from '../exit/listen/listen-rules.ts';
import { parseRule, type Rule } from '../exit/rules.ts';
import { AccessFile } from '../state/access-file.ts';
import { type EntryLimits, requireLimits } from '../state/access-limits.ts';
import type { AccessEntry, AccessRole } from '../state/access-list.ts';
import type { AccessStore } from '../state/access-store.ts';
import { readInviteSettings } from '../state/invite-settings.ts';
import { type Registration, readRegistration } from '../state/registration-file.ts';
import { readRetiredKeys } from '../state/retired-keys.ts';
import type { StateDir } from '../state/state-dir.ts';
import { bytesOfPin, type Pin } from '../transport/connection/tls-pin.ts';
import { requireShapes, TEXTS } from './options.ts';
import { rememberedUrls } from './public-url.ts';

export interface PeerOptions {
  /** `exit`: an exit of that name may register at this relay. Default: client. */
  readonly role?: AccessRole | undefined;
  /** What a client may reach besides public addresses: `10.0.0.0/8:22,80`, `*.corp.example`, `*`. */
  readonly allow?: readonly string[] | undefined;
  /** Where a client may open ports at the exit: `127.0.0.1:8000-8999`, `0.0.0.0:8443`, `*:8443`. Default: nowhere. */
  readonly listen?: readonly string[] | undefined;
  /** Of a client: `sessions` at once (default 8), `rate` in bits a second each way, `quota` in bytes a month. */
  readonly limits?: EntryLimits | undefined;
}

type NewEntry = Omit<AccessEntry, 'key'>;

/** @throws WstunError bad-name, bad-rule, bad-option */
export function newEntry(name: string, options: PeerOptions): NewEntry {
  requireName(name);
  requireShapes(options, [], TEXTS);
  const { role = 'client', allow = [], listen = [], limits } = options;
  const instead = (what: string) => `the access list of the exit has the ${what} of its clients`;
  if (role === 'exit' && allow.length > 0)
    throw new WstunError('bad-option', `--allow is not for exits: ${instead('rules')}`);
  if (role === 'exit' && listen.length > 0)
    throw new WstunError('bad-option', `--listen is not for exits: ${instead('rules')}`);
  for (const rule of allow) parseRule(rule);
  for (const rule of listen) parseListenRule(rule);
  if (role === 'exit' && limits !== undefined)
    throw new WstunError('bad-option', `limits are not for exits: ${instead('limits')}`);
  if (limits !== undefined) requireLimits(limits);
  return { name, role, allow, ...(listen.length > 0 && { listen }), ...(limits && { limits }) };
}

/** Who invites: all of an invite but its peer. */
export type Issuer = Omit<Invite, 'peer'>;

/** A relay, for its own exit. @param urls 1 to 8, best first; pins of its TLS keys */
export function relayIssuer(relay: Identity, urls: readonly string[], pins: readonly Pin[] = []): Issuer {
  const { gate, session } = relay.public;
  const tlsPins = pins.map(bytesOfPin);
  return { relayUrls: urls, relayGateKey: gate, exitSessionKey: session, exitName: undefined, tlsPins };
}

/** An exit, for its clients: the invite by which it registered pins the relay's key, and they pin its own. */
export function exitIssuer({ relayUrls, relayGateKey, exitName, tlsPins }: Registration, exit: Identity): Issuer {
  return { relayUrls, relayGateKey, exitSessionKey: exit.public.session, exitName, tlsPins };
}

/**
 * The relay or the exit that the directory belongs to. Without a known URL: undefined, and no identity is made.
 * @param given URLs in place of those that are known; empty: none
 */
export async function findIssuer(
  state: StateDir,
  given: readonly string[],
  load: (state: StateDir) => Promise<{ readonly identity: Identity }>,
): Promise<Issuer | undefined> {
  const registration = await readRegistration(state);
  if (registration !== undefined) {
    const { identity } = await load(state);
    return { ...exitIssuer(registration, identity), ...(given.length > 0 && { relayUrls: given }) };
  }
  const urls = given.length > 0 ? given : await rememberedUrls(state);
  if (urls.length === 0) return undefined;
  const { identity } = await load(state);
  return relayIssuer(identity, urls, (await readInviteSettings(state))?.pins);
}

export const RULE_PARSERS = { allow: parseRule, listen: parseListenRule } as const;

export function accessFile(state: StateDir): AccessFile<Rule, ListenRule> {
  return new AccessFile(state, RULE_PARSERS);
}

/** An invite, the only copy of its peer's secret, and the name that it is for. */
export interface NamedInvite {
  readonly name: string;
  readonly role: AccessRole;
  readonly invite: string;
}

/** Hands invites over before the list changes, so that none is lost. Returns what takes them back if that fails. */
export type Delivery = (invites: readonly NamedInvite[]) => Promise<() => Promise<void>>;

const byHand: Delivery = async () => async () => {};

/**
 * Makes a peer, puts its public keys on the list, and returns its invite: the only copy of its secret.
 * @throws WstunError bad-option, name-taken, access-malformed; faults of the list's place and of the delivery
 */
export async function inviteNewPeer(
  list: AccessStore<Rule, ListenRule>,
  issuer: Issuer,
  entry: NewEntry,
  deliver = byHand,
): Promise<string> {
  if (entry.role === 'exit' && issuer.exitName !== undefined)
    throw new WstunError('bad-option', `${list.place} belongs to an exit; add an exit at its relay`);
  const peer = createIdentity();
  const { name, role } = entry;
  const invite = inviteOf(issuer, entry, peer);
  await delivered([{ name, role, invite }], deliver, () => list.add({ ...entry, key: peer.public }));
  return invite;
}

/**
 * New peers under names of the list, with the same rules, all or none. The invites before are revoked.
 * @throws WstunError name-unknown, access-malformed, state-unusable; faults of the delivery
 */
export async function renewInvites(
  list: AccessStore<Rule, ListenRule>,
  issuer: Issuer,
  names: readonly string[],
  deliver = byHand,
): Promise<readonly NamedInvite[]> {
  const entries = new Map((await list.read()).map((entry) => [entry.name, entry]));
  const keys = new Map<string, PublicIdentity>();
  const invites = names.map((name): NamedInvite => {
    const entry = entries.get(name);
    if (entry === undefined) throw new WstunError('name-unknown', name);
    const peer = createIdentity();
    keys.set(name, peer.public);
    return { name, role: entry.role, invite: inviteOf(issuer, entry, peer) };
  });
  await delivered(invites, deliver, () => list.replaceKeys(keys));
  return invites;
}

async function delivered(
  invites: readonly NamedInvite[],
  deliver: Delivery,
  change: () => Promise<void>,
): Promise<void> {
  const takeBack = await deliver(invites);
  try {
    await change();
  } catch (error) {
    await takeBack();
    throw error;
  }
}

/** Whether the keys of the peer, or those of its issuer, were rotated since: a new invite revokes nothing then. */
export async function isInviteDead(state: StateDir, { role, key }: AccessEntry): Promise<boolean> {
  const [latest] = await readRetiredKeys(state, Date.now());
  const text = formatPublicIdentity(key);
  return latest?.peers.some((peer) => peer.role === role && formatPublicIdentity(peer.key) === text) ?? false;
}

function inviteOf(issuer: Issuer, { name, role }: Pick<AccessEntry, 'name' | 'role'>, peer: Identity): string {
  return encodeInvite({ ...issuer, peer, role, ...(role === 'exit' && { exitName: name }) });
}
