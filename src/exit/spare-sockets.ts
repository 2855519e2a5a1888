/**
 * Of one dial several addresses may be tried at once: its first socket comes with its place, the others are spare, and
 * bounded for each peer and in all. Without one a dial waits for its first address before it tries the next.
 */
import type { QueueLimits } from './dial-queue.ts';

/** One peer's. */
export interface Spares {
  /** False: there is none. */
  take(): boolean;
  giveBack(): void;
}

export class SpareSockets {
  private readonly limits: QueueLimits;
  /** By peer; without any, no entry. */
  private readonly taken = new Map<string, number>();
  private total = 0;

  /** As many as there are places. */
  constructor(limits: QueueLimits) {
    this.limits = limits;
  }

  of(peer: string): Spares {
    return {
      take: () => {
        const { pendingPerPeer, pendingTotal } = this.limits;
        const taken = this.taken.get(peer) ?? 0;
        if (taken >= pendingPerPeer || this.total >= pendingTotal) return false;
        this.taken.set(peer, taken + 1);
        this.total++;
        return true;
      },
      giveBack: () => {
        const left = (this.taken.get(peer) ?? 0) - 1;
        if (left > 0) this.taken.set(peer, left);
        else this.taken.delete(peer);
        this.total--;
      },
    };
  }
}
