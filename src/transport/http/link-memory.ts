/** How much all HTTP links of a relay may hold: beyond it each gets less, but never nothing. Pure. */
import { MIN_WINDOW_BYTES, WIDE_WINDOW_BYTES, WINDOW_BYTES } from './http-limits.ts';

/** 128 links of full windows; the others are mostly idle. */
const ALL_LINKS_BYTES = 128 * 1024 * 1024;
/** Of that: below it, down streams get the wide window. */
const WIDE_SHARE = 1 / 4;

export class LinkMemory {
  private used = 0;

  constructor(private readonly mostBytes = ALL_LINKS_BYTES) {}

  /** Held by all links. */
  get usedBytes(): number {
    return this.used;
  }

  /** What one link may have sent that is not acknowledged, bytes. */
  get downWindowBytes(): number {
    return this.used < this.mostBytes * WIDE_SHARE ? WIDE_WINDOW_BYTES : this.windowBytes;
  }

  /** What one link may hold of what came ahead, bytes. */
  get windowBytes(): number {
    return this.used < this.mostBytes ? WINDOW_BYTES : MIN_WINDOW_BYTES;
  }

  /** @param bytes negative: given back */
  change(bytes: number): void {
    this.used += bytes;
  }
}
