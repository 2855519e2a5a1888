/** Invites: who issues them, and the peer that each of them is made for. */
import { encodeInvite, type Invite } from '../crypto/invite.ts';
import { createIdentity, type Identity } from '../crypto/keys.ts';
import { parseRule, type Rule } from '../exit/rules.ts';
import { AccessFile } from '../state/access-file.ts';
import type { AccessEntry } from '../state/access-list.ts';
import { readRegistration } from '../state/registration-file.ts';
import { readRelayUrl } from '../state/relay-settings.ts';
import type { StateDir } from '../state/state-dir.ts';

export type NewEntry = Pick<AccessEntry, 'name' | 'role' | 'allow' | 'limits'>;

/** Who invites: all of an invite but its peer. */
export type Issuer = Omit<Invite, 'peer'>;

/** A relay, for its own exit. */
export function relayIssuer(relay: Identity, url: string): Issuer {
  const { gate, session } = relay.public;
  return { relayUrls: [url], relayGateKey: gate, exitSessionKey: session, exitName: undefined };
}

/**
 * The relay or the exit that the directory belongs to. Undefined where no URL
 * is known; then no new identity is made.
 */
export async function findIssuer(
  state: StateDir,
  given: string | undefined,
  load: (state: StateDir) => Promise<{ readonly identity: Identity }>,
): Promise<Issuer | undefined> {
  const registration = await readRegistration(state);
  if (registration !== undefined) {
    const { relayUrls, relayGateKey, exitName } = registration;
    const { identity } = await load(state);
    // The exit's own key: the invite by which it registered pins the relay's.
    const exitSessionKey = identity.public.session;
    return { relayUrls: given === undefined ? relayUrls : [given], relayGateKey, exitSessionKey, exitName };
  }
  const known = given ?? (await readRelayUrl(state))?.url;
  if (known === undefined) return undefined;
  const { identity } = await load(state);
  return relayIssuer(identity, known);
}

export function accessFile(state: StateDir): AccessFile<Rule> {
  return new AccessFile(state, parseRule);
}

/** Makes a peer, puts its public keys on the list, and returns its invite: the only copy of its secret. */
export async function inviteNewPeer(file: AccessFile<Rule>, issuer: Issuer, entry: NewEntry): Promise<string> {
  const peer = createIdentity();
  await file.add({ ...entry, key: peer.public });
  return inviteOf(issuer, entry, peer);
}

export function inviteOf(issuer: Issuer, { name, role }: Pick<AccessEntry, 'name' | 'role'>, peer: Identity): string {
  return encodeInvite({ ...issuer, peer, role, ...(role === 'exit' && { exitName: name }) });
}
