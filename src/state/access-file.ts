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
  type RuleParser,
  removeEntry,
  replaceKey,
} from './access-list.ts';
import type { StateDir } from './state-dir.ts';

export const ACCESS_FILE_NAME = 'access.toml';

/** The text of a list that was emptied on purpose. */
const NOBODY = '# nobody\n';

export class AccessFile<R> {
  readonly state: StateDir;
  private readonly parseRule: RuleParser<R>;

  constructor(state: StateDir, parseRule: RuleParser<R>) {
    this.state = state;
    this.parseRule = parseRule;
  }

  /** The entries, none if there is no file. @throws WstunError state-unusable, access-malformed */
  async read(): Promise<readonly ListedEntry<R>[]> {
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
  parse(text: string): readonly ListedEntry<R>[] {
    if (text.trim() === '') {
      const file = this.state.pathOf(ACCESS_FILE_NAME);
      throw new WstunError(
        'access-malformed',
        `${file}: it is empty; to give access to nobody, write a comment line: ${NOBODY.trim()}`,
      );
    }
    return this.named(() => parseAccessList(text, this.parseRule));
  }

  /** @throws WstunError bad-name, name-taken, bad-key, bad-rule, access-malformed, state-unusable */
  async add(entry: AccessEntry): Promise<void> {
    await this.state.locked(async () => {
      const text = await this.readText();
      // A file without any text is started anew.
      const before = text?.trim() === '' ? undefined : text;
      await this.state.write(
        ACCESS_FILE_NAME,
        this.named(() => addEntry(before, entry, this.parseRule)),
      );
    });
  }

  /** Returns the new entry. @throws WstunError name-unknown, access-malformed, state-unusable */
  async replaceKey(name: string, key: PublicIdentity): Promise<AccessEntry> {
    return await this.state.locked(async () => {
      const before = (await this.readText()) ?? '';
      const text = this.named(() => replaceKey(before, name, key, this.parseRule));
      await this.state.write(ACCESS_FILE_NAME, text);
      const entry = this.parse(text).find((other) => other.name === name);
      if (entry === undefined) throw new WstunError('name-unknown', name);
      return entry;
    });
  }

  /** @throws WstunError name-unknown, bad-rule, bad-option, access-malformed, state-unusable */
  async change(name: string, change: EntryChange): Promise<void> {
    await this.state.locked(async () => {
      const text = (await this.readText()) ?? '';
      await this.state.write(
        ACCESS_FILE_NAME,
        this.named(() => changeEntry(text, name, change, this.parseRule)),
      );
    });
  }

  /** @throws WstunError name-unknown, access-malformed, state-unusable */
  async remove(name: string): Promise<void> {
    await this.state.locked(async () => {
      const text = (await this.readText()) ?? '';
      const left = this.named(() => removeEntry(text, name, this.parseRule));
      await this.state.write(ACCESS_FILE_NAME, left.trim() === '' ? NOBODY : left);
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
