/**
 * `usage.json` in the state directory of an exit: how many bytes each name has used in the present month (UTC). Counts
 * for quotas; a crash forgets ten seconds at most.
 *
 * Several processes may count in one file, as while one relay takes over from another: each adds what it has counted to
 * what is there, under the lock, and looks for what others have added.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'usage.json';
/**
 * How often it is looked at, and written while another process counts too: with both, each knows what the other has
 * within two seconds.
 */
const LOOK_MS = 500;
/** What a crash may forget, against writing to a disk without end. */
const WRITE_MS = 10_000 - LOOK_MS;
/** Since another process has written: it may still be there, and count less often than it is looked for. */
const SHARED_MS = 10_000;
/** A clock that is put right by less does not lead back into the month before. */
const SET_BACK_MS = 3_600_000;

type Counts = ReadonlyMap<string, number>;

interface Usage {
  /** As 2026-01. */
  readonly month: string;
  readonly bytes: Counts;
}

/**
 * The counts of this month; none where the file has those of another, or cannot be understood. @throws WstunError
 * state-unusable
 */
export async function readUsage(state: StateDir, now: number): Promise<Usage> {
  const text = await state.read(NAME, { secret: false });
  const month = monthOf(now);
  const stored = text === undefined ? undefined : parseUsage(text);
  return stored?.month === month ? stored : { month, bytes: new Map() };
}

/** @throws WstunError state-unusable */
export async function openUsage(state: StateDir, logger: Logger, clock = Date.now): Promise<UsageFile> {
  // In this order, so that a change between the two shows at the first look.
  const signature = await state.signature(NAME);
  return new UsageFile(state, logger, clock, signature, await readUsage(state, clock()));
}

export class UsageFile {
  private readonly state: StateDir;
  private readonly logger: Logger;
  private readonly clock: () => number;
  private month: string;
  private monthEnds: number;
  /** A clock that says so was wrong about the month. */
  private setBackBefore: number;
  /**
   * Of this month, as the file has them, as far as is known here. Counts only grow: a file that has less was damaged.
   */
  private stored: Counts;
  /** Counted here since. */
  private unwritten = new Map<string, number>();
  /** Of the file as it was written or read here last. */
  private signature: string;
  private writtenAt = Number.NEGATIVE_INFINITY;
  private sharedUntil = Number.NEGATIVE_INFINITY;
  private readonly closing = new AbortController();
  private readonly following: Promise<void>;
  /** The last fault: what cannot be written stays so for long, but is told once. */
  private told = '';

  /** Only `openUsage` makes one. `clock`: ms since 1970. */
  constructor(state: StateDir, logger: Logger, clock: () => number, signature: string, { month, bytes }: Usage) {
    this.state = state;
    this.logger = logger;
    this.clock = clock;
    this.month = month;
    this.monthEnds = endOfMonth(clock());
    this.setBackBefore = Date.parse(month) - SET_BACK_MS;
    this.stored = bytes;
    this.signature = signature;
    this.following = this.follow();
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

  /** Resolves when all is written. Call it when nothing is counted any more. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.following;
    await this.attempt(() => this.write());
  }

  private turnMonth(): void {
    const now = this.clock();
    if (now < this.monthEnds && now >= this.setBackBefore) return;
    this.month = monthOf(now);
    this.monthEnds = endOfMonth(now);
    this.setBackBefore = Date.parse(this.month) - SET_BACK_MS;
    this.stored = new Map();
    this.unwritten = new Map();
    // Another process may have begun the month before this one.
    this.signature = '';
  }

  /** Keeps no process alive by itself. */
  private async follow(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      await this.attempt(() => this.look());
      if (this.isDue()) await this.attempt(() => this.write());
      await delay(LOOK_MS, undefined, { ref: false, signal }).catch(() => {});
    }
  }

  private isDue(): boolean {
    const now = performance.now();
    return now < this.sharedUntil || now - this.writtenAt >= WRITE_MS;
  }

  /** An exit that cannot write goes on counting: it only would forget at its end. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof WstunError)) throw error;
      if (error.message !== this.told) this.logger.warn({ code: error.code }, error.message);
      this.told = error.message;
    }
  }

  /** Takes over what others have written. */
  private async look(): Promise<void> {
    this.turnMonth();
    const signature = await this.state.signature(NAME);
    if (signature === this.signature) return;
    this.sharedUntil = performance.now() + SHARED_MS;
    const { month, bytes } = await readUsage(this.state, this.clock());
    // The month has turned meanwhile.
    if (month !== this.month) return;
    // Not before it was read: what failed to be read would be written over.
    this.signature = signature;
    this.stored = combined(this.stored, bytes, Math.max);
  }

  private async write(): Promise<void> {
    this.turnMonth();
    if (this.unwritten.size === 0) return;
    this.writtenAt = performance.now();
    await this.state.locked(async () => {
      await this.look();
      const [month, added] = [this.month, new Map(this.unwritten)];
      const bytes = combined(this.stored, added, (stored, more) => stored + more);
      const before = await this.state.signature(NAME);
      try {
        await this.state.write(NAME, `${JSON.stringify({ month, bytes: Object.fromEntries(bytes) })}\n`);
      } finally {
        // Also where that failed: it may have been too late, and what is in the file would be added once more.
        this.signature = await this.state.signature(NAME);
        if (this.signature !== before) this.handleWritten(month, bytes, added);
      }
    });
    this.told = '';
  }

  /** More may have been counted meanwhile, and the month have turned. */
  private handleWritten(month: string, bytes: Counts, added: Counts): void {
    if (month !== this.month) return;
    const left = combined(this.unwritten, added, (counted, written) => counted - written);
    this.unwritten = new Map([...left].filter(([, count]) => count > 0));
    this.stored = bytes;
  }
}

/** By name; what one of them does not have is 0 there. */
function combined(one: Counts, other: Counts, of: (one: number, other: number) => number): Map<string, number> {
  const result = new Map(one);
  for (const [name, count] of other) result.set(name, of(one.get(name) ?? 0, count));
  return result;
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
    const { month, bytes } = JSON.parse(text) as { month?: unknown; bytes?: unknown };
    if (typeof month !== 'string' || typeof bytes !== 'object' || bytes === null) return undefined;
    const entries = Object.entries(bytes);
    return entries.every(isCount) ? { month, bytes: new Map(entries) } : undefined;
  } catch {
    return undefined;
  }
}

function isCount(entry: [string, unknown]): entry is [string, number] {
  return isName(entry[0]) && Number.isSafeInteger(entry[1]) && Number(entry[1]) >= 0;
}
