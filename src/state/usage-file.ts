/**
 * `usage.json` in the state directory of an exit: how many bytes each name has used in the present month (UTC). Counts for quotas; a
 * crash forgets ten seconds at most.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isName } from '../crypto/names.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'usage.json';
/** What a crash may forget, against writing to a disk without end. */
const PAUSE_MS = 10_000;

interface Usage {
  /** As 2026-01. */
  readonly month: string;
  readonly bytes: ReadonlyMap<string, number>;
}

/** The counts of this month; none where the file has those of another, or cannot be understood. @throws WstunError state-unusable */
export async function readUsage(state: StateDir, now: number): Promise<Usage> {
  const text = await state.read(NAME, { secret: false });
  const month = monthOf(now);
  const stored = text === undefined ? undefined : parseUsage(text);
  return stored?.month === month ? stored : { month, bytes: new Map() };
}

/** @throws WstunError state-unusable */
export async function openUsage(state: StateDir, logger: Logger, clock = Date.now): Promise<UsageFile> {
  return new UsageFile(state, logger, clock, await readUsage(state, clock()));
}

export class UsageFile {
  readonly #state: StateDir;
  readonly #logger: Logger;
  readonly #clock: () => number;
  readonly #bytes: Map<string, number>;
  #month: string;
  #monthEnds: number;
  readonly #closing = new AbortController();
  #dirty = false;
  #writing: Promise<void> | undefined;

  /** Only `openUsage` makes one. `clock`: ms since 1970. */
  constructor(state: StateDir, logger: Logger, clock: () => number, { month, bytes }: Usage) {
    this.#state = state;
    this.#logger = logger;
    this.#clock = clock;
    this.#month = month;
    this.#monthEnds = endOfMonth(clock());
    this.#bytes = new Map(bytes);
  }

  /** Bytes in this month. */
  usedBy(name: string): number {
    this.#turnMonth();
    return this.#bytes.get(name) ?? 0;
  }

  add(name: string, bytes: number): void {
    this.#bytes.set(name, this.usedBy(name) + bytes);
    this.#dirty = true;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Resolves when all is written. Call it when nothing is counted any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  #turnMonth(): void {
    const now = this.#clock();
    if (now < this.#monthEnds) return;
    this.#month = monthOf(now);
    this.#monthEnds = endOfMonth(now);
    this.#bytes.clear();
  }

  /** An exit that cannot write goes on counting: it only would forget at its end. */
  async #write(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      try {
        const bytes = Object.fromEntries(this.#bytes);
        await this.#state.write(NAME, `${JSON.stringify({ month: this.#month, bytes })}\n`);
      } catch (error) {
        if (!(error instanceof WstunError)) throw error;
        this.#logger.warn({ code: error.code }, error.message);
      }
      await delay(PAUSE_MS, undefined, { ref: false, signal: this.#closing.signal }).catch(() => {});
    }
  }
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
