/**
 * What each name has used in the month at all relays of a cluster, for quotas. A bucket has one value for each month,
 * relay and name, which only that relay writes and which only grows; the sum of them counts. Each relay's own count is
 * that of its state directory.
 */
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { WstunError } from '../errors.ts';
import type { StoredUsage, Usage, UsageCounter } from '../state/usage-file.ts';
import type { Bucket, BucketHandler, BucketValue } from './bus.ts';
import { keyOfName, nameOfKey } from './names.ts';

/** Between two values of one name, if its quota is far. */
const WRITE_MS = 2_000;
/** As soon as that share of what is left of the quota has been used here since the last value, */
const SHARE_OF_REST = 1 / 20;
/** but not sooner than this. */
const SOONEST_MS = 100;
/** After a failed write. */
const RETRY_MS = 1_000;
/** Values that are written at the same time. */
const AT_ONCE = 16;
const MINUTE_MS = 60_000;
/** A value of last month is of no use; one that is still counted is written anew. */
export const USAGE_MAX_AGE_MS = 62 * 86_400_000;

export interface ClusterUsageOptions {
  /** Of this relay: a part of a key. */
  readonly relay: string;
  /** Nobody else counts in the file of this relay: it is no worker. */
  readonly isAlone: boolean;
  /** Bytes a month; undefined: no limit. */
  readonly quotaOf: (name: string) => number | undefined;
  /** Whether the cluster is connected. */
  readonly isConnected: () => boolean;
  /** Relays of the cluster, this one included. */
  readonly relayCount: () => number;
  readonly clock?: Clock;
}

export class ClusterUsage implements UsageCounter, BucketHandler {
  private readonly clock: Clock;
  /** Values of other relays, by key. */
  private readonly values = new Map<string, number>();
  /** Sums of them for this month, by name. */
  private others = new Map<string, number>();
  private month = '';
  /** Of the month: the first and the last millisecond that are known to be in it. */
  private monthFrom = 0;
  private monthTo = -1;
  /** What was counted here since its last value, by name. */
  private unwritten = new Map<string, number>();
  private readonly writtenAt = new Map<string, number>();
  /** What is written at present, by name. */
  private readonly writing = new Set<string>();
  private hasSnapshot = false;
  private hasFailed = false;
  private isClosed = false;

  constructor(
    private readonly own: StoredUsage,
    private readonly bucket: Bucket,
    private readonly options: ClusterUsageOptions,
  ) {
    this.clock = options.clock ?? systemClock;
    bucket.watch(this);
    void this.writeAll();
  }

  /**
   * While the cluster is away, nobody knows what others count meanwhile: as much as this relay does, so that all
   * together stay within the quota.
   */
  usedBy(name: string): number {
    this.turnMonth();
    const unseen = this.isBlind() ? (this.options.relayCount() - 1) * (this.unwritten.get(name) ?? 0) : 0;
    return this.own.usedBy(name) + (this.others.get(name) ?? 0) + unseen;
  }

  add(name: string, bytes: number): void {
    this.turnMonth();
    this.own.add(name, bytes);
    this.unwritten.set(name, (this.unwritten.get(name) ?? 0) + bytes);
    if (this.isUrgent(name)) void this.write(name);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    if (this.options.isConnected()) await Promise.all([...this.unwritten.keys()].map((name) => this.write(name)));
    await this.own.close();
  }

  handleSnapshot(values: ReadonlyMap<string, BucketValue>): void {
    this.turnMonth();
    this.values.clear();
    this.others.clear();
    for (const [key, value] of values) {
      this.handleChange(key, value);
      if (!this.hasSnapshot) this.takeUp(key, value);
    }
    this.hasSnapshot = true;
    this.noteLost(values);
  }

  handleChange(key: string, value: BucketValue | undefined): void {
    this.turnMonth();
    const { month, relay, name } = partsOf(key);
    if (relay === this.options.relay) return;
    const before = this.values.get(key) ?? 0;
    // It only grows: of two workers that count in one file, one may be a little behind.
    const bytes = value === undefined ? 0 : Math.max(before, countIn(value.value).bytes);
    const more = bytes - before;
    if (value === undefined) this.values.delete(key);
    else this.values.set(key, bytes);
    if (month === this.month) this.others.set(name, (this.others.get(name) ?? 0) + more);
  }

  /** A crash may have lost what the bucket still has. Once, as others may count in the same file after that. */
  private takeUp(key: string, { value }: BucketValue): void {
    const { month, relay, name } = partsOf(key);
    if (relay !== this.options.relay || month !== this.month) return;
    const lost = countIn(value).bytes - this.own.usedBy(name);
    if (lost > 0 && this.options.isAlone) this.own.add(name, lost);
  }

  /** What this relay counted while the cluster was away, before it was started again; or the bucket was lost. */
  private noteLost(values: ReadonlyMap<string, BucketValue>): void {
    const { relay } = this.options;
    for (const name of this.own.names) {
      const stored = values.get(keyOf(this.month, relay, name));
      const lost = this.own.usedBy(name) - (stored === undefined ? 0 : countIn(stored.value).bytes);
      if (lost > (this.unwritten.get(name) ?? 0)) this.unwritten.set(name, lost);
    }
  }

  private isBlind(): boolean {
    return this.hasFailed || !this.options.isConnected();
  }

  private isUrgent(name: string): boolean {
    const quota = this.options.quotaOf(name);
    if (quota === undefined || this.isBlind()) return false;
    const left = quota - this.usedBy(name);
    if ((this.unwritten.get(name) ?? 0) < left * SHARE_OF_REST) return false;
    return this.clock.now() - (this.writtenAt.get(name) ?? Number.NEGATIVE_INFINITY) >= SOONEST_MS;
  }

  /** Whatever is not urgent. Keeps no process alive. */
  private async writeAll(): Promise<void> {
    while (!this.isClosed) {
      await sleep(this.clock, this.hasFailed ? RETRY_MS : WRITE_MS);
      if (!this.options.isConnected()) continue;
      const names = [...this.unwritten.keys()];
      for (let at = 0; at < names.length && !this.isClosed; at += AT_ONCE)
        await Promise.all(names.slice(at, at + AT_ONCE).map((name) => this.write(name)));
    }
  }

  private async write(name: string): Promise<void> {
    const counted = this.unwritten.get(name) ?? 0;
    if (counted === 0 || this.writing.has(name)) return;
    const { month } = this;
    const value = { bytes: this.own.usedBy(name), at: this.clock.wallTime() };
    this.writing.add(name);
    this.writtenAt.set(name, this.clock.now());
    try {
      await this.bucket.put(keyOf(month, this.options.relay, name), formatCount(value));
      this.hasFailed = false;
      if (month === this.month) this.noteWritten(name, counted);
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      this.hasFailed = true;
    } finally {
      this.writing.delete(name);
    }
  }

  private noteWritten(name: string, counted: number): void {
    const left = (this.unwritten.get(name) ?? 0) - counted;
    if (left > 0) this.unwritten.set(name, left);
    else {
      this.unwritten.delete(name);
      // A name that is not used any more leaves nothing here.
      this.writtenAt.delete(name);
    }
  }

  private turnMonth(): void {
    const now = this.clock.wallTime();
    // It is asked for each piece that a stream carries.
    if (now >= this.monthFrom && now <= this.monthTo) return;
    const month = monthOf(now);
    this.monthFrom = now;
    const next = now + MINUTE_MS;
    this.monthTo = monthOf(next) === month ? next : Date.parse(monthOf(next)) - 1;
    if (month === this.month) return;
    this.month = month;
    this.unwritten = new Map();
    this.others = new Map();
    for (const [key, bytes] of this.values) {
      const { month: of, name } = partsOf(key);
      if (of === month) this.others.set(name, (this.others.get(name) ?? 0) + bytes);
    }
  }
}

/** Of all relays together, as `access list` shows it. @param now milliseconds since 1970 */
export function usageIn(values: ReadonlyMap<string, BucketValue>, now: number): Usage {
  const bytes = new Map<string, number>();
  const lastUsed = new Map<string, number>();
  const month = monthOf(now);
  for (const [key, { value }] of values) {
    const parts = partsOf(key);
    const count = countIn(value);
    if (parts.month === month) bytes.set(parts.name, (bytes.get(parts.name) ?? 0) + count.bytes);
    lastUsed.set(parts.name, Math.max(lastUsed.get(parts.name) ?? 0, count.at));
  }
  return { month, bytes, lastUsed };
}

function keyOf(month: string, relay: string, name: string): string {
  return `${month}.${relay}.${keyOfName(name)}`;
}

function partsOf(key: string): { readonly month: string; readonly relay: string; readonly name: string } {
  const [month = '', relay = '', name = ''] = key.split('.');
  return { month, relay, name: nameOfKey(name) };
}

interface Count {
  readonly bytes: number;
  /** When it was counted, milliseconds since 1970. */
  readonly at: number;
}

function formatCount({ bytes, at }: Count): Uint8Array {
  return Buffer.from(`${bytes} ${at}`);
}

/** Nothing for what is no count. */
function countIn(value: Uint8Array): Count {
  const [, bytes = 0, at = 0] = /^(\d{1,16}) (\d{1,14})$/.exec(Buffer.from(value).toString('latin1')) ?? [];
  return { bytes: Number(bytes), at: Number(at) };
}

/** As 2026-01. */
function monthOf(now: number): string {
  return new Date(now).toISOString().slice(0, 7);
}
