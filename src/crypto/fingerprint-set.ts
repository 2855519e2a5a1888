/**
 * A set of 64-bit numbers that only grows, in typed arrays: 8 bytes a place, at most three quarters of the places
 * taken. Pure.
 *
 * Open addressing with linear probing. Where a table is full, one of twice its size comes beside it, and nothing is
 * moved: no entry ever waits for a rehash. Places are chosen with numbers that this process has drawn, so that nobody
 * outside can aim at one.
 */
import { randomBytes } from 'node:crypto';

const FIRST_PLACES = 1_024;
const MAX_LOAD = 0.75;
const SEED = randomBytes(8);
const [SEED_HIGH, SEED_LOW] = [SEED.readUInt32LE(0), SEED.readUInt32LE(4)];

/** Two halves of 32 bits. */
export interface Fingerprint {
  readonly high: number;
  readonly low: number;
}

export class FingerprintSet {
  /** The largest, which is the one that is filled, last. Each place: high, low; both 0 where it is free. */
  private readonly tables: Uint32Array[] = [];
  private count = 0;
  /** Places of the last table that may still be taken. */
  private room = 0;

  get size(): number {
    return this.count;
  }

  has(fingerprint: Fingerprint): boolean {
    const { high, low } = nonZero(fingerprint);
    return this.tables.some((table) => {
      const place = placeOf(table, high, low) * 2;
      return table[place] === high && table[place + 1] === low;
    });
  }

  /** Of one that is there already, nothing. */
  add(fingerprint: Fingerprint): void {
    if (this.has(fingerprint)) return;
    if (this.room === 0) this.grow();
    const { high, low } = nonZero(fingerprint);
    const table = this.tables.at(-1);
    if (table === undefined) return;
    const place = placeOf(table, high, low) * 2;
    table[place] = high;
    table[place + 1] = low;
    this.count += 1;
    this.room -= 1;
  }

  private grow(): void {
    const places = FIRST_PLACES * 2 ** this.tables.length;
    this.tables.push(new Uint32Array(places * 2));
    this.room = Math.floor(places * MAX_LOAD);
  }
}

/** Where that number is, or else the free place where it would be: there always is one. */
function placeOf(table: Uint32Array, high: number, low: number): number {
  const mask = table.length / 2 - 1;
  let place = mixed(high, low) & mask;
  for (;;) {
    const first = table[place * 2];
    const second = table[place * 2 + 1];
    if ((first === high && second === low) || (first === 0 && second === 0)) return place;
    place = (place + 1) & mask;
  }
}

/** MurmurHash3's mixer over both halves. */
function mixed(high: number, low: number): number {
  let hash = Math.imul(high ^ SEED_HIGH, 0xcc9e2d51) ^ Math.imul(low ^ SEED_LOW, 0x1b873593);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Zeros mean a free place. */
function nonZero(fingerprint: Fingerprint): Fingerprint {
  return fingerprint.high === 0 && fingerprint.low === 0 ? { high: 0, low: 1 } : fingerprint;
}
