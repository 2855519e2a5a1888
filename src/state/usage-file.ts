/**
 * `usage.json` in the state directory of an exit: how many bytes each name has used in the current month (UTC), for
 * quotas, and when it last used any. A crash loses ten seconds at most. Several processes may count in one file, as
 * while one relay takes over from another: each adds under the lock what it has counted, and checks for what others
 * have added.
 */
import { sleep } from '../async/abortable.ts';
import { type Clock, systemClock } from '../clock.ts';
import { isName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'usage.json';
/** Checks, and writes while another process counts too: each knows the other's counts within two seconds. */
const CHECK_MS = 500;
/** What a crash may lose, against wear of the disk. */
const WRITE_MS = 10_000 - CHECK_MS;
/** How long another process is assumed to count after it has written: it may write seldom. */
const SHARED_MS = 10_000;
/** A clock that is set back by less does not lead back into the previous month. */
const MAX_SET_BACK_MS = 3_600_000;
/** Of names that are no longer used, perhaps no longer listed, the last use is forgotten after this. */
const REMEMBERED_MS = 400 * 86_400_000;
/** ECMA-262 §21.4.1.1. */
const LATEST_DATE = 8.64e15;

type Counts = ReadonlyMap<string, number>;

export interface Usage {
  /** As 2026-01. */
  readonly month: string;
  readonly bytes: Counts;
  /** When each name last used any, also in earlier months, ms since 1970. Versions before this one wrote none. */
  readonly lastUsed: Counts;
}

/** No bytes if the file has those of another month, nothing if it is damaged. @throws WstunError state-unusable */
export async function readUsage(state: StateDir, now: number): Promise<Usage> {
  const text = await state.read(NAME, { secret: false });
  const month = monthOf(now);
  const stored = text === undefined ? undefined : parseUsage(text);
  return stored?.month === month ? stored : { month, bytes: new Map(), lastUsed: stored?.lastUsed ?? new Map() };
}

/** @throws WstunError state-unusable */
export async function openUsage(state: StateDir, logger: Logger, clock: Clock = systemClock): Promise<UsageFile> {
  // In this order, so that the first check sees a change between the two.
  const signature = await state.signature(NAME);
  return new UsageFile(state, logger, clock, signature, await readUsage(state, clock.wallTime()));
}

/** Counts what names use in the month. */
export interface UsageCounter {
  /** Bytes in this month. */
  usedBy(name: string): number;
  add(name: string, bytes: number): void;
  /** Resolves when everything is kept. Call it when nothing is counted any more. */
  close(): Promise<void>;
}

export interface StoredUsage extends UsageCounter {
  /** Those that have used any in this month. */
  readonly names: Iterable<string>;
}

export class UsageFile implements StoredUsage {
  private month: string;
  private monthEnds: number;
  /** If the calendar shows an earlier time, the month was wrong. */
  private setBackBefore: number;
  /** Of this month, as the file has them, as far as known here. Counts only grow: a file with less was damaged. */
  private stored: Counts;
  private lastUsed: Counts;
  /** Counted here since. */
  private unwritten = new Map<string, number>();
  private writtenAt = Number.NEGATIVE_INFINITY;
  private sharedUntil = Number.NEGATIVE_INFINITY;
  private readonly closing = new AbortController();
  private readonly following: Promise<void>;
  /** The last fault: a file that cannot be written stays so for long, but is logged once. */
  private loggedFault = '';

  /** Only `openUsage` makes one. */
  constructor(
    private readonly state: StateDir,
    private readonly logger: Logger,
    private readonly clock: Clock,
    /** Of the file as it was written or read here last. */
    private signature: string,
    { month, bytes, lastUsed }: Usage,
  ) {
    this.month = month;
    this.monthEnds = endOfMonth(clock.wallTime());
    this.setBackBefore = Date.parse(month) - MAX_SET_BACK_MS;
    this.stored = bytes;
    this.lastUsed = lastUsed;
    this.following = this.follow();
  }

  get names(): Iterable<string> {
    this.turnMonth();
    return new Set([...this.stored.keys(), ...this.unwritten.keys()]);
  }

  /** Bytes in this month. */
  usedBy(name: string): number {
    this.turnMonth();
    return (this.stored.get(name) ?? 0) + (this.unwritten.get(name) ?? 0);
  }

  add(name: string, bytes: number): void {
    this.turnMonth();
    this.unwritten.set(name, (this.unwritten.get(name) ?? 0) + bytes);
  }

  /** Resolves when everything is written. Call it when nothing is counted any more. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.following;
    await this.attempt(() => this.write());
  }

  private turnMonth(): void {
    const now = this.clock.wallTime();
    if (now < this.monthEnds && now >= this.setBackBefore) return;
    this.month = monthOf(now);
    this.monthEnds = endOfMonth(now);
    this.setBackBefore = Date.parse(this.month) - MAX_SET_BACK_MS;
    this.stored = new Map();
    this.unwritten = new Map();
    // Another process may have begun the new month earlier.
    this.signature = '';
  }

  /** Does not keep the process alive. */
  private async follow(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      await this.attempt(() => this.check());
      if (this.isDue()) await this.attempt(() => this.write());
      await sleep(this.clock, CHECK_MS, signal);
    }
  }

  private isDue(): boolean {
    const now = this.clock.now();
    return now < this.sharedUntil || now - this.writtenAt >= WRITE_MS;
  }

  /** An exit that cannot write continues to count: it would only lose the counts when it ends. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      if (error.message !== this.loggedFault) this.logger.warn({ code: error.code }, error.message);
      this.loggedFault = error.message;
    }
  }

  /** Reads what others have written. */
  private async check(): Promise<void> {
    this.turnMonth();
    const signature = await this.state.signature(NAME);
    if (signature === this.signature) return;
    this.sharedUntil = this.clock.now() + SHARED_MS;
    const { month, bytes, lastUsed } = await readUsage(this.state, this.clock.wallTime());
    this.lastUsed = combined(this.lastUsed, lastUsed, Math.max);
    // A new month has begun meanwhile.
    if (month !== this.month) return;
    // Not before it was read: counts that could not be read would be overwritten.
    this.signature = signature;
    this.stored = combined(this.stored, bytes, Math.max);
  }

  private async write(): Promise<void> {
    this.turnMonth();
    if (this.unwritten.size === 0) return;
    this.writtenAt = this.clock.now();
    await this.state.locked(async () => {
      await this.check();
      const [month, added] = [this.month, new Map(this.unwritten)];
      const bytes = combined(this.stored, added, (stored, more) => stored + more);
      this.lastUsed = usedNow(this.lastUsed, added.keys(), this.clock.wallTime());
      const content = { month, bytes: Object.fromEntries(bytes), lastUsed: Object.fromEntries(this.lastUsed) };
      const before = await this.state.signature(NAME);
      try {
        await this.state.write(NAME, `${JSON.stringify(content)}\n`);
      } finally {
        // Also after a failure: the file may be written all the same, and its counts would be added a second time.
        this.signature = await this.state.signature(NAME);
        if (this.signature !== before) this.handleWritten(month, bytes, added);
      }
    });
    this.loggedFault = '';
  }

  /** More may have been counted meanwhile, and a new month may have begun. */
  private handleWritten(month: string, bytes: Counts, added: Counts): void {
    if (month !== this.month) return;
    const left = combined(this.unwritten, added, (counted, written) => counted - written);
    this.unwritten = new Map([...left].filter(([, count]) => count > 0));
    this.stored = bytes;
  }
}

/** By name; a missing count is 0. */
function combined(one: Counts, other: Counts, of: (one: number, other: number) => number): Map<string, number> {
  const result = new Map(one);
  for (const [name, count] of other) result.set(name, of(one.get(name) ?? 0, count));
  return result;
}

function usedNow(lastUsed: Counts, names: Iterable<string>, now: number): Counts {
  const all = new Map([...lastUsed].filter(([, at]) => now - at < REMEMBERED_MS));
  for (const name of names) all.set(name, now);
  return all;
}

function monthOf(now: number): string {
  return new Date(now).toISOString().slice(0, 7);
}

function endOfMonth(now: number): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

function parseUsage(text: string): Usage | undefined {
  try {
    const { month, bytes, lastUsed } = JSON.parse(text) as Record<string, unknown>;
    if (typeof month !== 'string' || typeof bytes !== 'object' || bytes === null) return undefined;
    const entries = Object.entries(bytes);
    const times = Object.entries(lastUsed ?? {}).filter(isTime);
    return entries.every(isCount) ? { month, bytes: new Map(entries), lastUsed: new Map(times) } : undefined;
  } catch {
    return undefined;
  }
}

function isTime(entry: [string, unknown]): entry is [string, number] {
  return isCount(entry) && entry[1] <= LATEST_DATE;
}

function isCount(entry: [string, unknown]): entry is [string, number] {
  return isName(entry[0]) && Number.isSafeInteger(entry[1]) && Number(entry[1]) >= 0;
}
