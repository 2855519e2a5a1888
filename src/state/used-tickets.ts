/**
 * `used-tickets/` in a relay's state directory: the fingerprints of tickets used in the last 26 hours, so that none
 * opens again after a restart. No secrets: eight random bytes of each ticket, and when it was used. Each two hours have
 * a file, which is only appended to. Several processes may do so, as while one relay takes over from another: each
 * reads what the others append. A crash loses the tickets of the last 50 ms.
 */
import { type Clock, systemClock, type Timer } from '../clock.ts';
import type { ReplayGuard } from '../crypto/replay-guard.ts';
import { WstunError } from '../errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { StateDir } from './state-dir.ts';

const NAME = 'used-tickets';
const SLOT_MS = 2 * 3_600_000;
/** The current one and those of the 26 hours before it. */
const SLOTS = 14;
/** Seconds since 1970 (4 bytes), fingerprint (8 bytes), big-endian. */
const RECORD_BYTES = 12;
/** What a crash may lose. */
const WRITE_MS = 50;
/** How often the files are checked for what others have appended. */
const CHECK_MS = 500;
/** All files: beyond, the oldest are emptied. As many tickets as the replay guard has room for. */
const MAX_BYTES = 24 * 1024 * 1024;
/** The newest, read at the start: a second of work, and as many as the replay guard keeps of the past. */
const MAX_RESTORED_BYTES = 1_048_576 * RECORD_BYTES;
/** Read at once. */
const CHUNK_BYTES = RECORD_BYTES * 65_536;

/** A file that cannot be used is logged once. @throws WstunError state-unusable, for the state directory itself */
export async function openUsedTickets(
  state: StateDir,
  replays: ReplayGuard,
  logger: Logger,
  clock: Clock = systemClock,
): Promise<UsedTickets> {
  const used = new UsedTickets(await state.subdirectory(NAME), replays, logger, clock);
  await used.start();
  return used;
}

export class UsedTickets {
  /** Not written yet. */
  private records: Buffer[] = [];
  /** Slot to how much of its file has been read. */
  private readonly read = new Map<number, number>();
  private nextWrite: Timer | undefined;
  private nextCheck: Timer | undefined;
  /** One after the other. */
  private work = Promise.resolve();
  private loggedFault = '';

  /** Only `openUsedTickets` makes one. */
  constructor(
    private readonly dir: StateDir,
    private readonly replays: ReplayGuard,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  async start(): Promise<void> {
    await this.attempt(() => this.load());
    this.replays.onRemembered = ({ high, low }, now) => this.store(high, low, now);
    this.checkLater();
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    this.clock.clearTimeout(this.nextCheck);
    this.clock.clearTimeout(this.nextWrite);
    await this.attempt(() => this.write());
  }

  private checkLater(): void {
    this.nextCheck = this.clock.setTimeout(() => {
      this.checkLater();
      void this.attempt(() => this.check());
    }, CHECK_MS);
    this.nextCheck.unref();
  }

  private store(high: number, low: number, now: number): void {
    const record = Buffer.alloc(RECORD_BYTES);
    record.writeUInt32BE(Math.floor(now / 1000) >>> 0, 0);
    record.writeUInt32BE(high, 4);
    record.writeUInt32BE(low, 8);
    this.records.push(record);
    if (this.nextWrite !== undefined) return;
    this.nextWrite = this.clock.setTimeout(() => void this.attempt(() => this.write()), WRITE_MS).unref();
  }

  private async write(): Promise<void> {
    this.nextWrite = undefined;
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
      this.replays.forgetBefore(this.clock.wallTime());
      throw error;
    }
  }

  /** Reads what others have appended, and what this process has, which does no harm. */
  private async check(): Promise<void> {
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
      const skipped = Math.min(Math.max(0, excess), size);
      excess -= skipped;
      // An empty file was emptied to make room.
      if (size === 0 || skipped > 0) this.replays.forgetBefore(Math.min((slot + 1) * SLOT_MS, this.clock.wallTime()));
      this.read.set(slot, Math.ceil(skipped / RECORD_BYTES) * RECORD_BYTES);
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
    // 0 is a filler. A time in the future is of a clock that was ahead: it must not displace tickets of today.
    if (at === 0) return;
    const fingerprint = { high: record.readUInt32BE(4), low: record.readUInt32BE(8) };
    this.replays.restore(fingerprint, Math.min(at, this.clock.wallTime()));
  }

  private async tidy(): Promise<void> {
    const slots = await this.slots();
    const current = this.slot();
    const old = slots.filter((slot) => slot <= current - SLOTS);
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
    return Math.floor(this.clock.wallTime() / SLOT_MS);
  }

  /** A relay that cannot write continues: after a restart, tickets of the last two minutes could open once more. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    this.work = this.work.then(work).catch((error: unknown) => {
      if (!(error instanceof WstunError)) throw error;
      if (error.message !== this.loggedFault) this.logger.warn({ code: error.code }, error.message);
      this.loggedFault = error.message;
    });
    await this.work;
  }
}
