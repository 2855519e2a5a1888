/** Records that came before others which they may follow (docs/protocol.md §3.1): which wait, and for what. Pure. */
import { type Piece, releaseAll } from '../../memory/pieces.ts';
import { copiedIfSmall } from '../../memory/small-pieces.ts';
import type { PieceRange, Placement } from '../../protocol/record-header.ts';
import { RecordAssembly } from './record-assembly.ts';
import { RECORD_OVERHEAD_BYTES, type RetransmitMemory } from './retransmit-store.ts';

/** In a list, each. */
const BYTES_OF_FOLLOWED = 8;
/** So many are within what each record is counted for. */
const USUAL_FOLLOWED = 32;

interface Held {
  readonly placement: Placement;
  readonly frames: readonly Piece[];
  /** Counted for it, bytes. */
  readonly cost: number;
  /** So many of those that it follows were handled: they need not be looked at again. */
  passed: number;
}

export class OutOfOrder {
  /** All up to this number were received. */
  receivedUpTo: number;
  /** All up to this number were handled. */
  private handledUpTo: number;
  /** Handled, and above that. */
  private readonly handled = new Set<number>();
  private readonly held = new Map<number, Held>();
  /** By the number that a record waits for: that record, or all records up to it. */
  private readonly waitingForOne = new Map<number, number[]>();
  private readonly waitingForAll = new Map<number, number[]>();
  private ready: number[] = [];
  private readonly assemblies = new Map<number, RecordAssembly>();
  /** Of records that wait, and of those that are not complete. */
  heldBytes = 0;

  /** @param upTo all up to this number were received and handled */
  constructor(
    upTo: number,
    private readonly memory: RetransmitMemory,
  ) {
    this.receivedUpTo = upTo;
    this.handledUpTo = upTo;
  }

  get isEmpty(): boolean {
    return this.handled.size === 0 && this.held.size === 0 && this.assemblies.size === 0;
  }

  has(number: number): boolean {
    return number <= this.receivedUpTo || this.handled.has(number) || this.held.has(number);
  }

  isBlocked(placement: Placement): boolean {
    return placement.floor > this.handledUpTo || !placement.followed.every((number) => this.isHandled(number));
  }

  private isHandled(number: number): boolean {
    return number <= this.handledUpTo || this.handled.has(number);
  }

  // ── received ───────────────────────────────────────────────────────────────────────────────────────────────────────

  hold(placement: Placement, frames: readonly Piece[], bytes: number): void {
    this.dropAssembly(placement.number);
    const cost = bytes + costOf(placement);
    const held = { placement, frames: frames.map(copiedIfSmall), cost, passed: 0 };
    this.held.set(placement.number, held);
    this.count(cost);
    this.advanceReceived();
    this.wait(held);
  }

  /** Its frames are handled now, before anything else is called. */
  markHandled(number: number): void {
    this.dropAssembly(number);
    this.handled.add(number);
    this.advanceReceived();
    this.wake(this.waitingForOne, number);
    while (this.handled.delete(this.handledUpTo + 1)) {
      this.handledUpTo += 1;
      this.wake(this.waitingForAll, this.handledUpTo);
    }
  }

  private advanceReceived(): void {
    this.receivedUpTo = Math.max(this.receivedUpTo, this.handledUpTo);
    while (this.has(this.receivedUpTo + 1)) this.receivedUpTo += 1;
  }

  private wait(held: Held): void {
    const { number, floor, followed } = held.placement;
    if (floor > this.handledUpTo) return void listOf(this.waitingForAll, floor).push(number);
    let one = followed[held.passed];
    while (one !== undefined && this.isHandled(one)) {
      held.passed += 1;
      one = followed[held.passed];
    }
    if (one !== undefined) listOf(this.waitingForOne, one).push(number);
    else this.ready.push(number);
  }

  private wake(waiting: Map<number, number[]>, number: number): void {
    const woken = waiting.get(number);
    if (woken === undefined) return;
    waiting.delete(number);
    for (const other of woken) {
      const held = this.held.get(other);
      if (held !== undefined) this.wait(held);
    }
  }

  /** The frames of the next record that waits for nothing any more. It counts as handled. */
  next(): readonly Piece[] | undefined {
    const number = this.ready.shift();
    const held = number === undefined ? undefined : this.held.get(number);
    if (number === undefined || held === undefined) return undefined;
    this.held.delete(number);
    this.count(-held.cost);
    this.markHandled(number);
    return held.frames;
  }

  // ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Of a record that comes in pieces: bytes that are held for it already. */
  bytesOf(number: number): number | undefined {
    return this.assemblies.get(number)?.bytes.length;
  }

  /** Only reads the frames. */
  addPiece(number: number, range: PieceRange, frames: readonly Uint8Array[]): 'ready' | 'held' | 'bad-record' {
    let assembly = this.assemblies.get(number);
    if (assembly === undefined) {
      assembly = new RecordAssembly(range.total);
      this.assemblies.set(number, assembly);
      this.count(range.total + RECORD_OVERHEAD_BYTES);
    }
    if (!assembly.add(range, frames)) return 'bad-record';
    return assembly.isComplete ? 'ready' : 'held';
  }

  /** Held until the record is, or is handled. */
  assembled(number: number): Piece | undefined {
    return this.assemblies.get(number)?.bytes;
  }

  private dropAssembly(number: number): void {
    const assembly = this.assemblies.get(number);
    if (assembly === undefined) return;
    this.assemblies.delete(number);
    this.count(-assembly.bytes.length - RECORD_OVERHEAD_BYTES);
  }

  // ── memory ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private count(bytes: number): void {
    this.heldBytes += bytes;
    this.memory.used += bytes;
  }

  /** The session is over. */
  clear(): void {
    for (const { frames } of this.held.values()) releaseAll(frames);
    this.held.clear();
    this.assemblies.clear();
    this.ready = [];
    this.count(-this.heldBytes);
  }
}

/** Beside its bytes. A list of what it follows that no sender of ours makes costs more. */
function costOf({ followed }: Placement): number {
  return RECORD_OVERHEAD_BYTES + BYTES_OF_FOLLOWED * Math.max(0, followed.length - USUAL_FOLLOWED);
}

function listOf(lists: Map<number, number[]>, key: number): number[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}
