/**
 * The access list of a cluster: a bucket with one value for each name, the table that `access.toml` would have. A relay
 * follows it, and keeps a copy in its state directory, with which it starts while the cluster is away.
 */
import { AbortableWait, sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { formatPublicIdentity, type PublicIdentity } from '../crypto/keys.ts';
import { isName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import {
  type AccessEntry,
  addEntry,
  changeEntry,
  type EntryChange,
  type ListedEntry,
  parseAccessList,
  type RuleParsers,
  replaceKeys,
} from '../state/access-list.ts';
import type { AccessSource } from '../state/access-store.ts';
import type { AccessWatch, AccessWatchHandler } from '../state/access-watch.ts';
import type { Bucket, BucketHandler, BucketValue } from './bus.ts';
import { keyOfName, nameOfKey } from './names.ts';

/** For a first answer of the cluster. */
const READ_MS = 5_000;
/** While the servers elect a new leader, which takes up to 9 s, nothing can be written. */
const EDIT_MS = 20_000;
const EDIT_PAUSE_MS = 200;
/** Several changes that come together are one: each costs the relay a look at all entries. */
const SETTLE_MS = 20;

export interface ClusterAccessOptions<R, L> {
  /** For texts. */
  readonly place: string;
  readonly parsers: RuleParsers<R, L>;
  /** What the relay kept of the list last, as text. Default: nothing. */
  readonly kept?: string | undefined;
  /** Why the cluster gives no answer, if that is known. */
  readonly faultNow?: () => WstunError | undefined;
  /** To keep the list. Never rejects. */
  readonly keep?: (text: string) => void;
  readonly clock?: Clock;
}

/** Of the text of a name's value, undefined if it has none. @param isAgain an attempt before may have had effect */
type Change = (before: string | undefined, isAgain: boolean) => string | undefined;

interface Known<R, L> {
  readonly entry: ListedEntry<R, L>;
  /** Of the entry's key. */
  readonly key: string;
  readonly text: string;
}

export class ClusterAccess<R, L> implements AccessSource<R, L>, BucketHandler {
  readonly place: string;
  private readonly clock: Clock;
  /** In force, by name. */
  private known = new Map<string, Known<R, L>>();
  /** Faults of values that cannot be used, by name: each is reported once. */
  private readonly faults = new Map<string, string>();
  private handler: AccessWatchHandler<R, L> | undefined;
  private hasSnapshot = false;
  private readonly waiting = new Set<AbortableWait<void>>();
  private reporting: Promise<void> | undefined;

  constructor(
    private readonly bucket: Bucket,
    private readonly options: ClusterAccessOptions<R, L>,
  ) {
    this.place = options.place;
    this.clock = options.clock ?? systemClock;
    if (options.kept !== undefined) this.known = this.parseAll(options.kept);
    bucket.watch(this);
  }

  /** What is in force. Where nothing is known it waits for the cluster, up to 5 s: then nobody has access yet. */
  async read(): Promise<readonly ListedEntry<R, L>[]> {
    if (!this.isKnown) await this.whenKnown().catch(ignoreAway);
    return this.entries();
  }

  /** As the cluster has it now. @throws WstunError cluster-away */
  async readNow(): Promise<readonly ListedEntry<R, L>[]> {
    if (!this.hasSnapshot) await this.whenKnown();
    return this.entries();
  }

  async follow(handler: AccessWatchHandler<R, L>): Promise<AccessWatch<R, L>> {
    this.handler = handler;
    const entries = () => this.entries();
    return {
      get entries() {
        return entries();
      },
      look: async () => {
        await this.reporting;
      },
      close: async () => {
        this.handler = undefined;
        await this.reporting;
      },
    };
  }

  async add(entry: AccessEntry): Promise<void> {
    const key = formatPublicIdentity(entry.key);
    await this.readNow();
    for (const [name, other] of this.known)
      if (other.key === key && name !== entry.name) throw new WstunError('bad-key', `"${name}" already has this key`);
    // A line stands before it, so that no header is made for a new file.
    const text = addEntry('\n', entry, this.options.parsers).trimStart();
    await this.edit(entry.name, (before) => {
      // Our own, whose answer was lost.
      if (before === text) return undefined;
      if (before !== undefined) throw new WstunError('name-taken', entry.name);
      return text;
    });
  }

  /** One after another. What fails takes the ones before back. */
  async replaceKeys(keys: ReadonlyMap<string, PublicIdentity>): Promise<void> {
    const done = new Map<string, PublicIdentity>();
    try {
      for (const [name, key] of keys) {
        const before = await this.replaceKey(name, key);
        done.set(name, before);
      }
    } catch (error) {
      for (const [name, key] of done) await this.replaceKey(name, key).catch(() => {});
      throw error;
    }
  }

  async change(name: string, change: EntryChange): Promise<void> {
    await this.edit(name, (before) => changeEntry(required(before, name), name, change, this.options.parsers));
  }

  async remove(name: string): Promise<void> {
    await this.edit(name, (before, isAgain) => {
      // Removed by an attempt whose answer was lost.
      if (before === undefined && isAgain) return undefined;
      required(before, name);
      return '';
    });
  }

  handleSnapshot(values: ReadonlyMap<string, BucketValue>, isBlank: boolean): void {
    this.hasSnapshot = true;
    // All was lost, or this is another cluster: that is no list, as an empty file is none.
    const isLost = isBlank && this.known.size > 0;
    if (isLost) this.report('', 'it is empty, so that the last one stays in force');
    else {
      const known = new Map<string, Known<R, L>>();
      for (const [key, { value }] of values) this.take(known, nameOfKey(key), textOf(value));
      this.known = known;
      this.noteChange();
    }
    for (const wait of [...this.waiting]) wait.resolve();
  }

  handleChange(key: string, value: BucketValue | undefined): void {
    const name = nameOfKey(key);
    if (value !== undefined) this.take(this.known, name, textOf(value.value));
    else {
      this.known.delete(name);
      this.faults.delete(name);
    }
    this.noteChange();
  }

  /** From the cluster, or from what was kept. */
  get isKnown(): boolean {
    return this.hasSnapshot || this.known.size > 0;
  }

  private entries(): readonly ListedEntry<R, L>[] {
    return [...this.known.values()].map(({ entry }) => entry);
  }

  /** Returns the key that it had. */
  private async replaceKey(name: string, key: PublicIdentity): Promise<PublicIdentity> {
    const { parsers } = this.options;
    let old: PublicIdentity | undefined;
    await this.edit(name, (before) => {
      const text = required(before, name);
      // An attempt whose answer was lost has replaced it already.
      old ??= parseAccessList(text, parsers).find((entry) => entry.name === name)?.key;
      return replaceKeys(text, new Map([[name, key]]), parsers);
    });
    return old ?? key;
  }

  /**
   * Changes the value of a name: to '' removes it, to undefined leaves it. Again, if it was changed meanwhile, or while
   * the cluster takes nothing.
   */
  private async edit(name: string, change: Change): Promise<void> {
    const end = this.clock.now() + EDIT_MS;
    for (let isAgain = false; ; isAgain = true) {
      try {
        if (await this.editOnce(name, (before) => change(before, isAgain))) return;
      } catch (error) {
        const isAway = error instanceof WstunError && error.fault === 'cluster-away';
        if (!isAway || this.clock.now() >= end) throw error;
      }
      if (this.clock.now() >= end) throw new WstunError('cluster-away', `"${name}" is changed again and again`);
      await sleep(this.clock, EDIT_PAUSE_MS);
    }
  }

  private async editOnce(name: string, change: (before: string | undefined) => string | undefined): Promise<boolean> {
    const { bucket } = this;
    const key = keyOfName(name);
    const found = await bucket.get(key);
    const text = change(found && textOf(found.value));
    if (text === undefined) return true;
    const value = text === '' ? undefined : Buffer.from(text, 'utf8');
    const isDone = await (value === undefined
      ? bucket.remove(key, found?.revision)
      : found === undefined
        ? bucket.create(key, value)
        : bucket.update(key, value, found.revision));
    // The change would come from the bucket, too, but a little later.
    if (isDone) this.handleChange(key, value && { value, revision: 0 });
    return isDone;
  }

  /** A value that cannot be read leaves what the name had. */
  private take(known: Map<string, Known<R, L>>, name: string, text: string): void {
    const before = this.known.get(name);
    try {
      const [entry, more] = parseAccessList(text, this.options.parsers);
      if (entry?.name !== name || more !== undefined)
        throw new WstunError('access-malformed', `its value is not the table of "${name}"`);
      known.set(name, { entry, key: formatPublicIdentity(entry.key), text });
      this.faults.delete(name);
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      if (before !== undefined) known.set(name, before);
      this.report(name, error.detail);
    }
  }

  private report(name: string, detail: string): void {
    if (this.faults.get(name) === detail) return;
    this.faults.set(name, detail);
    const of = name === '' ? '' : ` "${name.slice(0, 63)}":`;
    this.handler?.handleFault(new WstunError('access-malformed', `${this.place}:${of} ${detail}`));
  }

  private noteChange(): void {
    this.reporting ??= sleep(this.clock, SETTLE_MS).then(() => {
      this.reporting = undefined;
      this.handler?.handleChange(this.entries());
      this.options.keep?.([...this.known.values()].map(({ text }) => text).join('\n'));
    });
  }

  /** What cannot be read is not known. */
  private parseAll(text: string): Map<string, Known<R, L>> {
    try {
      const entries = parseAccessList(text, this.options.parsers);
      const knownOf = (entry: ListedEntry<R, L>): Known<R, L> => ({
        ...{ entry, key: formatPublicIdentity(entry.key), text: this.textOf(entry) },
      });
      return new Map(entries.map((entry) => [entry.name, knownOf(entry)]));
    } catch {
      return new Map();
    }
  }

  private textOf(entry: AccessEntry): string {
    return addEntry('\n', entry, this.options.parsers).trimStart();
  }

  private async whenKnown(): Promise<void> {
    const wait = new AbortableWait<void>({
      clock: this.clock,
      limitMs: READ_MS,
      onExpired: () => wait.reject(this.options.faultNow?.() ?? new WstunError('cluster-away', this.place)),
      onSettled: () => this.waiting.delete(wait),
    });
    this.waiting.add(wait);
    await wait.promise;
  }
}

/** @throws WstunError name-unknown */
function required(text: string | undefined, name: string): string {
  if (text === undefined || !isName(name)) throw new WstunError('name-unknown', name);
  return text;
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString('utf8');
}

function ignoreAway(error: unknown): void {
  if (!(error instanceof WstunError) || error.fault !== 'cluster-away') throw error;
}
