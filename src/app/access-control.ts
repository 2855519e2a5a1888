/**
 * Who may do what: the access list in force, which peers it names, and what each of them may reach and use. Follows the
 * file; owns no session.
 */
import { formatPublicIdentity } from '../crypto/keys.ts';
import { parseRule, type Rule } from '../exit/rules.ts';
import type { Logger } from '../observability/logger.ts';
import type { AccessFile } from '../state/access-file.ts';
import { DEFAULT_SESSIONS, type EntryLimits } from '../state/access-limits.ts';
import type { AccessEntry } from '../state/access-list.ts';
import { type AccessWatch, watchAccess } from '../state/access-watch.ts';
import type { RetiredKeys } from '../state/retired-keys.ts';

/** The access list as it stands: who may come, and what is open to them. */
export class AccessControl {
  private list: readonly AccessEntry[] = [];
  private readonly rules = new Map<string, readonly Rule[]>();
  private readonly limits = new Map<string, EntryLimits>();
  private readonly peers = new Map<string, string>();

  get entries(): readonly AccessEntry[] {
    return this.list;
  }

  rulesFor(peer: string): readonly Rule[] {
    return this.rules.get(peer) ?? [];
  }

  maxSessionsOf(peer: string): number {
    return this.limits.get(peer)?.sessions ?? DEFAULT_SESSIONS;
  }

  /** Bits a second; undefined: no limit. */
  rateOf(peer: string): number | undefined {
    return this.limits.get(peer)?.rate;
  }

  /** Bytes a month; undefined: no limit. */
  quotaOf(peer: string): number | undefined {
    return this.limits.get(peer)?.quota;
  }

  /** The client of a session public key. */
  peerOf(sessionKey: Uint8Array): string | undefined {
    return this.peers.get(hexOf(sessionKey));
  }

  /** Returns the names that were there before with the same key and role: what they have may go on. */
  replace(entries: readonly AccessEntry[]): Set<string> {
    const before = new Set(this.list.map(standingOf));
    this.list = entries;
    this.rules.clear();
    this.limits.clear();
    this.peers.clear();
    for (const { name, key, role, allow, limits = {} } of entries) {
      if (role === 'exit') continue;
      this.rules.set(name, allow.map(parseRule));
      this.limits.set(name, limits);
      this.peers.set(hexOf(key.session), name);
    }
    return new Set(entries.filter((entry) => before.has(standingOf(entry))).map(({ name }) => name));
  }
}

/**
 * Reads the list, and follows it from then on. `onChange` is called for the first list too; `kept` are the names that
 * were there before with the same key.
 * @throws WstunError state-unusable, access-malformed
 */
export async function followAccess(
  file: AccessFile,
  access: AccessControl,
  logger: Logger,
  onChange: (kept: ReadonlySet<string>) => void,
): Promise<AccessWatch> {
  const watch = await watchAccess(file, {
    handleChange: (entries) => {
      onChange(access.replace(entries));
      logger.info({ entries: entries.length }, 'access list reloaded');
    },
    handleFault: (fault) => logger.error({ code: fault.code }, fault.message),
  });
  onChange(access.replace(watch.entries));
  return watch;
}

/**
 * Of keys that were rotated, whoever may be told so: a name that was removed since is a stranger, and in the end
 * everybody.
 */
export function currentPeers({ peers, until }: RetiredKeys, access: AccessControl): RetiredKeys['peers'] {
  if (Date.now() >= until) return [];
  const standing = new Set(access.entries.map(placeOf));
  return peers.filter((peer) => standing.has(placeOf(peer)));
}

function placeOf({ name, role }: Pick<AccessEntry, 'name' | 'role'>): string {
  return `${role} ${name}`;
}

function standingOf({ name, key, role }: AccessEntry): string {
  return `${name} ${role} ${formatPublicIdentity(key)}`;
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
