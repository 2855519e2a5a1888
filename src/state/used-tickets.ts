/**
 * `used-tickets/` in a relay's state directory: the fingerprints of tickets that were used in the last 26 hours, so
 * that none opens again after a restart. No secrets: eight random bytes of each ticket, and when it was used.
 *
 * One file for two hours, which are only ever appended to, also by several processes at once, as while one relay takes
 * over from another: each reads what the others append. A crash forgets what was used in the last moments.
 */
import type { ReplayGuard } from '../crypto/replay-guard.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'used-tickets';
const SLOT_MS = 2 * 3_600_000;
/** The present one and those of 26 hours before it. */
const SLOTS = 14;
/** Seconds since 1970 (4 bytes), fingerprint (8 bytes), big-endian. */
const RECORD_BYTES = 12;
/** What a crash may forget. */
const WRITE_MS = 50;
/** How often what others have appended is looked for. */
const LOOK_MS = 500;
/** All files: beyond, the oldest are emptied. As many tickets as memory has places for. */
const MAX_BYTES = 24 * 1024 * 1024;
/** Read at start, the newest: a second of work, and as many as memory keeps of the past (replay-memory.ts). */
const MAX_RESTORED_BYTES = 1_048_576 * RECORD_BYTES;
/** Read in one piece. */
const CHUNK_BYTES = RECORD_BYTES * 65_536;

/**
 * Restores what was used, and keeps what will be. A directory that cannot be read or written is told of once, and costs
 * only this.
 * @throws WstunError state-unusable, where the state directory itself cannot be used
 */
export async function openUsedTickets(
  state: StateDir,
  memory: ReplayGuard,
  logger: Logger,
  clock = Date.now,
): Promise<UsedTickets> {
  const used = new UsedTickets(await state.subdirectory(NAME), memory, logger, clock);
  await used.start();
  return used;
}

export class UsedTickets {
  private readonly dir: StateDir;
  private readonly memory: ReplayGuard;
  private readonly logger: Logger;
  private readonly clock: () => number;
  /** Not written yet. */
  private records: Buffer[] = [];
  /** Slot to how much of its file has been read. */
  private readonly read = new Map<number, number>();
  private writing: NodeJS.Timeout | undefined;
  private looking: NodeJS.Timeout | undefined;
  /** One after the other. */
  private work = Promise.resolve();
  private told = '';

  /** Only `openUsedTickets` makes one. `clock`: ms since 1970. */
  constructor(dir: StateDir, memory: ReplayGuard, logger: Logger, clock: () => number) {
    this.dir = dir;
    this.memory = memory;
    this.logger = logger;
    this.clock = clock;
  }

  async start(): Promise<void> {
    await this.attempt(() => this.load());
    this.memory.onRemembered = ({ high, low }, now) => this.keep(high, low, now);
    this.looking = setInterval(() => void this.attempt(() => this.look()), LOOK_MS).unref();
  }

  /** Resolves when all is written. */
  async close(): Promise<void> {
    clearInterval(this.looking);
    clearTimeout(this.writing);
    await this.attempt(() => this.write());
  }

  private keep(high: number, low: number, now: number): void {
    const record = Buffer.alloc(RECORD_BYTES);
    record.writeUInt32BE(Math.floor(now / 1000) >>> 0, 0);
    record.writeUInt32BE(high, 4);
    record.writeUInt32BE(low, 8);
    this.records.push(record);
    this.writing ??= setTimeout(() => void this.attempt(() => this.write()), WRITE_MS).unref();
  }

  private async write(): Promise<void> {
    this.writing = undefined;
    if (this.records.length === 0) return;
    const records = this.records;
    this.records = [];
    const name = String(this.slot());
    // A crash or a full disk may have cut the last record.
    const cut = (await this.dir.size(name)) % RECORD_BYTES;
    const filler = Buffer.alloc(cut === 0 ? 0 : RECORD_BYTES - cut);
    try {
      await this.dir.append(name, Buffer.concat([filler, ...records]));
    } catch (error) {
      this.memory.forgetBefore(this.clock());
      throw error;
    }
  }

  /** What others have appended, and this process: that does no harm. */
  private async look(): Promise<void> {
    const slot = this.slot();
    await this.readOn(slot - 1);
    await this.readOn(slot);
    if (!this.read.has(slot)) await this.tidy();
    this.read.set(slot, this.read.get(slot) ?? 0);
  }

  private async load(): Promise<void> {
    await this.tidy();
    const slots = await this.slots();
    const sizes = await Promise.all(slots.map((slot) => this.dir.size(String(slot))));
    let excess = sizes.reduce((sum, size) => sum + size, 0) - MAX_RESTORED_BYTES;
    for (const [index, slot] of slots.entries()) {
      const size = sizes[index] ?? 0;
      const passedOver = Math.min(Math.max(0, excess), size);
      excess -= passedOver;
      // Or it was emptied, to make room.
      if (size === 0 || passedOver > 0) this.memory.forgetBefore(Math.min((slot + 1) * SLOT_MS, this.clock()));
      this.read.set(slot, Math.ceil(passedOver / RECORD_BYTES) * RECORD_BYTES);
      await this.readOn(slot);
    }
  }

  private async readOn(slot: number): Promise<void> {
    for (;;) {
      const from = this.read.get(slot) ?? 0;
      const bytes = await this.dir.readBytes(String(slot), from, CHUNK_BYTES);
      const whole = bytes.length - (bytes.length % RECORD_BYTES);
      if (whole === 0) return;
      for (let at = 0; at < whole; at += RECORD_BYTES) this.restore(bytes.subarray(at, at + RECORD_BYTES));
      this.read.set(slot, from + whole);
    }
  }

  private restore(record: Buffer): void {
    const at = record.readUInt32BE(0) * 1000;
    // A filler, or of a clock that was ahead then: it must not push out what is of today.
    if (at === 0) return;
    const fingerprint = { high: record.readUInt32BE(4), low: record.readUInt32BE(8) };
    this.memory.restore(fingerprint, Math.min(at, this.clock()));
  }

  private async tidy(): Promise<void> {
    const slots = await this.slots();
    const present = this.slot();
    const old = slots.filter((slot) => slot <= present - SLOTS);
    for (const slot of old) await this.dir.remove(String(slot));
    const kept = slots.filter((slot) => !old.includes(slot));
    const sizes = await Promise.all(kept.map((slot) => this.dir.size(String(slot))));
    let total = sizes.reduce((sum, size) => sum + size, 0);
    for (const [index, slot] of kept.slice(0, -1).entries()) {
      if (total <= MAX_BYTES) return;
      await this.dir.empty(String(slot));
      total -= sizes[index] ?? 0;
    }
  }

  /** The oldest first. */
  private async slots(): Promise<number[]> {
    const names = await this.dir.names();
    return names
      .filter((name) => /^\d{1,12}$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  private slot(): number {
    return Math.floor(this.clock() / SLOT_MS);
  }

  /** A relay that cannot write goes on: after a restart tickets of the last two minutes could open once more. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    this.work = this.work.then(work).catch((error: unknown) => {
      if (!(error instanceof WstunError)) throw error;
      if (error.message !== this.told) this.logger.warn({ code: error.code }, error.message);
      this.told = error.message;
    });
    await this.work;
  }
}
