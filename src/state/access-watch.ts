/**
 * Takes changes of `access.toml` over while the relay runs. What cannot be read leaves the last good list in force.
 *
 * The kernel's notices make it quick, a look twice a second makes it sure (network file systems and bind mounts send
 * none). An editor may write a file in steps, and an empty first step would lock everybody out: so a change is taken
 * only when the file has stood still for a moment.
 */
import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { WstunError } from '../errors.ts';
import { ACCESS_FILE_NAME, type AccessFile } from './access-file.ts';
import type { AccessEntry } from './access-list.ts';

const POLL_MS = 500;
const SETTLE_MS = 50;
/** A file that never stands still is taken after a second all the same: with the poll, always within two. */
const MAX_SETTLE_STEPS = 20;

export interface AccessWatchHandler {
  /** The list after a change that can be read, in the order of the file. */
  handleChange(entries: readonly AccessEntry[]): void;
  /** Once for each change that cannot be read: access-malformed, state-unusable. The last good list stays in force. */
  handleFault(fault: WstunError): void;
}

/**
 * Reads the list and watches it from then on. Keeps no process alive by itself.
 * @throws WstunError state-unusable, access-malformed: at the start there is no last good list
 */
export async function watchAccess(file: AccessFile, handler: AccessWatchHandler): Promise<AccessWatch> {
  // In this order, so that a change between the two shows at the first look.
  const signature = await file.state.signature(ACCESS_FILE_NAME);
  const text = await file.readText();
  return new AccessWatch(file, handler, { signature, text, entries: text === undefined ? [] : file.parse(text) });
}

interface Seen {
  readonly signature: string;
  readonly text: string | undefined;
  readonly entries: readonly AccessEntry[];
}

export class AccessWatch {
  private readonly file: AccessFile;
  private readonly handler: AccessWatchHandler;
  private readonly closing = new AbortController();
  private readonly poll: NodeJS.Timeout;
  private readonly notices: FSWatcher | undefined;
  private seen: Seen;
  private look: Promise<void> | undefined;
  private again = false;
  /** The text of the last fault: what cannot be read stays so at every look, but is told once. */
  private told = '';

  /** Only `watchAccess` makes one. */
  constructor(file: AccessFile, handler: AccessWatchHandler, seen: Seen) {
    this.file = file;
    this.handler = handler;
    this.seen = seen;
    this.poll = setInterval(() => this.lookSoon(), POLL_MS).unref();
    this.notices = this.watchDirectory();
  }

  /** The last good list. */
  get entries(): readonly AccessEntry[] {
    return this.seen.entries;
  }

  /** After it resolves no handler is called any more. */
  async close(): Promise<void> {
    this.closing.abort();
    clearInterval(this.poll);
    this.notices?.close();
    await this.look;
  }

  /** The directory, because a replaced file has another inode, of which no notice would come. */
  private watchDirectory(): FSWatcher | undefined {
    try {
      const notices = watch(this.file.state.path, { persistent: false }, (_event, name) => {
        if (name === null || name === ACCESS_FILE_NAME) this.lookSoon();
      });
      notices.on('error', () => notices.close());
      return notices;
    } catch {
      // The kernel's watches may be used up; the poll goes on.
      return undefined;
    }
  }

  private lookSoon(): void {
    if (this.closing.signal.aborted) return;
    this.again = true;
    this.look ??= this.lookUntilSame().finally(() => {
      this.look = undefined;
    });
  }

  private async lookUntilSame(): Promise<void> {
    while (this.again && !this.closing.signal.aborted) {
      this.again = false;
      try {
        await this.lookOnce();
      } catch (error) {
        this.report(error);
      }
    }
  }

  private async lookOnce(): Promise<void> {
    if ((await this.file.state.signature(ACCESS_FILE_NAME)) === this.seen.signature) return;
    const signature = await this.settled();
    if (signature === undefined) return;
    // Before anything can fail, so that a file that cannot be read is not read again until it changes.
    this.seen = { ...this.seen, signature };
    const text = await this.file.readText();
    if (this.closing.signal.aborted || text === this.seen.text) return;
    this.seen = { ...this.seen, text };
    if (text === undefined)
      throw new WstunError('access-malformed', `${this.file.state.pathOf(ACCESS_FILE_NAME)} is gone`);
    this.seen = { signature, text, entries: this.file.parse(text) };
    this.told = '';
    this.handler.handleChange(this.seen.entries);
  }

  /** The signature once it has stayed the same for a moment; undefined when closed meanwhile. */
  private async settled(): Promise<string | undefined> {
    let signature = await this.file.state.signature(ACCESS_FILE_NAME);
    for (let step = 0; step < MAX_SETTLE_STEPS; step++) {
      await delay(SETTLE_MS, undefined, { signal: this.closing.signal }).catch(() => {});
      if (this.closing.signal.aborted) return undefined;
      const next = await this.file.state.signature(ACCESS_FILE_NAME);
      if (next === signature) break;
      signature = next;
    }
    return signature;
  }

  private report(error: unknown): void {
    if (!(error instanceof WstunError)) throw error;
    if (this.closing.signal.aborted || this.told === error.message) return;
    this.told = error.message;
    this.handler.handleFault(error);
  }
}
