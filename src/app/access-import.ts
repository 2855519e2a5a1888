/** Copies the entries of one access list into another one. */
import { formatPublicIdentity } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import type { AccessEntry, ListedEntry } from '../state/access-list.ts';
import type { AccessStore } from '../state/access-store.ts';

/**
 * Those that are there with the same key already are left as they are. Returns the names that were new.
 * @throws WstunError name-taken, before anything is copied: a name has another key there; bad-key; faults of its place
 */
export async function importEntries<R, L>(
  entries: readonly ListedEntry<R, L>[],
  into: AccessStore<R, L>,
): Promise<readonly string[]> {
  const before = new Map((await into.read()).map(({ name, key }) => [name, formatPublicIdentity(key)]));
  for (const { name, key } of entries) {
    const known = before.get(name);
    if (known !== undefined && known !== formatPublicIdentity(key)) throw new WstunError('name-taken', name);
  }
  const missing = entries.filter(({ name }) => !before.has(name));
  for (const entry of missing) await into.add(plain(entry));
  return missing.map(({ name }) => name);
}

function plain<R, L>({ rules: _rules, listenRules: _listenRules, ...entry }: ListedEntry<R, L>): AccessEntry {
  return entry;
}
