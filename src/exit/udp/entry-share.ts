/**
 * What the associations of one access entry remember, counted together: each may know many destinations, but not all of
 * them at once. Beyond the bound each forgets its own, the one set longest ago first. Pure.
 */

/** Of an access entry: destinations and addresses, 300 bytes each at most: 10 MB. A DHT needs one or two thousand. */
const MAX_OF_ENTRY = 32_768;
/** What each map keeps even then. */
const LEAST_OF_MAP = 16;

export class EntryShare {
  used = 0;

  constructor(private readonly most = MAX_OF_ENTRY) {}

  get isFull(): boolean {
    return this.used >= this.most;
  }
}

/** A Map with a bound of its own, and one that it shares. Its owner calls `clear` in the end. */
export class SharedMap<K, V> extends Map<K, V> {
  constructor(
    private readonly share: EntryShare,
    private readonly mostEntries: number,
  ) {
    super();
  }

  /** Moves an entry that is there already to the end: a Map keeps the order of insertion. */
  override set(key: K, value: V): this {
    if (!this.delete(key)) this.makeRoom();
    super.set(key, value);
    this.share.used += 1;
    return this;
  }

  override delete(key: K): boolean {
    const was = super.delete(key);
    if (was) this.share.used -= 1;
    return was;
  }

  override clear(): void {
    this.share.used -= this.size;
    super.clear();
  }

  private makeRoom(): void {
    const isFull = this.size >= this.mostEntries || (this.share.isFull && this.size >= LEAST_OF_MAP);
    if (!isFull) return;
    for (const oldest of this.keys()) {
      this.delete(oldest);
      break;
    }
  }
}

/** One for each access entry that has associations. */
export class EntryShares {
  private readonly shares = new Map<string, { readonly share: EntryShare; holders: number }>();

  /** `release` must follow. */
  hold(peer: string): EntryShare {
    const held = this.shares.get(peer) ?? { share: new EntryShare(), holders: 0 };
    held.holders += 1;
    this.shares.set(peer, held);
    return held.share;
  }

  release(peer: string): void {
    const held = this.shares.get(peer);
    if (held === undefined) return;
    held.holders -= 1;
    if (held.holders === 0) this.shares.delete(peer);
  }
}
