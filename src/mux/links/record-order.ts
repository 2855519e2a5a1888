/**
 * What a record must follow, while more than one link carries the session (docs/protocol.md §3.1): the newest records
 * with frames of its streams, so that a record that is late holds back no other stream. Pure.
 */
import type { Placement } from '../../protocol/record-header.ts';

/** What the frames of a record are about: ids of streams, and these. */
export const ALL_OPENS = -1;
export const WHOLE_SESSION = -2;
/** The newest number counts, so it must not come before an older one. */
export const ALL_LINKS = -3;
/** The same of relays that are told. */
export const ALL_RELAYS = -4;

/** A quiet stream's record of at most so many bytes may be a keystroke: it must follow no bulk. */
export const LITTLE_BYTES = 2 * 1024;

/** More than these would only make the header longer: the record then follows all up to the highest of the rest. */
const MAX_FOLLOWED = 32;

/** The list of streams is searched for old entries when it has grown by so many. */
const PRUNE_EVERY = 256;

export class RecordOrder {
  /** By stream: the newest record with a frame of it. */
  private readonly newest = new Map<number, number>();
  private pruneAt = PRUNE_EVERY;

  /** @param base the newest record so far: later ones may not come before it */
  constructor(private readonly base: number) {}

  /**
   * @param topics of the frames of the record: streams, ALL_OPENS, WHOLE_SESSION
   * @param ackedUpTo the peer has all records up to this number
   */
  place(number: number, topics: ReadonlySet<number>, ackedUpTo: number): Placement {
    const floor = topics.has(WHOLE_SESSION) ? number - 1 : Math.max(this.base, ackedUpTo);
    const before = new Set<number>();
    for (const topic of topics) {
      const newest = this.newest.get(topic) ?? 0;
      if (newest > floor) before.add(newest);
      this.newest.set(topic, number);
    }
    if (this.newest.size > this.pruneAt) this.prune(ackedUpTo);
    const followed = [...before].sort((a, b) => b - a);
    return { number, floor: followed[MAX_FOLLOWED] ?? floor, followed: followed.slice(0, MAX_FOLLOWED) };
  }

  private prune(ackedUpTo: number): void {
    for (const [topic, number] of this.newest) if (number <= ackedUpTo) this.newest.delete(topic);
    this.pruneAt = this.newest.size + PRUNE_EVERY;
  }
}
