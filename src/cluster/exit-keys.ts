/**
 * The gate keys that exits have announced, for relays at which they are not registered: a bucket with one value for
 * each exit, the keys one after another. Whichever relay hears a new list writes it; the last one counts.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Bucket, BucketHandler, BucketValue } from './bus.ts';
import { keyOfName, nameOfKey } from './names.ts';

const KEY_BYTES = 32;
/** As many as an exit may announce: 320 KB, far below the 1 MiB that NATS carries in a message. */
const MAX_KEYS = 10_000;
/** After what the servers did not take, as while they elect a leader. */
const RETRY_MS = 5_000;

export type OnKeys = (exit: string, keys: readonly string[]) => void;

export class ExitKeys implements BucketHandler {
  /** By the name of the exit. */
  private readonly values = new Map<string, Uint8Array>();
  /** Not written yet: the latest of each exit. */
  private readonly toWrite = new Map<string, Buffer>();
  private writing = false;
  private retry: Timer | undefined;
  private isClosed = false;

  constructor(
    private readonly bucket: Bucket,
    private readonly onKeys: OnKeys,
    private readonly logger: Logger,
    private readonly clock: Clock = systemClock,
  ) {
    bucket.watch(this);
  }

  /** What an exit has announced here, base64url. */
  share(exit: string, keys: readonly string[]): void {
    const value = Buffer.concat(keys.slice(0, MAX_KEYS).map((key) => Buffer.from(key, 'base64url')));
    this.toWrite.set(exit, value);
    void this.writeAll();
  }

  /** All that is known, once more: to whoever asks later. */
  repeat(): void {
    for (const [exit, value] of this.values) this.onKeys(exit, keysIn(value));
  }

  handleSnapshot(values: ReadonlyMap<string, BucketValue>): void {
    const before = [...this.values.keys()];
    this.values.clear();
    for (const [key, value] of values) this.handleChange(key, value);
    for (const exit of before) if (!this.values.has(exit)) this.onKeys(exit, []);
    // What could not be written while the cluster was away.
    void this.writeAll();
  }

  handleChange(key: string, value: BucketValue | undefined): void {
    const exit = nameOfKey(key);
    if (value === undefined) this.values.delete(exit);
    else this.values.set(exit, value.value);
    this.onKeys(exit, keysIn(value?.value));
  }

  /** Nothing is written any more. */
  close(): void {
    this.isClosed = true;
    this.clock.clearTimeout(this.retry);
  }

  private async writeAll(): Promise<void> {
    if (this.writing || this.isClosed) return;
    this.writing = true;
    this.clock.clearTimeout(this.retry);
    try {
      for (const [exit, value] of this.toWrite) {
        await this.write(exit, value);
        if (this.toWrite.get(exit) === value) this.toWrite.delete(exit);
      }
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      this.logger.debug({ code: error.code }, error.message);
      if (!this.isClosed) this.retry = this.clock.setTimeout(() => void this.writeAll(), RETRY_MS).unref();
    } finally {
      this.writing = false;
    }
  }

  private async write(exit: string, value: Buffer): Promise<void> {
    const before = this.values.get(exit);
    if (before !== undefined && value.equals(before)) return;
    if (value.length > 0) await this.bucket.put(keyOfName(exit), value);
    else if (before !== undefined) await this.bucket.remove(keyOfName(exit));
  }
}

function keysIn(value: Uint8Array = new Uint8Array(0)): readonly string[] {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const keys: string[] = [];
  for (let at = 0; at + KEY_BYTES <= bytes.length && keys.length < MAX_KEYS; at += KEY_BYTES)
    keys.push(bytes.toString('base64url', at, at + KEY_BYTES));
  return keys;
}
