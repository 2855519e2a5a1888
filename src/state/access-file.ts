/** `access.toml` in a state directory: reads it, and changes it without losing other processes' changes. */
import type { PublicIdentity } from '../crypto/keys.ts';
import { WstunError } from '../errors.ts';
import {
  type AccessEntry,
  addEntry,
  changeEntry,
  type EntryChange,
  type ListedEntry,
  parseAccessList,
  type RuleParsers,
  removeEntry,
  replaceKeys,
} from './access-list.ts';
import type { AccessStore } from './access-store.ts';
import type { StateDir } from './state-dir.ts';

export const ACCESS_FILE_NAME = 'access.toml';

/** The text of a list that was emptied on purpose. */
const NOBODY = '# nobody\n';

export class AccessFile<R, L> implements AccessStore<R, L> {
  constructor(
    readonly state: StateDir,
    private readonly parsers: RuleParsers<R, L>,
  ) {}

  get place(): string {
    return this.state.path;
  }

  /** The entries, none if there is no file. @throws WstunError state-unusable, access-malformed */
  async read(): Promise<readonly ListedEntry<R, L>[]> {
    const text = await this.readText();
    return text === undefined ? [] : this.parse(text);
  }

  async readText(): Promise<string | undefined> {
    return await this.state.read(ACCESS_FILE_NAME, { secret: false });
  }

  /**
   * A file without any text is not a list, because it may be an accident: an editor on a full disk, or a script between
   * its `>` and its first line, leaves the same.
   * @throws WstunError access-malformed, naming file and line
   */
  parse(text: string): readonly ListedEntry<R, L>[] {
    if (text.trim() === '') {
      const detail = `it is empty; to give access to nobody, write a comment line: ${NOBODY.trim()}`;
      throw new WstunError('access-malformed', `${this.state.pathOf(ACCESS_FILE_NAME)}: ${detail}`);
    }
    return this.named(() => parseAccessList(text, this.parsers));
  }

  /** @throws WstunError bad-name, name-taken, bad-key, bad-rule, access-malformed, state-unusable */
  async add(entry: AccessEntry): Promise<void> {
    // A file without any text is started anew.
    await this.edit((text) => addEntry(text?.trim() === '' ? undefined : text, entry, this.parsers));
  }

  /** All of them or none. @param keys by name @throws WstunError name-unknown, access-malformed, state-unusable */
  async replaceKeys(keys: ReadonlyMap<string, PublicIdentity>): Promise<void> {
    await this.edit((text = '') => replaceKeys(text, keys, this.parsers));
  }

  /** @throws WstunError name-unknown, bad-rule, bad-option, access-malformed, state-unusable */
  async change(name: string, change: EntryChange): Promise<void> {
    await this.edit((text = '') => changeEntry(text, name, change, this.parsers));
  }

  /** @throws WstunError name-unknown, access-malformed, state-unusable */
  async remove(name: string): Promise<void> {
    await this.edit((text = '') => {
      const left = removeEntry(text, name, this.parsers);
      return left.trim() === '' ? NOBODY : left;
    });
  }

  private async edit(change: (text: string | undefined) => string): Promise<void> {
    await this.state.locked(async () => {
      const before = await this.readText();
      await this.state.write(
        ACCESS_FILE_NAME,
        this.named(() => change(before)),
      );
    });
  }

  private named<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof WstunError) || error.fault !== 'access-malformed') throw error;
      throw new WstunError('access-malformed', `${this.state.pathOf(ACCESS_FILE_NAME)}: ${error.detail}`);
    }
  }
}
