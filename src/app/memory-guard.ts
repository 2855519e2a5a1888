/** Tells whether the process holds too much memory for new sessions and streams, as the kernel counts it. */
import { totalmem } from 'node:os';

/** Of the memory of the machine or container. The rest is for the system and for existing streams. */
const DEFAULT_SHARE = 0.7;
/** A measurement costs 10 µs. New sessions take little memory between two of them. */
const LOOK_MS = 50;

export class MemoryGuard {
  private over = false;
  private lookedAt = Number.NEGATIVE_INFINITY;

  private readonly limit: number;

  /** @param limit bytes, of all processes that serve together @param processes so many do */
  constructor(
    limit = defaultLimit(),
    private readonly measure: () => number = process.memoryUsage.rss,
    processes = 1,
  ) {
    this.limit = limit / processes;
  }

  /** @param now of any monotonic clock, ms */
  isOver(now = performance.now()): boolean {
    if (now - this.lookedAt < LOOK_MS) return this.over;
    this.lookedAt = now;
    try {
      this.over = this.measure() > this.limit;
    } catch {
      // It reads a file in /proc. That fails when no descriptor is left, which descriptor-guard.ts reports.
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
