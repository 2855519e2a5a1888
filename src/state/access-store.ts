/** What may be done with an access list, wherever it is: in `access.toml` of a state directory, or in a cluster. */
import type { PublicIdentity } from '../crypto/keys.ts';
import type { AccessEntry, EntryChange, ListedEntry } from './access-list.ts';
import type { AccessWatch, AccessWatchHandler } from './access-watch.ts';

/** All may throw access-malformed, and what their place adds: state-unusable, or cluster-away. */
export interface AccessStore<R, L> {
  /** Where it is, for texts. */
  readonly place: string;
  read(): Promise<readonly ListedEntry<R, L>[]>;
  /** @throws WstunError bad-name, name-taken, bad-key, bad-rule */
  add(entry: AccessEntry): Promise<void>;
  /** All of them or none. @param keys by name @throws WstunError name-unknown */
  replaceKeys(keys: ReadonlyMap<string, PublicIdentity>): Promise<void>;
  /** @throws WstunError name-unknown, bad-rule, bad-option */
  change(name: string, change: EntryChange): Promise<void>;
  /** @throws WstunError name-unknown */
  remove(name: string): Promise<void>;
}

/** One that a relay or an exit follows. */
export interface AccessSource<R, L> extends AccessStore<R, L> {
  /** As of watchAccess. */
  follow(handler: AccessWatchHandler<R, L>): Promise<AccessWatch<R, L>>;
}
