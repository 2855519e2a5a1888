/** Who may do what: the peers of the access list, asked each time for what they may reach and use. Owns no session. */
import { formatPublicIdentity } from '../crypto/keys.ts';
import type { ListenRule } from '../exit/listen/listen-rules.ts';
import type { Rule } from '../exit/rules.ts';
import { DEFAULT_SESSIONS } from '../state/access-limits.ts';
import type { AccessEntry, ListedEntry } from '../state/access-list.ts';
import type { RetiredKeys } from '../state/retired-keys.ts';

export class AccessControl {
  private list: readonly ListedEntry<Rule, ListenRule>[] = [];
  /** Entries that are no exits, by name. */
  private readonly clients = new Map<string, ListedEntry<Rule, ListenRule>>();
  /** Of the same, by session public key. */
  private readonly names = new Map<string, string>();

  get entries(): readonly AccessEntry[] {
    return this.list;
  }

  /** Returns the names that were there before with the same key and role: their sessions go on. */
  replace(entries: readonly ListedEntry<Rule, ListenRule>[]): Set<string> {
    const before = new Set(this.list.map(peerText));
    this.list = entries;
    this.clients.clear();
    this.names.clear();
    for (const entry of entries) {
      if (entry.role === 'exit') continue;
      this.clients.set(entry.name, entry);
      this.names.set(hexOf(entry.key.session), entry.name);
    }
    return new Set(entries.filter((entry) => before.has(peerText(entry))).map(({ name }) => name));
  }

  /** What a client may reach besides public addresses. */
  rulesFor(client: string): readonly Rule[] {
    return this.clients.get(client)?.rules ?? [];
  }

  /** Where a client may listen. */
  listenRulesFor(client: string): readonly ListenRule[] {
    return this.clients.get(client)?.listenRules ?? [];
  }

  maxSessionsOf(client: string): number {
    return this.clients.get(client)?.limits?.sessions ?? DEFAULT_SESSIONS;
  }

  /** Bits a second; undefined: no limit. */
  rateOf(client: string): number | undefined {
    return this.clients.get(client)?.limits?.rate;
  }

  /** Bytes a month; undefined: no limit. */
  quotaOf(client: string): number | undefined {
    return this.clients.get(client)?.limits?.quota;
  }

  clientOf(sessionKey: Uint8Array): string | undefined {
    return this.names.get(hexOf(sessionKey));
  }

  exitNames(): Set<string> {
    return new Set(this.list.flatMap(({ name, role }) => (role === 'exit' ? [name] : [])));
  }

  /** Who may be told that keys were rotated: peers of then whose name and role are still listed; in time nobody. */
  retiredPeers({ peers, until }: RetiredKeys): RetiredKeys['peers'] {
    if (Date.now() >= until) return [];
    const current = new Set(this.list.map(({ name, role }) => `${role} ${name}`));
    return peers.filter(({ name, role }) => current.has(`${role} ${name}`));
  }

  retiredPeerOf(keys: RetiredKeys, sessionKey: Uint8Array): string | undefined {
    return this.retiredPeers(keys).find(({ key }) => hexOf(key.session) === hexOf(sessionKey))?.name;
  }
}

function peerText({ name, key, role }: AccessEntry): string {
  return `${name} ${role} ${formatPublicIdentity(key)}`;
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
