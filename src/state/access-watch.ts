/** Follows `access.toml` while a relay or an exit runs. If it cannot be read, the last valid list stays in force. */
import type { Clock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { ACCESS_FILE_NAME, type AccessFile } from './access-file.ts';
import type { ListedEntry } from './access-list.ts';
import type { AccessSource } from './access-store.ts';
import { FileWatch } from './file-watch.ts';

/** An editor may write a file in steps, and an empty first step would lock all peers out. */
const SETTLE_MS = 50;

export interface AccessWatchHandler<R, L> {
  /** The list as it is from now on, in the order of the file. */
  handleChange(entries: readonly ListedEntry<R, L>[]): void;
  /** Once for each change that cannot be read: access-malformed, state-unusable. */
  handleFault(fault: WstunError): void;
}

export interface AccessWatch<R, L> {
  /** The last valid list. */
  readonly entries: readonly ListedEntry<R, L>[];
  /** As of FileWatch. */
  look(): Promise<void>;
  close(): Promise<void>;
}

/** The file as a list that can be followed. */
export function followedFile<R, L>(file: AccessFile<R, L>): AccessSource<R, L> {
  return {
    place: file.place,
    read: () => file.read(),
    add: (entry) => file.add(entry),
    replaceKeys: (keys) => file.replaceKeys(keys),
    change: (name, change) => file.change(name, change),
    remove: (name) => file.remove(name),
    follow: (handler) => watchAccess(file, handler),
  };
}

/** Does not keep the process alive. @throws WstunError state-unusable, access-malformed: there is no valid list */
export async function watchAccess<R, L>(
  file: AccessFile<R, L>,
  handler: AccessWatchHandler<R, L>,
  clock?: Clock,
): Promise<AccessWatch<R, L>> {
  // In this order, so that the first check sees a change between the two.
  const seen = await file.state.signature(ACCESS_FILE_NAME);
  let text = await file.readText();
  let entries = text === undefined ? [] : file.parse(text);
  // A file that cannot be read stays so at every check, but is reported once.
  let reported = '';
  const watch = new FileWatch({
    signature: () => file.state.signature(ACCESS_FILE_NAME),
    seen,
    settleMs: SETTLE_MS,
    notices: { directory: file.state.path, name: ACCESS_FILE_NAME },
    ...(clock && { clock }),
    onChange: async () => {
      const before = text;
      text = await file.readText();
      if (watch.isClosed || text === before) return;
      if (text === undefined)
        throw new WstunError('access-malformed', `${file.state.pathOf(ACCESS_FILE_NAME)} is gone`);
      entries = file.parse(text);
      reported = '';
      handler.handleChange(entries);
    },
    onFault: (error) => {
      if (!(error instanceof WstunError)) throw error;
      if (reported === error.message) return;
      reported = error.message;
      handler.handleFault(error);
    },
  });
  return {
    get entries() {
      return entries;
    },
    look: () => watch.look(),
    close: () => watch.close(),
  };
}
