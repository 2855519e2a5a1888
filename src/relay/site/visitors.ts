/**
 * The connections of a site's visitors: those on which a request without a valid ticket, or anything else, has come.
 * They may stay as long as the site allows. Only when there is no room for another one is the one closed on which
 * nothing has moved for longest, as nginx does with its connections. Counts and chooses; reads and writes nothing.
 */
import type { Clock, Timer } from '../../clock.ts';

/** A visitor's connection. */
export interface Visitor {
  /** Undefined: exempt from the limit by address. */
  readonly source: string | undefined;
  /** Something is under way, although nothing moves. */
  readonly isBusy: boolean;
  /** There is room: it may go on. Called once, before `enter` returns or later. */
  begin(): void;
  /** Another one needs the room. */
  drop(): void;
}

/** As pending connections (pending-sockets.ts): several round trips of a bad line. */
const IDLE_MS = 3_000;
const CHECK_MS = 100;
/** While there is no room, one source has at most this share of it. */
const SOURCE_SHARE = 1 / 4;

export class Visitors {
  /** The time of the last movement; the one that has not moved for longest first. */
  private readonly present = new Map<Visitor, number>();
  private readonly waiting = new Set<Visitor>();
  private readonly bySource = new Map<string, number>();
  private checks: Timer | undefined;

  constructor(
    private readonly room: number,
    private readonly clock: Clock,
  ) {}

  get size(): number {
    return this.present.size;
  }

  /** One more would be let in at once. */
  get hasRoom(): boolean {
    return this.present.size < this.room;
  }

  enter(visitor: Visitor): void {
    if (this.hasRoom || this.makeRoom(visitor)) return this.admit(visitor);
    // One more would only wait behind all others.
    if (this.waiting.size >= this.room) return visitor.drop();
    this.waiting.add(visitor);
    this.checks ??= this.clock.setTimeout(() => this.check(), CHECK_MS).unref();
  }

  /** Something has moved on it. No effect unless it is here. */
  touch(visitor: Visitor): void {
    if (this.present.delete(visitor)) this.present.set(visitor, this.clock.now());
  }

  /** It has ended, or become a link. No effect unless it is here. */
  leave(visitor: Visitor): void {
    if (this.waiting.delete(visitor) || !this.present.delete(visitor)) return;
    this.count(visitor.source, -1);
    this.admitWaiting();
  }

  dropAll(): void {
    this.clock.clearTimeout(this.checks);
    this.checks = undefined;
    const all = [...this.present.keys(), ...this.waiting];
    this.present.clear();
    this.waiting.clear();
    this.bySource.clear();
    for (const visitor of all) visitor.drop();
  }

  private check(): void {
    this.checks = undefined;
    this.admitWaiting();
    if (this.waiting.size > 0) this.checks = this.clock.setTimeout(() => this.check(), CHECK_MS).unref();
  }

  private admitWaiting(): void {
    // One that got no room for its source stands for all of them: a look at everyone present is not free.
    const refused = new Set<string>();
    for (const visitor of this.waiting) {
      const { source } = visitor;
      if (source !== undefined && refused.has(source)) continue;
      if (this.hasRoom || this.makeRoom(visitor)) {
        this.waiting.delete(visitor);
        this.admit(visitor);
      } else if (source === undefined || !this.isOverShare(source)) return;
      else refused.add(source);
    }
  }

  private admit(visitor: Visitor): void {
    this.present.set(visitor, this.clock.now());
    this.count(visitor.source, 1);
    visitor.begin();
  }

  /**
   * The one that has not moved for longest gives way; of a source with more than its share, a busy one, too. For one of
   * such a source only one of its own does.
   */
  private makeRoom({ source }: Visitor): boolean {
    const isGreedy = this.isOverShare(source);
    const now = this.clock.now();
    let last: Visitor | undefined;
    for (const [visitor, movedAt] of this.present) {
      if (isGreedy && visitor.source !== source) continue;
      if (!visitor.isBusy && now - movedAt >= IDLE_MS) return this.evict(visitor);
      if (!isGreedy && last === undefined && this.isOverShare(visitor.source)) last = visitor;
    }
    return last !== undefined && this.evict(last);
  }

  private evict(visitor: Visitor): true {
    this.present.delete(visitor);
    this.count(visitor.source, -1);
    visitor.drop();
    return true;
  }

  private isOverShare(source: string | undefined): boolean {
    return source !== undefined && (this.bySource.get(source) ?? 0) >= Math.max(1, this.room * SOURCE_SHARE);
  }

  private count(source: string | undefined, change: number): void {
    if (source === undefined) return;
    const count = (this.bySource.get(source) ?? 0) + change;
    if (count > 0) this.bySource.set(source, count);
    else this.bySource.delete(source);
  }
}
