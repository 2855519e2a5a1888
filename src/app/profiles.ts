/** The invites that a client keeps: which one is used, for whom each is, and what may replace it. No output. */
import { decodeInvite, type Invite, inviteIn } from '../crypto/invite.ts';
import { WstunError } from '../errors.ts';
import { type KeptInvite, type ProfileDates, ProfileStore } from '../state/profiles.ts';

/** The name of an invite that was given without one. */
export const DEFAULT_PROFILE = 'default';

/** For whom an invite is. No secret. */
export interface Place {
  /** 1 to 8, best first. */
  readonly relayUrls: readonly string[];
  /** Undefined: the relay's own exit. */
  readonly exit: string | undefined;
}

export interface Profile extends ProfileDates, Partial<Place> {
  readonly name: string;
  /** False: it has had no session yet. */
  readonly tried: boolean;
  /** An older invite of that name is kept too, until this one has had a session. */
  readonly replaces: boolean;
  /** Why it cannot be used. */
  readonly fault?: WstunError;
}

/** What a client is to use. `invite` is a secret. */
export interface ChosenProfile {
  readonly name: string;
  readonly invite: string;
  readonly tried: boolean;
  readonly replaces: boolean;
}

export class Profiles {
  private readonly store: ProfileStore;

  /** Creates nothing before the first invite is kept. @param client the client's state directory */
  constructor(client: string) {
    this.store = new ProfileStore(client);
  }

  /** Where they are. */
  get path(): string {
    return this.store.path;
  }

  /** @throws WstunError profile-unusable for the directory; one invite that cannot be used has a `fault` */
  async list(): Promise<Profile[]> {
    const dates = await this.store.dates();
    const names = await this.store.names();
    return await Promise.all(names.map(async (name) => ({ ...(await this.describe(name)), ...dates.get(name) })));
  }

  /** @throws WstunError profile-unusable */
  async names(): Promise<readonly string[]> {
    return await this.store.names();
  }

  /**
   * The invite of that name. Without a name: the one named `default`, or the only one. Undefined if there is none.
   * @throws WstunError bad-name, profile-unusable, profile-ambiguous
   */
  async choose(name: string | undefined): Promise<ChosenProfile | undefined> {
    const wanted = name ?? (await this.defaultName());
    const kept = wanted === undefined ? undefined : await this.store.read(wanted);
    if (kept === undefined) return undefined;
    const invite = kept.untried ?? kept.tried ?? '';
    decodeKept(kept, this.path);
    const tried = kept.untried === undefined;
    return { name: kept.name, invite, tried, replaces: !tried && kept.tried !== undefined };
  }

  /**
   * For whom the invites under that name are, if somebody else's than this one: it must not replace them unasked.
   * @throws WstunError bad-name, profile-unusable for the directory
   */
  async otherUnder(name: string, invite: string): Promise<(Place & { readonly hasSameAddress: boolean }) | undefined> {
    const kept = await this.store.read(name).catch(ignoreUnusable);
    const before = [kept?.tried, kept?.untried].flatMap((text) => (text === undefined ? [] : (decoded(text) ?? [])));
    const given = decodeInvite(invite);
    const [first] = before;
    if (first === undefined || before.some((each) => isSamePerson(each, given))) return undefined;
    const hasSameAddress = first.exitName === given.exitName && first.relayUrls[0] === given.relayUrls[0];
    return { ...placeOf(first), hasSameAddress };
  }

  /**
   * The invite kept under that name, if it is this one but for its relays, of which it has learnt since.
   * @throws WstunError bad-name, profile-unusable for the directory
   */
  async sameUnder(name: string, invite: string): Promise<string | undefined> {
    const kept = await this.store.read(name).catch(ignoreUnusable);
    const given = decodeInvite(invite);
    return [kept?.untried, kept?.tried].find((text) => {
      const before = text === undefined ? undefined : decoded(text);
      return before !== undefined && isSameInvite(before, given);
    });
  }

  /** Returns false if it was kept already. @throws WstunError bad-name, profiles-full, state-unusable */
  async keep(name: string, invite: string): Promise<boolean> {
    return await this.store.offer(name, inviteIn(invite));
  }

  /** It has had a session. Returns true if it has replaced another. @throws WstunError state-unusable */
  async prove(name: string, invite: string): Promise<boolean> {
    return await this.store.prove(name, inviteIn(invite));
  }

  /** The exit has told of other relays: the kept invite names these from now on. @throws WstunError state-unusable */
  async learn(name: string, invite: string, next: string): Promise<boolean> {
    return await this.store.replace(name, inviteIn(invite), inviteIn(next));
  }

  /** Back to the invite that worked, if there is one. @param invite only if it is this one */
  async dropUntried(name: string, invite?: string): Promise<boolean> {
    return await this.store.dropUntried(name, invite && inviteIn(invite));
  }

  /** @throws WstunError bad-name, state-unusable, profile-unknown */
  async forget(name: string): Promise<void> {
    if (!(await this.store.forget(name))) throw new WstunError('profile-unknown', await this.listed());
  }

  /** The names, for messages; '' if there are none. */
  async listed(): Promise<string> {
    const names = await this.store.names();
    return names.length === 0 ? '' : `kept are ${names.join(', ')}`;
  }

  private async defaultName(): Promise<string | undefined> {
    const names = await this.store.names();
    if (names.length <= 1 || names.includes(DEFAULT_PROFILE)) return names.length === 1 ? names[0] : DEFAULT_PROFILE;
    throw new WstunError('profile-ambiguous', names.join(', '), { fix: 'Choose one: wstun client --as NAME.' });
  }

  private async describe(name: string): Promise<Profile> {
    try {
      const kept = await this.store.read(name);
      const tried = kept?.untried === undefined;
      if (kept === undefined) return { name, tried, replaces: false };
      return { name, tried, replaces: !tried && kept.tried !== undefined, ...placeOf(decodeKept(kept, this.path)) };
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      return { name, tried: false, replaces: false, fault: error };
    }
  }
}

export function placeOfInvite(invite: string): Place {
  return placeOf(decodeInvite(invite));
}

function placeOf({ relayUrls, exitName }: Invite): Place {
  return { relayUrls, exit: exitName };
}

/** @throws WstunError profile-unusable */
function decodeKept({ name, tried, untried }: KeptInvite, path: string): Invite {
  const invite = decoded(untried ?? tried ?? '');
  if (invite !== undefined) return invite;
  const detail = `${path} has no whole invite under the name ${name}`;
  throw new WstunError('profile-unusable', detail, { fix: `Give the invite again, or: wstun forget ${name}.` });
}

function decoded(text: string): Invite | undefined {
  try {
    return decodeInvite(text);
  } catch (error) {
    if (!(error instanceof WstunError)) throw error;
    return undefined;
  }
}

/**
 * The owner of an exit has its key, and nobody else: who runs the relay could give the exit's name to an exit of his
 * own. A relay's own exit has the relay's key.
 */
function isSamePerson(one: Invite, other: Invite): boolean {
  return Buffer.from(one.exitSessionKey).equals(other.exitSessionKey);
}

/** Each invite has a secret of its own. */
function isSameInvite(one: Invite, other: Invite): boolean {
  const keysOf = ({ peer, relayGateKey, exitSessionKey }: Invite) =>
    Buffer.concat([peer.exposeSecret(), relayGateKey, exitSessionKey]);
  return one.exitName === other.exitName && one.role === other.role && keysOf(one).equals(keysOf(other));
}

function ignoreUnusable(error: unknown): undefined {
  if (!(error instanceof WstunError) || error.fault !== 'profile-unusable') throw error;
}
