/** Checks files twice a second: of bind mounts, moved symlinks and network files the kernel reports little. */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock, type Timer } from '../clock.ts';

const POLL_MS = 500;
/** A file that keeps changing is read after so many steps all the same. */
const MAX_SETTLE_STEPS = 20;

export interface FileWatchOptions {
  /** Changes whenever one of the files does. */
  readonly signature: () => Promise<string>;
  /** The signature of what has been read already. */
  readonly seen: string;
  /** How long the files must be unchanged: an editor writes a file in steps, and a pair of files in turn. */
  readonly settleMs: number;
  /** Reads the files. After a rejection they are read again when they change. */
  readonly onChange: () => Promise<void>;
  /** What `signature` and `onChange` reject with. */
  readonly onFault: (error: unknown) => void;
  /** Whether the directory of the files can be watched. */
  readonly notices?: { readonly directory: string; readonly name: string };
  readonly clock?: Clock;
}

/** Changes whenever the file does: written, replaced. Rejects if there is none. */
export async function signatureOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

export class FileWatch {
  private readonly clock: Clock;
  private readonly notices: FSWatcher | undefined;
  private seen: string;
  private poll: Timer | undefined;
  private looking: Promise<void> | undefined;
  private again = false;
  private readonly closing = new AbortController();

  /** Keeps no process alive. */
  constructor(private readonly options: FileWatchOptions) {
    this.clock = options.clock ?? systemClock;
    this.seen = options.seen;
    this.notices = this.watchDirectory();
    this.lookLater();
  }

  /** True after `close`: a slow `onChange` must not use what it has read then. */
  get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  /** Checks now. Resolves when all changes so far have been read. */
  look(): Promise<void> {
    this.again = true;
    this.looking ??= this.lookUntilSame();
    return this.looking;
  }

  /** After it resolves nothing is called any more. */
  async close(): Promise<void> {
    this.closing.abort();
    this.clock.clearTimeout(this.poll);
    this.notices?.close();
    await this.looking;
  }

  private lookLater(): void {
    this.poll = this.clock.setTimeout(() => {
      void this.look();
      this.lookLater();
    }, POLL_MS);
    this.poll.unref();
  }

  /** Watches the directory, because a replaced file has another inode, for which no notice would come. */
  private watchDirectory(): FSWatcher | undefined {
    const { notices } = this.options;
    if (notices === undefined) return undefined;
    try {
      const watcher = watch(notices.directory, { persistent: false }, (_event, name) => {
        if (name === null || name === notices.name) void this.look();
      });
      return watcher.on('error', () => watcher.close());
    } catch {
      // The kernel's limit of watches may be reached.
      return undefined;
    }
  }

  private async lookUntilSame(): Promise<void> {
    try {
      while (this.again && !this.isClosed) {
        this.again = false;
        await this.lookOnce();
      }
    } finally {
      // In the same turn as the last check of `again`, so that no call of `look` is lost in between.
      this.looking = undefined;
    }
  }

  private async lookOnce(): Promise<void> {
    const { signature, onChange, onFault } = this.options;
    try {
      if ((await signature()) === this.seen) return;
      const settled = await this.settled();
      if (this.isClosed) return;
      this.seen = settled;
      await onChange();
    } catch (error) {
      if (!this.isClosed) onFault(error);
    }
  }

  private async settled(): Promise<string> {
    const { signature, settleMs } = this.options;
    let last = await signature();
    for (let step = 0; step < MAX_SETTLE_STEPS; step++) {
      await sleep(this.clock, settleMs, this.closing.signal);
      const next = this.isClosed ? last : await signature();
      if (next === last) break;
      last = next;
    }
    return last;
  }
}
