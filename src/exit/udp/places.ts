/**
 * The places for associations: each has one or two sockets, so there are only so many of an access entry and in all.
 * When all are taken, the one that is idle for longest makes room. Pure, time is passed in.
 */

export interface PlaceLimits {
  /** Below the streams of a session, so that they leave room for TCP. */
  readonly perPeer: number;
  readonly total: number;
  /** One that is not idle for so long keeps its place, ms: what works is not ended. */
  readonly idleMs: number;
}

const DEFAULT_PLACE_LIMITS: PlaceLimits = { perPeer: 512, total: 4_096, idleMs: 3_000 };

export interface Occupant {
  /** When a datagram came or went, ms. */
  readonly activeAt: number;
  /** Its place is another's. */
  evict(): void;
}

export class Places {
  private readonly occupants = new Map<string, Set<Occupant>>();
  private taken = 0;

  constructor(private readonly limits: PlaceLimits = DEFAULT_PLACE_LIMITS) {}

  get size(): number {
    return this.taken;
  }

  /** False: there is no room. */
  enter(peer: string, occupant: Occupant, now: number): boolean {
    const { perPeer, total } = this.limits;
    if ((this.occupants.get(peer)?.size ?? 0) >= perPeer && !this.makeRoom(peer, now)) return false;
    if (this.taken >= total && !this.makeRoom(this.largest(), now)) return false;
    const own = this.occupants.get(peer) ?? new Set();
    this.occupants.set(peer, own.add(occupant));
    this.taken++;
    return true;
  }

  /** Idempotent. */
  leave(peer: string, occupant: Occupant): void {
    const own = this.occupants.get(peer);
    if (own?.delete(occupant) !== true) return;
    this.taken--;
    if (own.size === 0) this.occupants.delete(peer);
  }

  private makeRoom(peer: string, now: number): boolean {
    let oldest: Occupant | undefined;
    for (const each of this.occupants.get(peer) ?? []) {
      if (oldest === undefined || each.activeAt < oldest.activeAt) oldest = each;
    }
    if (oldest === undefined || now - oldest.activeAt < this.limits.idleMs) return false;
    this.leave(peer, oldest);
    oldest.evict();
    return true;
  }

  private largest(): string {
    let [found, most] = ['', 0];
    for (const [peer, { size }] of this.occupants) if (size > most) [found, most] = [peer, size];
    return found;
  }
}
