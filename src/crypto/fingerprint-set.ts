/**
 * A set of 64-bit numbers that only grows, in typed arrays: 8 bytes per slot, at most three quarters of the slots used.
 * Pure. Open addressing with linear probing. If a table is full, one of twice its size is added and nothing is moved:
 * no entry ever waits for a rehash. Hashes are seeded with random numbers of this process, so that no one outside can
 * choose a slot.
 */
import { randomBytes } from 'node:crypto';

const FIRST_SLOTS = 1_024;
const MAX_LOAD = 0.75;
const SEED = randomBytes(8);
const [SEED_HIGH, SEED_LOW] = [SEED.readUInt32LE(0), SEED.readUInt32LE(4)];

/** Two halves of 32 bits. */
export interface Fingerprint {
  readonly high: number;
  readonly low: number;
}

export class FingerprintSet {
  /** The largest, which is the one that is filled, last. Each slot: high, low; both 0 if it is free. */
  private readonly tables: Uint32Array[] = [];
  private count = 0;
  /** Slots of the last table that may still be used. */
  private room = 0;

  get size(): number {
    return this.count;
  }

  has(fingerprint: Fingerprint): boolean {
    const { high, low } = nonZero(fingerprint);
    return this.tables.some((table) => {
      const slot = slotOf(table, high, low) * 2;
      return table[slot] === high && table[slot + 1] === low;
    });
  }

  /** Has no effect if it is there already. */
  add(fingerprint: Fingerprint): void {
    if (this.has(fingerprint)) return;
    if (this.room === 0) this.grow();
    const { high, low } = nonZero(fingerprint);
    const table = this.tables.at(-1);
    if (table === undefined) return;
    const slot = slotOf(table, high, low) * 2;
    table[slot] = high;
    table[slot + 1] = low;
    this.count += 1;
    this.room -= 1;
  }

  private grow(): void {
    const slots = FIRST_SLOTS * 2 ** this.tables.length;
    this.tables.push(new Uint32Array(slots * 2));
    this.room = Math.floor(slots * MAX_LOAD);
  }
}

/** The slot of that number, or else the free slot where it would be: there always is one. */
function slotOf(table: Uint32Array, high: number, low: number): number {
  const mask = table.length / 2 - 1;
  let slot = mixed(high, low) & mask;
  for (;;) {
    const first = table[slot * 2];
    const second = table[slot * 2 + 1];
    if ((first === high && second === low) || (first === 0 && second === 0)) return slot;
    slot = (slot + 1) & mask;
  }
}

/** MurmurHash3's mixer over both halves. */
function mixed(high: number, low: number): number {
  let hash = Math.imul(high ^ SEED_HIGH, 0xcc9e2d51) ^ Math.imul(low ^ SEED_LOW, 0x1b873593);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Zeros mean a free slot. */
function nonZero(fingerprint: Fingerprint): Fingerprint {
  return fingerprint.high === 0 && fingerprint.low === 0 ? { high: 0, low: 1 } : fingerprint;
}
