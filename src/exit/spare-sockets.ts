/**
 * One dial may try several addresses at once: its first socket comes with its slot, each further one needs a spare.
 * Spares are bounded for each peer and in all. Without one, a dial waits for its first address before it tries the
 * next.
 */
import type { QueueLimits } from './dial-queue.ts';

/** One peer's. */
export interface Spares {
  /** False if there is none. */
  acquire(): boolean;
  release(): void;
}

export class SpareSockets {
  /** By peer; none if it has none. */
  private readonly taken = new Map<string, number>();
  private total = 0;

  /** As many as there are slots. */
  constructor(private readonly limits: QueueLimits) {}

  of(peer: string): Spares {
    return {
      acquire: () => {
        const { pendingPerPeer, pendingTotal } = this.limits;
        const taken = this.taken.get(peer) ?? 0;
        if (taken >= pendingPerPeer || this.total >= pendingTotal) return false;
        this.taken.set(peer, taken + 1);
        this.total++;
        return true;
      },
      release: () => {
        const left = (this.taken.get(peer) ?? 0) - 1;
        if (left > 0) this.taken.set(peer, left);
        else this.taken.delete(peer);
        this.total--;
      },
    };
  }
}
