/** Unacknowledged records, in order, for the next link (docs/protocol.md §10). While it is full, none is sent. Pure. */
import type { SentStamp } from './congestion/congestion-controller.ts';
import { RECORD_OVERHEAD_BYTES, type RetransmitMemory, RetransmitStore, type Stored } from './retransmit-store.ts';

export interface SentRecord {
  /** Frames, without a record header. */
  readonly stored: Stored;
  readonly bytes: number;
  /** Undefined until it has gone out on the current link. */
  stamp: SentStamp | undefined;
}

export interface Acknowledged {
  readonly records: number;
  readonly bytes: number;
  /** Of the newest of them. */
  readonly newest: SentStamp | undefined;
}

/** Removed entries at the front of the list before it is cut: so the cost of each record is constant. */
const COMPACT_AT = 1024;

export class RetransmitBuffer {
  private readonly store: RetransmitStore;
  private records: SentRecord[] = [];
  private first = 0;
  /** Index of the next record to go out on the current link. */
  private next = 0;
  /** Number of the record at `first`. */
  private firstNumber = 1;
  bytes = 0;

  constructor(memory: RetransmitMemory) {
    this.store = new RetransmitStore(memory);
  }

  get lastNumber(): number {
    return this.firstNumber + (this.records.length - this.first) - 1;
  }

  /** Keeps a record that goes out on the current link now; none may wait for retransmission. */
  push(pieces: readonly Uint8Array[], bytes: number, stamp: SentStamp): void {
    this.records.push({ stored: this.store.put(pieces, bytes), bytes, stamp });
    this.next = this.records.length;
    this.bytes += bytes + RECORD_OVERHEAD_BYTES;
  }

  /** The next record to retransmit, if any is left; `markSent` takes it. */
  get waiting(): SentRecord | undefined {
    return this.records[this.next];
  }

  markSent(stamp: SentStamp): void {
    const record = this.records[this.next];
    if (record === undefined) return;
    record.stamp = stamp;
    this.next += 1;
  }

  /** The peer has all records up to `number`; undefined where that is more than the current link has carried. */
  acknowledge(number: number): Acknowledged | undefined {
    return number < this.firstNumber + this.next - this.first ? this.drop(number) : undefined;
  }

  fits(received: number): boolean {
    return received >= this.firstNumber - 1 && received <= this.lastNumber;
  }

  /** A new link, whose peer has `received` records: all later ones are retransmitted. False if some are gone. */
  resumeAfter(received: number): boolean {
    if (!this.fits(received)) return false;
    this.drop(received);
    this.next = this.first;
    for (const record of this.records.slice(this.first)) record.stamp = undefined;
    return true;
  }

  private drop(upTo: number): Acknowledged {
    const before = this.firstNumber;
    let bytes = 0;
    let newest: SentStamp | undefined;
    for (; this.firstNumber <= upTo; this.firstNumber++) {
      const record = this.records[this.first];
      if (record === undefined) break;
      this.bytes -= record.bytes + RECORD_OVERHEAD_BYTES;
      this.store.drop(record.stored, record.bytes);
      bytes += record.bytes;
      newest = record.stamp;
      this.first += 1;
    }
    this.compact();
    return { records: this.firstNumber - before, bytes, newest };
  }

  clear(): void {
    this.drop(this.lastNumber);
    this.next = this.first;
  }

  private compact(): void {
    if (this.first < this.records.length && this.first < COMPACT_AT) return;
    this.records.splice(0, this.first);
    this.next -= this.first;
    this.first = 0;
  }
}
