/**
 * Datagrams of one association that wait to be sent (docs/protocol.md §7.1): the oldest are dropped, so that none is
 * delivered late. Takes turns with those of other associations. Pure.
 */
import { type Piece, release } from '../memory/pieces.ts';
import type { Target } from '../protocol/target.ts';
import { Codel } from './codel.ts';

/** One that has waited so long, ms, is of no use to a call or a game, and its sender has sent it again. */
const LONGEST_WAIT_MS = 250;

/** What of that may be for the way, ms, where only a lower bound of its rate is known. */
const LONGEST_WAY_MS = 150;

/** Of one association, bytes: a full window of a transfer at 20 Mbit/s and 100 ms. One datagram always fits. */
const MAX_QUEUED_BYTES = 256 * 1024;

/** What an entry costs in memory beside that, bytes, measured: a million tiny ones would be a gigabyte. */
const ENTRY_BYTES = 900;

/** Of all associations of a session, bytes with those of entries: a hundred in use, on a link that has just stopped. */
const MAX_QUEUED_OF_ALL_BYTES = 8 * 1024 * 1024;

/**
 * No more waits than a path that is known carries in so many ms: a transfer inside a VPN keeps the path busy with it,
 * and what goes beside the transfer waits no longer. CoDel alone is slow to end the start of a transfer.
 */
const FULL_QUEUE_MS = 25;
/** On slow paths, and before the path was full, at least, bytes: a burst of a call, the start of a transfer. */
const FULL_QUEUE_BYTES = 32 * 1024;

/** What the path may carry beyond what it has carried so far, before it was ever full. */
const STARTUP_GAIN = 2.5;

/** What a datagram costs beside its content, bytes, about: a frame, an address, and its entry here. */
const OVERHEAD_BYTES = 64;

/** Removed entries at the front of the list before it is cut. */
const COMPACT_AT = 256;

/** Bytes a millisecond. */
export interface PathRate {
  /** What the path has carried at least; 0 while nothing is known. */
  readonly leastPerMs: number;
  /** What it carries when it is full; undefined until it was. */
  readonly steadyPerMs: number | undefined;
}

export interface QueuedDatagram {
  /** Undefined where the association is connected. */
  readonly address: Target | undefined;
  readonly content: Piece;
  /** Since when it waits. */
  readonly at: number;
}

/** What all queues of a session hold. */
export interface QueuedOfAll {
  bytes: number;
}

export class DatagramQueue {
  bytes = 0;
  /** For the scheduler. */
  scheduled = false;
  deficit = 0;
  round = 0;
  /** Datagrams may be sent: the peer knows the association, or will have heard of it by then. */
  isReady = false;
  private queued: QueuedDatagram[] = [];
  private first = 0;
  private readonly codel = new Codel();

  constructor(
    readonly stream: number,
    private readonly all: QueuedOfAll = { bytes: 0 },
  ) {}

  get isEmpty(): boolean {
    return this.first === this.queued.length;
  }

  get sendable(): boolean {
    return this.isReady && !this.isEmpty;
  }

  push(datagram: QueuedDatagram): void {
    this.queued.push(datagram);
    this.count(1, sizeOf(datagram));
    while (this.isTooLong && this.queued.length - this.first > 1) this.drop();
  }

  /** What is sent next; call `take` or `trim` next. */
  get next(): QueuedDatagram | undefined {
    return this.queued[this.first];
  }

  take(): void {
    const next = this.queued[this.first];
    if (next === undefined) return;
    this.count(-1, -sizeOf(next));
    this.first += 1;
    if (this.first < this.queued.length && this.first < COMPACT_AT) return;
    this.queued = this.first < this.queued.length ? this.queued.slice(this.first) : [];
    this.first = 0;
  }

  private get isTooLong(): boolean {
    return this.bytes > MAX_QUEUED_BYTES || this.all.bytes > MAX_QUEUED_OF_ALL_BYTES;
  }

  private count(entries: number, bytes: number): void {
    this.bytes += bytes;
    this.all.bytes += bytes + entries * ENTRY_BYTES;
  }

  private drop(): void {
    const next = this.queued[this.first];
    if (next !== undefined) release(next.content);
    this.take();
  }

  /**
   * Drops what has waited too long, and what would have by the time that the path has carried what is before it.
   * @param rate of the path
   */
  trim(now: number, { leastPerMs, steadyPerMs }: PathRate): void {
    for (let next = this.next; next !== undefined; next = this.next) {
      const waitedMs = now - next.at;
      const onTheWayMs = Math.min(LONGEST_WAY_MS, leastPerMs > 0 ? next.content.length / leastPerMs : 0);
      const isLate = waitedMs + onTheWayMs > LONGEST_WAIT_MS;
      if (!isLate && !this.codel.mustDrop(waitedMs, this.bytes, leastPerMs, now)) break;
      this.drop();
    }
    const fullPerMs = steadyPerMs ?? STARTUP_GAIN * leastPerMs;
    const fullBytes = Math.max(FULL_QUEUE_BYTES, FULL_QUEUE_MS * fullPerMs);
    while (this.bytes > fullBytes && this.queued.length - this.first > 1) this.drop();
    if (steadyPerMs === undefined || steadyPerMs <= 0) return;
    for (let excess = this.excess(now, steadyPerMs); excess > 0; excess -= 1) this.drop();
  }

  /** How many of the oldest keep a later one from arriving in time. The newest is never one of them. */
  private excess(now: number, bytesPerMs: number): number {
    const oldest = this.next;
    if (oldest === undefined || now - oldest.at + this.bytes / bytesPerMs <= LONGEST_WAIT_MS) return 0;
    let excess = 0;
    let beforeBytes = 0;
    for (let index = this.first; index < this.queued.length; index++) {
      const datagram = this.queued[index];
      if (datagram === undefined) break;
      beforeBytes += sizeOf(datagram);
      const spareBytes = (LONGEST_WAIT_MS - (now - datagram.at)) * bytesPerMs;
      // Of those before it, the oldest go until what is left fits.
      while (beforeBytes > spareBytes && this.first + excess < index) {
        const dropped = this.queued[this.first + excess];
        if (dropped !== undefined) beforeBytes -= sizeOf(dropped);
        excess += 1;
      }
    }
    return excess;
  }

  clear(): void {
    while (!this.isEmpty) this.drop();
  }
}

function sizeOf({ content }: QueuedDatagram): number {
  return content.length + OVERHEAD_BYTES;
}
