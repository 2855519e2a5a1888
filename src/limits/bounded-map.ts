/** A Map that holds only so many entries: the one that was set longest ago makes room. Pure. */
export class BoundedMap<K, V> extends Map<K, V> {
  constructor(private readonly mostEntries: number) {
    super();
  }

  /** Moves an entry that is there already to the end: a Map keeps the order of insertion. */
  override set(key: K, value: V): this {
    this.delete(key);
    super.set(key, value);
    if (this.size > this.mostEntries) {
      for (const oldest of this.keys()) {
        this.delete(oldest);
        break;
      }
    }
    return this;
  }
}
