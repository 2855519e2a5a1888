/**
 * Says when the process holds as much memory as it may: then it takes no new sessions and streams, while those that
 * live go on. Looks at what the kernel counts, because that is what the process would be killed for.
 */
import { totalmem } from 'node:os';

/** Of what the machine has, or the container. The rest is for the system, and for what live streams still take. */
const DEFAULT_SHARE = 0.7;
/** A look costs some 10 µs; between two of them, what new sessions take is little. */
const LOOK_MS = 50;

export class MemoryGuard {
  private readonly limit: number;
  private readonly measure: () => number;
  private over = false;
  private lookedAt = Number.NEGATIVE_INFINITY;

  /** @param limit bytes */
  constructor(limit = defaultLimit(), measure: () => number = process.memoryUsage.rss) {
    this.limit = limit;
    this.measure = measure;
  }

  /** @param now of any monotonic clock, ms */
  isOver(now = performance.now()): boolean {
    if (now - this.lookedAt < LOOK_MS) return this.over;
    this.lookedAt = now;
    try {
      this.over = this.measure() > this.limit;
    } catch {
      // It reads a file of /proc, which fails when no descriptor is left: that is descriptor-guard.ts's to tell.
    }
    return this.over;
  }
}

/** A container without a limit says 0, or more than the machine has. */
function defaultLimit(): number {
  const constrained = process.constrainedMemory();
  const total = totalmem();
  return DEFAULT_SHARE * (constrained > 0 && constrained < total ? constrained : total);
}
