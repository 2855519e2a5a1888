/**
 * Records that the peer has not acknowledged: kept in order, and sent again where a link was lost or is late
 * (docs/protocol.md §10). While it is full, none is sent. Pure.
 */
import type { Placement } from '../../protocol/record-header.ts';
import { RECORD_OVERHEAD_BYTES, type RetransmitMemory, RetransmitStore, type Stored } from './retransmit-store.ts';

/** What one message carries: a whole record, or a piece of one. */
export interface RecordPart {
  readonly record: KeptRecord;
  /** In the frames of the record, bytes. */
  readonly offset: number;
  readonly length: number;
  isAcked: boolean;
  /** Links that have it in flight, and are not stalled. */
  copies: number;
  /** Waits to be sent again. */
  isQueued: boolean;
}

/** One numbered record. It is its own only part until it is cut. */
export class KeptRecord implements RecordPart {
  readonly offset = 0;
  isAcked = false;
  copies = 0;
  isQueued = false;
  /** Once it is cut. */
  pieces: readonly RecordPart[] | undefined;

  /**
   * @param stored frames, without a record header
   * @param placement undefined: it follows all before it
   * @param isUrgent someone waits for it, and it can be handled before all that is not urgent
   */
  constructor(
    readonly number: number,
    readonly stored: Stored,
    readonly length: number,
    readonly placement: Placement | undefined,
    readonly isUrgent: boolean,
  ) {}

  get record(): KeptRecord {
    return this;
  }
}

/** Of what is to be sent again. */
function lastFirst(a: RecordPart, b: RecordPart): number {
  const urgency = Number(a.record.isUrgent) - Number(b.record.isUrgent);
  return urgency || b.record.number - a.record.number || b.offset - a.offset;
}

/** Removed entries at the front of the list before it is cut: so the cost of each record is constant. */
const COMPACT_AT = 1024;

export class KeptRecords {
  private readonly store: RetransmitStore;
  private records: KeptRecord[] = [];
  private first = 0;
  /** Number of the record at `first`: the lowest that is not acknowledged. */
  private firstNumber = 1;
  private queue: RecordPart[] = [];
  private isSorted = true;
  /**
   * Of all records from the lowest that is not acknowledged on. Those acknowledged out of order count too: the peer
   * may have to hold them until that one has come.
   */
  bytes = 0;

  constructor(memory: RetransmitMemory) {
    this.store = new RetransmitStore(memory);
  }

  get lastNumber(): number {
    return this.firstNumber + this.count - 1;
  }

  /** Of those that are kept. */
  get newest(): KeptRecord | undefined {
    return this.records.at(-1);
  }

  /** All up to here are acknowledged. */
  get ackedUpTo(): number {
    return this.firstNumber - 1;
  }

  /** From the lowest that is not acknowledged on, whether acknowledged or not. */
  get count(): number {
    return this.records.length - this.first;
  }

  /** Keeps the next record. */
  push(pieces: readonly Uint8Array[], length: number, placement: Placement | undefined, isUrgent = false): KeptRecord {
    const stored = this.store.put(pieces, length);
    const record = new KeptRecord(this.lastNumber + 1, stored, length, placement, isUrgent);
    this.records.push(record);
    this.bytes += length + RECORD_OVERHEAD_BYTES;
    return record;
  }

  /** Whether all that it follows has been handled, or is urgent. One acknowledged out of order may wait for bulk. */
  followsNoBulk({ floor, followed }: Placement): boolean {
    const isFree = (number: number) =>
      number <= this.ackedUpTo || this.records[this.first + number - this.firstNumber]?.isUrgent === true;
    return floor <= this.ackedUpTo && followed.every(isFree);
  }

  // ── to be sent again ───────────────────────────────────────────────────────────────────────────────────────────────

  /** What is to be sent again first: the lowest part of an urgent record, else of any. */
  get waiting(): RecordPart | undefined {
    if (!this.isSorted) this.queue.sort(lastFirst);
    this.isSorted = true;
    for (let part = this.queue.at(-1); part !== undefined; part = this.queue.at(-1)) {
      if (!part.isAcked && !part.record.isAcked) return part;
      this.unqueue(part);
    }
    return undefined;
  }

  /** It is sent again now. */
  unqueue(part: RecordPart): void {
    if (!part.isQueued) return;
    part.isQueued = false;
    if (this.queue.at(-1) === part) this.queue.pop();
    else this.queue.splice(this.queue.indexOf(part), 1);
  }

  /** It is to be sent again: in pieces where it was cut meanwhile. */
  requeue(part: RecordPart): void {
    if (part.isAcked || part.record.isAcked || part.isQueued) return;
    const { pieces } = part.record;
    if (part === part.record && pieces !== undefined) {
      for (const piece of pieces) this.requeue(piece);
      return;
    }
    part.isQueued = true;
    this.isSorted &&= this.queue.length === 0;
    this.queue.push(part);
  }

  /** Cuts the waiting part, so that no message carries more than `maxBytes`. */
  cutWaiting(maxBytes: number): void {
    const part = this.waiting;
    if (part === undefined || part.length <= maxBytes || part.record.pieces !== undefined) return;
    this.unqueue(part);
    const pieces: RecordPart[] = [];
    for (let offset = 0; offset < part.length; offset += maxBytes) {
      const length = Math.min(maxBytes, part.length - offset);
      pieces.push({ record: part.record, offset, length, isAcked: false, copies: 0, isQueued: false });
    }
    part.record.pieces = pieces;
    for (const piece of pieces) this.requeue(piece);
  }

  // ── acknowledged ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** The peer has this part. */
  acknowledge(part: RecordPart): void {
    if (part.isAcked || part.record.isAcked) return;
    part.isAcked = true;
    const { record } = part;
    if (part !== record && !record.pieces?.every(({ isAcked }) => isAcked)) return;
    record.isAcked = true;
    this.store.drop(record.stored, record.length);
    this.dropAcked();
  }

  private dropAcked(): void {
    for (let record = this.records[this.first]; record?.isAcked; record = this.records[this.first]) {
      this.bytes -= record.length + RECORD_OVERHEAD_BYTES;
      this.first += 1;
      this.firstNumber += 1;
    }
    if (this.first < this.records.length && this.first < COMPACT_AT) return;
    // A new list where it is empty: one that has grown costs an idle session 150 bytes.
    this.records = this.first < this.records.length ? this.records.slice(this.first) : [];
    this.first = 0;
  }

  /** Whether a link can go on after so many. A request that comes late says too few. */
  fits(received: number): boolean {
    return received >= this.ackedUpTo && received <= this.lastNumber;
  }

  /** The peer has all up to `received`. False, and nothing changes, where that cannot be. */
  acknowledgeUpTo(received: number): boolean {
    if (!this.fits(received)) return false;
    for (const record of this.records.slice(this.first, this.first + received - this.ackedUpTo))
      this.acknowledge(record);
    return true;
  }

  /** No link has anything in flight any more. */
  requeueAll(): void {
    for (const { record, pieces } of this.records.slice(this.first))
      for (const part of pieces ?? [record]) {
        part.copies = 0;
        this.requeue(part);
      }
  }

  clear(): void {
    this.acknowledgeUpTo(this.lastNumber);
    this.queue = [];
  }
}
