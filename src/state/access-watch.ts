/** Applies changes of `access.toml` while the relay runs. If the file cannot be read, the last valid list stays. */
import type { Clock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import { ACCESS_FILE_NAME, type AccessFile } from './access-file.ts';
import type { ListedEntry } from './access-list.ts';
import { FileWatch } from './file-watch.ts';

/** An editor may write a file in steps, and an empty first step would lock all peers out. */
const SETTLE_MS = 50;

export interface AccessWatchHandler<R> {
  /** The list after a valid change, in the order of the file. */
  handleChange(entries: readonly ListedEntry<R>[]): void;
  /** Once for each change that cannot be read: access-malformed, state-unusable. The last valid list stays. */
  handleFault(fault: WstunError): void;
}

/**
 * Reads the list and watches it from then on. Does not keep the process alive.
 * @throws WstunError state-unusable, access-malformed: at the start there is no last valid list
 */
export async function watchAccess<R>(
  file: AccessFile<R>,
  handler: AccessWatchHandler<R>,
  clock?: Clock,
): Promise<AccessWatch<R>> {
  // In this order, so that the first check sees a change between the two.
  const signature = await file.state.signature(ACCESS_FILE_NAME);
  const text = await file.readText();
  return new AccessWatch(
    file,
    handler,
    { signature, text, entries: text === undefined ? [] : file.parse(text) },
    clock,
  );
}

interface Seen<R> {
  readonly signature: string;
  readonly text: string | undefined;
  readonly entries: readonly ListedEntry<R>[];
}

export class AccessWatch<R> {
  private readonly file: AccessFile<R>;
  private readonly handler: AccessWatchHandler<R>;
  private readonly watch: FileWatch;
  private text: string | undefined;
  private list: readonly ListedEntry<R>[];
  /** The text of the last fault: a file that cannot be read stays so at every check, but is reported once. */
  private reportedFault = '';

  /** Only `watchAccess` makes one. */
  constructor(
    file: AccessFile<R>,
    handler: AccessWatchHandler<R>,
    { signature, text, entries }: Seen<R>,
    clock?: Clock,
  ) {
    this.file = file;
    this.handler = handler;
    this.text = text;
    this.list = entries;
    this.watch = new FileWatch({
      signature: () => file.state.signature(ACCESS_FILE_NAME),
      seen: signature,
      settleMs: SETTLE_MS,
      onChange: () => this.takeOver(),
      onFault: (error) => this.report(error),
      notices: { directory: file.state.path, name: ACCESS_FILE_NAME },
      ...(clock && { clock }),
    });
  }

  /** The last valid list. */
  get entries(): readonly ListedEntry<R>[] {
    return this.list;
  }

  /** Resolves when the current text of the file is applied. */
  look(): Promise<void> {
    return this.watch.look();
  }

  /** After it resolves no handler is called any more. */
  close(): Promise<void> {
    return this.watch.close();
  }

  private async takeOver(): Promise<void> {
    const text = await this.file.readText();
    if (this.watch.isClosed || text === this.text) return;
    this.text = text;
    if (text === undefined)
      throw new WstunError('access-malformed', `${this.file.state.pathOf(ACCESS_FILE_NAME)} does not exist any more`);
    this.list = this.file.parse(text);
    this.reportedFault = '';
    this.handler.handleChange(this.list);
  }

  private report(error: unknown): void {
    if (!(error instanceof WstunError)) throw error;
    if (this.reportedFault === error.message) return;
    this.reportedFault = error.message;
    this.handler.handleFault(error);
  }
}
